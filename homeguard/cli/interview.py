"""The questions of `homeguard init`: what flags did not say is asked, or takes its default."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, get_args

import typer

from homeguard.capture.microphone import DEFAULT, Device, list_microphones
from homeguard.cli import answers
from homeguard.cli.meter import watch
from homeguard.cli.words import WORDS
from homeguard.config import (
    Config,
    ContactConfig,
    Language,
    MqttConfig,
    RoomConfig,
    SmsConfig,
    TranscriptConfig,
)
from homeguard.domain import SourceError

T = TypeVar("T")
Spoken = TranscriptConfig.model_fields["language"].annotation


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said; None where it said nothing."""

    name: str | None = None
    address: str | None = None
    language: str | None = None
    spoken: str | None = None
    node: str | None = None
    rooms: tuple[str, ...] = ()
    microphone: str | None = None
    contacts: tuple[str, ...] = ()
    broker: str | None = None
    sms_account: str | None = None
    sms_sender: str | None = None


class Interview:
    """Gathers a config. `asks` is False where nobody is there to answer: defaults are taken.

    Raises typer.BadParameter for a flag that is wrong, typer.Abort where the answers end.
    """

    def __init__(self, flags: Flags, base: Config, *, asks: bool) -> None:
        self._flags = flags
        self._base = base
        self._asks = asks
        self.language: Language = "ko"
        self._microphones: tuple[Device, ...] | None = None
        self.language = self._answer(
            "language",
            "언어 / language (ko, en)",
            flags.language,
            _language_here(base.home.language),
            answers.language_of,
        )

    def say(self, key: str, **values: object) -> str:
        """What `words` has for `key`, in the language of this home."""
        return WORDS[self.language][key].format(**values)

    def config(self) -> Config:
        """All answers, over what `base` says. Asks in the order that people think in."""
        flags, base = self._flags, self._base
        ask = partial(self._answer, read=str.strip)
        name = ask("name", self.say("name"), flags.name, base.home.name)
        address = ask("address", self.say("address"), flags.address, base.home.address)
        spoken = self._answer(
            "spoken", self.say("spoken"), flags.spoken, base.voters.transcript.language, _spoken
        )
        rooms = self._rooms()
        contacts = self._contacts()
        sections: dict[str, object] = {
            "node": base.node.model_copy(update={"name": flags.node or base.node.name}),
            "home": base.home.model_copy(
                update={"name": name, "address": address, "language": self.language}
            ),
            "rooms": rooms,
            "voters": base.voters.model_copy(
                update={
                    "transcript": base.voters.transcript.model_copy(update={"language": spoken})
                }
            ),
            "alerts": base.alerts.model_copy(update={"contacts": contacts}),
            "sms": self._sms(contacts),
            "mqtt": self._mqtt(),
        }
        return base.model_copy(update=sections)

    def _answer(
        self, flag: str, question: str, given: str | None, default: str, read: Callable[[str], T]
    ) -> T:
        """The flag's value, else the default, else what is typed until `read` takes it."""
        if given is not None or not self._asks:
            try:
                return read(default if given is None else given)
            except ValueError as exc:
                raise typer.BadParameter(_reason(exc), param_hint=f"--{flag}") from exc
        while True:
            typed: str = typer.prompt(question, default=default, show_default=bool(default))
            try:
                return read(typed)
            except ValueError as exc:
                wrong = f"{flag}_wrong"
                said = self.say(wrong) if wrong in WORDS[self.language] else _reason(exc)
                typer.echo(f"  {said}")

    def _rooms(self) -> tuple[RoomConfig, ...]:
        flags = self._flags
        listed = flags.rooms
        if not listed and self._asks:
            typed = self._answer(
                "room", self.say("rooms"), None, self.say("rooms_default"), read=str.strip
            )
            listed = tuple(filter(None, (part.strip() for part in typed.split(","))))
        elif not listed:
            listed = (self._base.rooms[0].label or self._base.rooms[0].name,)
        rooms: list[RoomConfig] = []
        for text in listed:
            names, sources = tuple(r.name for r in rooms), [_source(r) for r in rooms]
            needs_source = self._asks and "=" not in text and flags.microphone is None
            given = f"{text}={self._source_of(text, sources)}" if needs_source else text
            room = self._room(given, names)
            if _source(room) in sources:
                message = f"{text}: {self.say('taken')} (--room NAME=SOURCE)"
                raise typer.BadParameter(message, param_hint="--room")
            rooms.append(room)
        return tuple(rooms)

    def _room(self, text: str, taken: tuple[str, ...]) -> RoomConfig:
        try:
            return answers.room_of(text, taken, self._flags.microphone)
        except ValueError as exc:
            raise typer.BadParameter(_reason(exc), param_hint="--room") from exc

    def _source_of(self, room: str, taken: list[str]) -> str:
        """Ask for a room's source until it is free and, if it is a microphone, wanted as heard."""
        names = self._names()
        while True:
            default = "1" if names else DEFAULT
            typed: str = typer.prompt(self.say("microphone", room=room), default=default).strip()
            if typed.isdigit() and not 1 <= int(typed) <= len(names):
                typer.echo(f"  {self.say('choose', count=len(names))}")
                continue
            source = names[int(typed) - 1] if typed.isdigit() else typed
            if source in taken:
                typer.echo(f"  {self.say('taken')}")
            elif "://" in source or not names or self._is_heard(source):
                return source

    def _names(self) -> list[str]:
        """Microphones there are, listed for the reader the first time."""
        if self._microphones is None:
            try:
                self._microphones = list_microphones()
            except SourceError as exc:
                self._microphones = ()
                typer.echo(self.say("no_microphone", why=exc))
            else:
                if not self._microphones:
                    typer.echo(self.say("no_microphone", why="homeguard devices"))
            if self._microphones:
                typer.echo(self.say("microphones"))
            for number, device in enumerate(self._microphones, 1):
                typer.echo(f"  {number}. {device}")
        return [device.name for device in self._microphones]

    def _is_heard(self, microphone: str) -> bool:
        """Show its level while somebody speaks, then ask whether to keep it."""
        try:
            loudness = watch(microphone, self.say("talk"))
        except SourceError as exc:
            typer.echo(f"  {exc}")
            return False
        said = self.say(
            loudness.verdict,
            quiet=loudness.quiet_dbfs,
            loud=loudness.loud_dbfs,
            rise=loudness.rise_db,
        )
        typer.echo(f"  {said}")
        return typer.confirm(self.say("keep"), default=loudness.verdict != "silent")

    def _contacts(self) -> tuple[ContactConfig, ...]:
        flags = self._flags
        if flags.contacts or not self._asks:
            try:
                named = (answers.contact_of(text, self.language) for text in flags.contacts)
                return tuple(named) or self._base.alerts.contacts
            except ValueError as exc:
                raise typer.BadParameter(_reason(exc), param_hint="--contact") from exc
        contacts: list[ContactConfig] = []
        while name := self._ask("contact", "", str.strip, number=len(contacts) + 1):
            phone = self._ask("phone", "", answers.phone_of, name=name)
            language = self._ask("contact_language", self.language, answers.language_of, name=name)
            contacts.append(ContactConfig(name=name, phone=phone, language=language))
            typer.echo(f"  {name} {phone}")
        return tuple(contacts)

    def _ask(self, key: str, default: str, read: Callable[[str], T], **values: object) -> T:
        return self._answer(key, self.say(key, **values), None, default, read)

    def _sms(self, contacts: tuple[ContactConfig, ...]) -> SmsConfig:
        flags, base = self._flags, self._base.sms
        asks_later = flags.sms_account is None and not contacts
        account = (
            base.account_sid
            if asks_later
            else self._answer(
                "sms-account", self.say("sms"), flags.sms_account, base.account_sid, str.strip
            )
        )
        if not account:
            return base
        sender = self._answer(
            "sms-sender", self.say("sender"), flags.sms_sender, base.sender, _not_empty
        )
        return base.model_copy(update={"enabled": True, "account_sid": account, "sender": sender})

    def _mqtt(self) -> MqttConfig:
        base = self._base.mqtt
        default = f"{base.host}:{base.port}" if base.enabled else answers.NO_BROKER
        if self._flags.broker is None and not self._asks:
            return base
        found = self._answer(
            "broker", self.say("broker"), self._flags.broker, default, answers.broker_of
        )
        return base.model_copy(update=found.model_dump(exclude_unset=True))


def _language_here(otherwise: Language) -> Language:
    """What the environment speaks, where that is Korean or English."""
    here = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return next(
        (language for language in answers.LANGUAGES if here.startswith(language)), otherwise
    )


def _spoken(text: str) -> str:
    if text.strip().lower() in get_args(Spoken):
        return text.strip().lower()
    message = f"{text!r}: write auto, ko or en"
    raise ValueError(message)


def _not_empty(text: str) -> str:
    if not text.strip():
        message = "it is needed: +<country><number>, or MG..."
        raise ValueError(message)
    return text.strip()


def _source(room: RoomConfig) -> str:
    return room.microphone or room.url or str(room.file)


def _reason(error: ValueError) -> str:
    """What is wrong, without pydantic's own words around it."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
    return str(error)
