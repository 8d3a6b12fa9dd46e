"""Exit codes, and what the user reads when something went wrong."""

from __future__ import annotations

import sys
from enum import IntEnum


class ExitCode(IntEnum):
    """What a script can rely on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREADABLE = 3
    MODEL_MISSING = 4


def report(error: Exception) -> int:
    """Print one clear message for `error` on stderr and give the exit code.

    Errors that are no HomeGuardError are bugs, or the user's pipe: they are raised again.
    """
    from homeguard.config import ConfigError
    from homeguard.domain import HomeGuardError, ModelError, SourceError

    if not isinstance(error, HomeGuardError):
        raise error
    complain(str(error))
    match error:
        case ConfigError():
            return ExitCode.USAGE
        case SourceError():
            return ExitCode.UNREADABLE
        case ModelError():
            return ExitCode.MODEL_MISSING
        case _:
            return ExitCode.FAILED


def complain(message: str) -> None:
    """One message on stderr, prefixed with the program's name; may span lines."""
    print(f"homeguard: {message}", file=sys.stderr, flush=True)  # noqa: T201 - the command line's voice
