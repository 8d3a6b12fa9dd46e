"""Where in a YAML file a config error lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from homeguard.alerting.escalation import home_zone
from homeguard.config import Config, ConfigError, parse, read


def load_with_lines(path: Path) -> Config:
    """Read and check a config file. Raises ConfigError, each error as "FILE:LINE: path: what"."""
    text = read(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(str(path), [f"{path}:{line}: not valid YAML: {exc.problem}"]) from exc
    except yaml.YAMLError as exc:  # a character that YAML does not allow
        reason = " ".join(str(exc).split())
        raise ConfigError(str(path), [f"not valid YAML: {reason}"]) from exc
    errors = [f"{path}:{line}: {where}: given twice" for line, where in _duplicates(root)]
    config: Config | None = None
    try:
        config = parse(text, str(path))
        home_zone(config.home.timezone)
    except ConfigError as exc:
        errors += [f"{path}:{line_of(root, error)}: {error}" for error in exc.errors]
    if errors or config is None:
        raise ConfigError(str(path), errors)
    return config


def line_of(root: yaml.Node | None, error: str) -> int:
    """The line (from 1) of the deepest node on the path that `error` ("path: what") begins with."""
    where = error.partition(": ")[0]
    node, line = root, 1
    for part in where.split("."):
        step = _step(node, part)
        if step is None:
            break
        line, node = step
    return line


def _step(node: yaml.Node | None, part: str) -> tuple[int, yaml.Node] | None:
    """The line and value of one path element below `node`."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        item = node.value[int(part)]
        return item.start_mark.line + 1, item
    return None


def _duplicates(root: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Keys that a mapping names again: YAML would keep the last without a word."""
    waiting: list[tuple[yaml.Node, str]] = [(root, "")] if root else []
    seen_nodes: set[int] = set()  # aliases may lead back
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                where = f"{path}{key.value}"
                if key.value in keys:
                    yield key.start_mark.line + 1, where
                keys.add(key.value)
                waiting.append((value, f"{where}."))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, f"{path}{index}.") for index, item in enumerate(node.value)]
