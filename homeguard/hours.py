"""Hours of a day and moments of a week as config.yaml writes them."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def parse_hours(value: str) -> tuple[time, time]:
    """Two times from "HH:MM-HH:MM"; 24:00 is midnight. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", value)
    if not match:
        message = "write hours as HH:MM-HH:MM, such as 09:00-18:00"
        raise ValueError(message)
    h1, m1, h2, m2 = (int(part) for part in match.groups())
    return time(h1 % 24 if m1 == 0 else h1, m1), time(h2 % 24 if m2 == 0 else h2, m2)


def parse_weekly(value: str) -> tuple[int, time]:
    """A weekday, 0 for Monday, and a time from "mon 10:00". Raises ValueError."""
    match = re.fullmatch(r"([a-z]{3}) (\d{1,2}):(\d{2})", value)
    if not match or match[1] not in DAYS:
        message = "write a day and a time, such as mon 10:00, or nothing for never"
        raise ValueError(message)
    return DAYS.index(match[1]), time(int(match[2]), int(match[3]))


def last_weekly(value: str, local: datetime) -> datetime:
    """When the moment of a week was last, at or before `local`, in the same time zone."""
    weekday, at = parse_weekly(value)
    slot = local.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    slot -= timedelta(days=(local.weekday() - weekday) % 7)
    return slot if slot <= local else slot - timedelta(days=7)
