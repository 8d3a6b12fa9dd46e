"""What messages say: what, where, when first; an SMS in one segment where it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeguard.alerting.escalation import home_zone, is_recording
from homeguard.config import Config
from homeguard.domain import (
    Alert,
    Change,
    Contact,
    Fault,
    FaultAlert,
    FaultCause,
    Incident,
    IncidentState,
    Outgoing,
    Reason,
)

UCS2_SEGMENT = 70
GSM7_SEGMENT = 160
_TAG_LETTERS = 4  # of the incident's id: enough to tell copies from news
_OLD = timedelta(hours=12)  # a time of day alone would be read as today's

# 3GPP TS 23.038: the basic table, and the characters that cost two places.
_GSM7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_TWO = frozenset("^{}\\[~]|€")

_HEADS = {
    "new": {"ko": "긴급", "en": "EMERGENCY"},
    "unconfirmed": {"ko": "긴급·미확인", "en": "EMERGENCY (unconfirmed)"},
    "update": {"ko": "변경", "en": "UPDATE"},
    "acknowledged": {"ko": "확인됨", "en": "TAKEN CARE OF"},
    "recording": {"ko": "녹음", "en": "RECORDING"},
    "end": {"ko": "소리 그침", "en": "SOUND ENDED"},
    "test": {"ko": "시험", "en": "TEST"},
    "fault": {"ko": "고장", "en": "FAULT"},
    "recovered": {"ko": "복구", "en": "RECOVERED"},
    "muted": {"ko": "알림 멈춤", "en": "MUTED"},
    "unmuted": {"ko": "알림 다시 켜짐", "en": "MUTE OVER"},
}
_FAULTS = {
    FaultCause.NEVER_STARTED: {"ko": "마이크 시작 안 됨", "en": "microphone never started"},
    FaultCause.OFFLINE: {"ko": "마이크 안 들림", "en": "microphone not heard"},
    FaultCause.FROZEN: {"ko": "마이크 멈춤", "en": "microphone frozen"},
    FaultCause.SILENT: {"ko": "마이크 무음", "en": "microphone gives no sound"},
    FaultCause.CLIPPED: {"ko": "마이크 소리 깨짐", "en": "microphone overloaded"},
    FaultCause.OFFSET: {"ko": "마이크 신호 치우침", "en": "microphone signal off centre"},
    FaultCause.GARBLED: {"ko": "마이크 신호 오류", "en": "microphone signal broken"},
    FaultCause.BEHIND: {"ko": "처리 밀림, 소리 놓침", "en": "too slow, sound is lost"},
    FaultCause.VOTER: {"ko": "판단 모델 멈춤", "en": "voter down"},
    FaultCause.CONTACT: {"ko": "알림 보낼 수 없음", "en": "cannot be reached"},
    FaultCause.CAPPED: {"ko": "문자 한도 도달", "en": "text limit reached"},
    FaultCause.CHANNEL: {"ko": "알림 경로 끊김", "en": "channel away"},
    FaultCause.DISK: {"ko": "저장 장치 고장", "en": "disk full or failing"},
    FaultCause.DATABASE: {"ko": "기록 파일 손상", "en": "database was damaged"},
    FaultCause.ONE_VOTER: {"ko": "판단 모델 하나만 남음", "en": "only one voter is left"},
    FaultCause.UNJUDGED: {"ko": "판단 모델 모두 멈춤", "en": "nothing is judged"},
    FaultCause.TEST: {"ko": "알림 시험 실패", "en": "test alert did not arrive"},
    FaultCause.MUTED: {"ko": "위급한 것만 알림", "en": "only critical alerts"},
}
_DRILL = {"ko": "알림 점검, 하실 일 없음", "en": "of the alert path, nothing to do"}
_LATE = {"ko": "지연", "en": "LATE"}

Link = Callable[[Alert, Contact], str | None]  # an alert about an incident


@dataclass(frozen=True, slots=True)
class Note:
    """A notification: what and where, then the rest in lines."""

    title: str
    body: str


class Texter:
    """Writes the text for one contact; `link` gives the address to hear and acknowledge, or None.

    Parts that do not fit the first segment are left out, least important first: the home's name,
    then the tag that tells copies apart, then the room's end. The link always comes, last.
    """

    def __init__(self, config: Config, link: Link | None = None) -> None:
        self._home = config.home
        self._zone = home_zone(config.home.timezone)
        self._rooms = {room.name: room.label or room.name for room in config.rooms}
        self._link = link

    def __call__(self, alert: Outgoing, contact: Contact) -> str:
        """The text of an alert in the contact's language."""
        language = contact.language if contact.language == "ko" else "en"
        if isinstance(alert, FaultAlert):
            return self._fault(alert, language)
        incident = alert.after
        head = _head(alert, language)
        what = _DRILL[language] if _kind(alert) == "test" else incident.category.name_in(language)
        room = self._rooms.get(incident.room, incident.room)
        when = self._when(incident, alert, language)
        by = incident.acknowledged_by if _kind(alert) == "acknowledged" else None
        tag = f"#{incident.id[:_TAG_LETTERS]}"
        link = self._link(alert, contact) if self._link else None
        text = _fit(f"[{head}] {what}", room, when, (by or "", tag, self._home.name))
        return f"{text} {link}" if link else text

    def note(self, alert: Outgoing, contact: Contact) -> Note:
        """The same for a screen, where length does not count: with the address, without words."""
        language = contact.language if contact.language == "ko" else "en"
        home = [self._home.name, self._home.address]
        if isinstance(alert, FaultAlert):
            what, cause, spans = self._fault_parts(alert, language)
            return _note(what, [f"{cause} {spans}", alert.after.detail, *home])
        incident = alert.after
        kind = "recording" if is_recording(alert) else _kind(alert)
        head = _late(_HEADS[kind][language], alert, language)
        room = self._rooms.get(incident.room, incident.room)
        by = incident.acknowledged_by if kind == "acknowledged" else None
        at = incident.raised_at.astimezone(self._zone)
        link = self._link(alert, contact) if self._link else None
        return _note(
            f"[{head}] {incident.category.name_in(language)} {room}",
            [by, f"{at:%Y-%m-%d %H:%M:%S}", *home, link, f"#{incident.id[:_TAG_LETTERS]}"],
        )

    def _fault(self, alert: FaultAlert, language: str) -> str:
        what, cause, spans = self._fault_parts(alert, language)
        return _fit(what, cause, spans, (self._home.name,))

    def _fault_parts(self, alert: FaultAlert, language: str) -> tuple[str, str, str]:
        """Where, what is wrong, since when; on recovery from when to when."""
        fault = alert.after
        over = alert.change is Change.END
        if fault.cause is FaultCause.MUTED:
            head, end = ("unmuted", fault.ended_at) if over else ("muted", fault.until)
        else:
            head, end = ("recovered", fault.ended_at) if over else ("fault", None)
        subject = self._rooms.get(fault.subject, fault.subject)
        what = f"[{_late(_HEADS[head][language], alert, language)}] {subject}".rstrip()
        return what, _FAULTS[fault.cause][language], self._span(fault, end, language)

    def _span(self, fault: Fault, end: datetime | None, language: str) -> str:
        """Since when, or from when to when; with dates where they are not the same day's."""
        start = fault.raised_at.astimezone(self._zone)
        last = (end or fault.updated_at).astimezone(self._zone)
        dated = start.date() != last.date()
        times = [
            _date(t, language) + f" {t:%H:%M}" if dated else f"{t:%H:%M}" for t in (start, last)
        ]
        return "-".join(times) if end else times[0]

    def _when(self, incident: Incident, alert: Alert, language: str) -> str:
        at = incident.raised_at.astimezone(self._zone)
        latest = incident.updated_at.astimezone(self._zone)
        if alert.late or latest - at > _OLD:
            return _date(at, language) + f" {at:%H:%M}"
        return f"{at:%H:%M}"


