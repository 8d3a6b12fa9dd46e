"""What a command of the lab says in one line instead of a traceback."""


class LabError(Exception):
    """The lab cannot do what was asked; the message says what to do."""


class DivergedError(LabError):
    """The loss is no number any more: what was trained is worth nothing."""
