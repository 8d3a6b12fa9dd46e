"""What can go wrong in a stage, for those who can act on it."""

from __future__ import annotations


class HomeGuardError(Exception):
    """An error whose message says what happened and what to do; shown without a traceback."""


class SourceError(HomeGuardError):
    """A source cannot be opened or read; `retryable` says whether it may come back by itself."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ModelError(HomeGuardError):
    """A model is missing, altered or not what its manifest says."""


class DeliveryError(HomeGuardError):
    """A channel could not deliver.

    `retryable`: trying again may help. `retry_after_s`: the receiver asked for this pause.
    `code`: the receiver's own error code, for the record.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        retry_after_s: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.code = code