def segments(text: str) -> int:
    """How many SMS a text takes: GSM 7 bit where every character is in it, UCS-2 else."""
    if all(c in _GSM7 or c in _GSM7_TWO for c in text):
        length, one, more = _length(text), GSM7_SEGMENT, GSM7_SEGMENT - 7
    else:
        length, one, more = len(text.encode("utf-16-be")) // 2, UCS2_SEGMENT, UCS2_SEGMENT - 3
    return 1 if length <= one else -(-length // more)


def _fit(what: str, room: str, when: str, extras: tuple[str, ...]) -> str:
    """Category, room and time, with as many extras as one segment holds, first come first."""
    while len(room) > 1 and segments(f"{what} {room} {when}") > 1:
        room = room[:-1]
    text = f"{what} {room} {when}"
    for extra in extras:
        if extra and segments(f"{text} {extra}") == 1:
            text = f"{text} {extra}"
    return text


def _note(title: str, lines: Iterable[str | None]) -> Note:
    return Note(title, "\n".join(line for line in lines if line))


def _head(alert: Alert, language: str) -> str:
    return _late(_HEADS[_kind(alert)][language], alert, language)


def _late(head: str, alert: Outgoing, language: str) -> str:
    if not alert.late:
        return head
    return f"{head}·{_LATE['ko']}" if language == "ko" else f"{head}, {_LATE['en']}"


def _kind(alert: Alert) -> str:
    after, before = alert.after, alert.before
    if after.state is IncidentState.TEST:
        return "test"
    if alert.change is Change.END:
        return "end"
    if alert.change is Change.NEW:
        return "unconfirmed" if after.reason is Reason.UNCONFIRMED else "new"
    taken = after.acknowledged_by is not None
    return "acknowledged" if taken and (not before or not before.acknowledged_by) else "update"


def _date(at: datetime, language: str) -> str:
    return f"{at.month}/{at.day}" if language == "ko" else f"{at:%d %b}"


def _length(text: str) -> int:
    return sum(2 if c in _GSM7_TWO else 1 for c in text)
