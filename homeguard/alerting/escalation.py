"""Who is told what, and when: pure, from an alert and the contacts to deliveries with due times.

A first call goes down the list of contacts until somebody acknowledges; repeats go to everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from homeguard.config import Config, ConfigError, ContactConfig, EscalationConfig
from homeguard.domain import (
    Alert,
    Change,
    Contact,
    FaultAlert,
    FaultCause,
    Incident,
    IncidentState,
    Outgoing,
)
from homeguard.hours import DAYS, parse_hours

FAULT_TO_ALL = timedelta(hours=1)  # a fault that lasts so long is told to every contact


class Kind(StrEnum):
    """What a delivery is for, which decides what makes it superfluous."""

    FIRST = "first"  # the first call of one contact for one incident
    REPEAT = "repeat"  # again, because nobody acknowledged
    NOTICE = "notice"  # a change that must arrive, whoever acknowledged


# The end of a sound is no all-clear: whoever screamed may be lying there. So the end stops the
# repeats, while each contact is still called once until somebody acknowledges.
CANCELLED_BY_END = (Kind.REPEAT,)
CANCELLED_BY_ACKNOWLEDGEMENT = (Kind.FIRST, Kind.REPEAT)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to be: which channel, to whom (None: a channel without recipients), from when."""

    channel: str
    recipient: Contact | None
    kind: Kind
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans deliveries: one on each of `broadcast`, and one a contact on each of `personal`.

    `audience` are told by Apprise, all at once and whatever the hour; `recordings`: once more when
    there is something to hear. `zone` is the home's timezone, None the system's.
    """

    contacts: tuple[ContactConfig, ...]
    escalation: EscalationConfig
    zone: ZoneInfo | None
    broadcast: tuple[str, ...] = ("mqtt",)
    personal: tuple[str, ...] = ("sms",)
    audience: tuple[Contact, ...] = ()
    recordings: bool = False

    @classmethod
    def of(cls, config: Config, audience: Iterable[Contact] = ()) -> Planner:
        """The planner of a configuration: its contacts, its audience, the channels it enables."""
        return cls(
            contacts=config.alerts.contacts,
            escalation=config.alerts.escalation,
            zone=home_zone(config.home.timezone),
            broadcast=("mqtt",) if config.mqtt.enabled else (),
            personal=("sms",) if config.sms.enabled else (),
            audience=tuple(audience),
            recordings=config.apprise.attach_clip,
        )

    def plan(
        self,
        alert: Outgoing,
        now: datetime,
        told: Collection[str] = (),
        follows: datetime | None = None,
        expecting: Collection[str] = (),
    ) -> tuple[Delivery, ...]:
        """Deliveries of an alert, those due now first.

        `told`: addresses that have heard of it. They alone learn of its changes; of the audience
        also those who are `expecting` to, once their service works. `follows`: when people were
        called for the same category and room; they are again once a repeat is due.
        """
        if isinstance(alert, FaultAlert):
            return tuple(self._fault(alert, now, told))
        notices = [Delivery(name, None, Kind.NOTICE, now) for name in self.broadcast]
        if alert.after.state is IncidentState.TEST:
            return (*notices, *self._notices(self.contacts, now), *self._push(Kind.NOTICE, now))
        if alert.change is Change.NEW:
            return (*notices, *(self._calls(now) if follows is None else self._again(follows)))
        if alert.change is Change.END or _matters(alert):
            by = alert.after.acknowledged_by if _just_acknowledged(alert) else None
            others = [c for c in self.contacts if c.phone in told and c.name != by]
            notices += self._notices(others, now)
        elif not (self.recordings and is_recording(alert)):
            return tuple(notices)
        return (*notices, *self._push(Kind.NOTICE, now, only={*told, *expecting}))

    def on_duty(self, now: datetime) -> tuple[ContactConfig, ...]:
        """The contacts on duty, in order; all of them when nobody is."""
        local = now.astimezone(self.zone)
        return tuple(c for c in self.contacts if _is_on_duty(c, local)) or self.contacts

    def _fault(self, alert: FaultAlert, now: datetime, told: Collection[str]) -> list[Delivery]:
        """Broadcast; the first contact on duty now, all others when it lasts; a mute all at once.

        The audience at once. One that is told again goes to the first contact on duty.
        The end goes to those who heard of the beginning.
        """
        notices = [Delivery(name, None, Kind.NOTICE, now) for name in self.broadcast]
        if alert.change is Change.END:
            others = [c for c in self.contacts if c.phone in told]
            pushed = self._push(Kind.NOTICE, now, only=told)
            return [*notices, *self._notices(others, now), *pushed]
        notices += self._push(Kind.NOTICE, now)
        if alert.after.cause is FaultCause.MUTED:
            return [*notices, *self._notices(self.contacts, now)]
        first = self.on_duty(now)[:1]
        if alert.change is Change.UPDATE:
            return [*notices, *self._notices(first, now)]
        calls = [row for contact in first for row in self._to(contact, Kind.FIRST, now)]
        for contact in self.contacts:
            if contact not in first:
                calls.extend(self._to(contact, Kind.FIRST, now + FAULT_TO_ALL))
        return [*notices, *calls]

    def _calls(self, now: datetime) -> list[Delivery]:
        times = self.escalation
        calls = self._push(Kind.FIRST, now)
        for place, contact in enumerate(self.on_duty(now)):
            after_s = (0.0, times.next_after_s)[place] if place < 2 else times.all_after_s  # noqa: PLR2004 the third on wait for all_after_s
            calls.extend(self._to(contact, Kind.FIRST, now + timedelta(seconds=after_s)))
        return [*calls, *self._repeats(now, times.all_after_s, times.repeat_for_s)]

    def _again(self, since: datetime) -> list[Delivery]:
        """Repeats alone: cancelled when the sound ends, so a flapping one rings once."""
        times = self.escalation
        return list(self._repeats(since, 0.0, max(times.repeat_for_s, times.repeat_every_s)))

    def _repeats(self, since: datetime, after_s: float, until_s: float) -> Iterator[Delivery]:
        """To all who are on duty when one is due, which need not be who was at the beginning."""
        every_s = self.escalation.repeat_every_s
        while (after_s := after_s + every_s) <= until_s:
            due_at = since + timedelta(seconds=after_s)
            yield from self._push(Kind.REPEAT, due_at)
            for contact in self.on_duty(due_at):
                yield from self._to(contact, Kind.REPEAT, due_at)

    def _notices(self, contacts: Collection[ContactConfig], now: datetime) -> list[Delivery]:
        return [row for contact in contacts for row in self._to(contact, Kind.NOTICE, now)]

    def _to(self, contact: ContactConfig, kind: Kind, due_at: datetime) -> list[Delivery]:
        recipient = Contact(contact.name, contact.phone, contact.language)
        return [Delivery(channel, recipient, kind, due_at) for channel in self.personal]

    def _push(
        self, kind: Kind, due_at: datetime, only: Collection[str] | None = None
    ) -> list[Delivery]:
        """To the audience, or those whose addresses are among `only`."""
        to = [c for c in self.audience if only is None or c.address in only]
        return [Delivery("apprise", contact, kind, due_at) for contact in to]


def is_recording(alert: Alert) -> bool:
    """Whether all that is new is that there is a recording to hear."""
    before = alert.before
    first = before is not None and before.clip is None and alert.after.clip is not None
    return alert.change is Change.UPDATE and first and not _matters(alert)


def home_zone(name: str) -> ZoneInfo | None:
    """The timezone of an IANA name; None, the system's, when empty. Raises ConfigError."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        fault = f"home.timezone: {name!r} is no IANA timezone; write it like Asia/Seoul"
        source = "config"
        raise ConfigError(source, [fault]) from exc


def _is_on_duty(contact: ContactConfig, local: datetime) -> bool:
    """A shift over midnight belongs to the day on which it begins."""
    start, end = parse_hours(contact.hours)
    today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    now = local.time().replace(tzinfo=None)
    if start < end:
        return today in contact.days and start <= now < end
    return (today in contact.days and now >= start) or (yesterday in contact.days and now < end)


def _matters(alert: Alert) -> bool:
    """Whether an update is worth an SMS: acknowledged, another category, another room."""
    return _just_acknowledged(alert) or _what(alert.before) != _what(alert.after)


def _just_acknowledged(alert: Alert) -> bool:
    before = alert.before.acknowledged_by if alert.before else None
    return before is None and alert.after.acknowledged_by is not None


def _what(incident: Incident | None) -> tuple[str, str] | None:
    return (incident.category, incident.room) if incident else None
