"""config.yaml read and checked: every error at once, by path, with the nearest valid key."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from homeguard.config.whole import Config
from homeguard.domain import HomeGuardError


class ConfigError(HomeGuardError):
    """The configuration is wrong; `errors` lists every fault as "path: what is wrong"."""

    def __init__(self, source: str, errors: list[str]) -> None:
        super().__init__(f"{source}: {len(errors)} error(s)\n" + "\n".join(errors))
        self.errors = errors


def read(path: Path) -> str:
    """The text of a config file. Raises ConfigError that says what to do where that fails."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        fault = f"it is not there: `homeguard init {path}` writes one, --config FILE names another"
        raise ConfigError(str(path), [fault]) from exc
    except PermissionError as exc:
        fault = "it is not for this user to read: sudo, or another with --config FILE"
        raise ConfigError(str(path), [fault]) from exc
    except OSError as exc:
        raise ConfigError(str(path), [f"it cannot be read: {exc.strerror}"]) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(str(path), ["it cannot be read: not UTF-8 text"]) from exc


def load(path: Path) -> Config:
    """Read and check a config file.

    Raises ConfigError listing every fault: unreadable, not YAML, unknown key, bad value.
    """
    return parse(read(path), str(path))


def parse(text: str, source: str = "config") -> Config:
    """Check the text of a config file; `source` names it in the ConfigError."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(source, [f"not valid YAML: {exc}"]) from exc
    if raw is not None and not isinstance(raw, dict):
        raise ConfigError(source, ["the top level must be a mapping of sections"])
    try:
        return Config.model_validate(raw or {})
    except ValidationError as exc:
        raise ConfigError(source, [_explain(dict(error)) for error in exc.errors()]) from exc


def _explain(error: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in error["loc"]) or "config"
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    *parents, key = error["loc"]
    near = difflib.get_close_matches(str(key), _keys_at(parents), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{path}: unknown key{hint}"


def _keys_at(loc: list[str | int]) -> list[str]:
    """The valid keys of the section at `loc`."""
    model: type[BaseModel] = Config
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = (annotation, *get_args(annotation))
        sections = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)
