"""A config written into the shipped config.yaml, so that every comment of it stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from homeguard.config import Config, parse
from homeguard.domain import HomeGuardError

MODE = 0o640  # it names people and their telephones; the directory's group may read it

Edit = tuple[int, int, str]  # from, to, what stands there instead


def shipped_config() -> Path:
    """The commented config.yaml that came with the program (in a checkout a link to its root's)."""
    return Path(__file__).resolve().parents[1] / "config.yaml"


def written(shipped: str, config: Config) -> str:
    """The text of `shipped` with the values of `config` in place of its own.

    Raises HomeGuardError where `shipped` has no line for a value that is not the default.
    """
    wanted = config.model_dump(mode="json")
    root = yaml.compose(shipped, Loader=yaml.SafeLoader)
    text = shipped
    for begin, end, new in sorted(_edits(root, wanted, shipped), reverse=True):
        text = text[:begin] + new + text[end:]
    if parse(text) != config:
        message = "this config.yaml lacks keys that are to be set: start from the shipped one"
        raise HomeGuardError(message)
    return text


def save(path: Path, text: str) -> None:
    """Write it whole or not at all; what was there is kept as `<name>.old`.

    Owner and mode of the old file stay. Raises HomeGuardError when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat() if path.exists() else None
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(handle, before.st_mode & 0o777 if before else MODE)
                if before is not None and os.geteuid() == 0:
                    os.fchown(handle, before.st_uid, before.st_gid)
                file.write(text)
                file.flush()
                os.fsync(handle)
            if before is not None:
                shutil.copy2(path, path.with_name(f"{path.name}.old"))
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as exc:
        message = f"{path} cannot be written: {exc.strerror}; name another file, or use sudo"
        raise HomeGuardError(message) from exc


def _edits(node: yaml.Node | None, wanted: Any, text: str) -> Iterator[Edit]:  # noqa: ANN401 - JSON
    """What has to change below `node` for it to say `wanted`."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, value in node.value:
            if key.value in wanted:
                yield from _edits(value, wanted[key.value], text)
    elif node is not None and _says(node) != wanted:
        if isinstance(node, yaml.SequenceNode) and any(isinstance(w, dict) for w in wanted):
            yield from _item_edits(node, wanted, text)
        else:
            yield node.start_mark.index, _end(node), _flow(wanted)


def _item_edits(node: yaml.SequenceNode, wanted: list[Any], text: str) -> Iterator[Edit]:
    """The first item is changed where it stands, with its comments; the others are new lines."""
    if not node.value:
        indent = " " * (_column_of_line(text, node.start_mark.index) + 2)
        lines = "".join(f"\n{line}" for item in wanted for line in _block(item, indent))
        space = text[node.start_mark.index - 1] == " "
        yield node.start_mark.index - space, _end(node), lines
        return
    first = node.value[0]
    yield from _edits(first, wanted[0], text)
    indent = " " * node.start_mark.column
    rest = "".join(f"\n{line}" for item in wanted[1:] for line in _block(item, indent))
    yield _end(first), _end(node), rest


def _block(item: dict[str, Any], indent: str) -> Iterator[str]:
    """The lines of a list's item, without what is null."""
    mark = "- "
    for key, value in item.items():
        if value is not None:
            yield f"{indent}{mark}{key}: {_flow(value)}"
            mark = "  "


def _flow(value: Any) -> str:  # noqa: ANN401 - JSON
    """A value on one line."""
    odd = isinstance(value, str) and not value.isprintable()  # line breaks would fold
    dumped = yaml.safe_dump(
        value,
        default_style='"' if odd else None,
        default_flow_style=True,
        allow_unicode=True,
        sort_keys=False,
        width=10_000,
    )
    return dumped.removesuffix("\n").removesuffix("\n...")


def _says(node: yaml.Node) -> Any:  # noqa: ANN401 - YAML
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _end(node: yaml.Node) -> int:
    """Where its last value ends; a block's own mark lies behind the comments that follow."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _column_of_line(text: str, index: int) -> int:
    line = text[text.rfind("\n", 0, index) + 1 : index]
    return len(line) - len(line.lstrip())
