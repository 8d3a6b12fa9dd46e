"""What the demo prints: every message as it arrives, then expected against observed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from homeguard.demo.broker import Broker
from homeguard.demo.gateway import ReceivedSms
from homeguard.demo.scene import Line, Observed, Scene, Verdict, compare
from homeguard.demo.subscriber import Message
from homeguard.labels import Category

_SHOWN = ("id", "category", "category_ko", "room", "state", "confidence", "transcript", "raised_at")


class Report:
    """Prints, and remembers the incidents that were told."""

    def __init__(self, console: Console, scene: Scene) -> None:
        self.scene = scene
        self.texts = 0  # SMS shown so far
        self._console = console
        self._began_s = time.monotonic()
        self._heard_from: datetime | None = None  # when the recording's second 0 was
        self._onsets: dict[str, datetime] = {}
        self._categories: dict[str, Category] = {}  # as last told, in order of arrival

    def begin(self, broker: Broker, gateway_url: str) -> None:
        """Say what is about to happen."""
        say = self._console.print
        say(f"[bold]HomeGuard demo[/]: {self.scene.duration_s:.0f} s of a household for the daemon")
        say(f"  broker   {broker.name} on {broker.host}:{broker.port} (MQTT {broker.version})")
        say(f"  gateway  answers as Twilio does, on {gateway_url}; no text leaves this machine")
        sounds = ", ".join(f"{s.name} {s.start_s:.0f} s" for s in self.scene.sounds)
        say(f"  scene    {sounds}\n")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show on a terminal that something is going on."""
        if not sys.stdout.isatty():
            yield
            return
        with self._console.status("the daemon listens …"):
            yield

    def publication(self, message: Message) -> None:
        """An integrator received it."""
        tail = message.topic.rpartition("/")[2]
        if tail == "level":
            return
        text = message.text
        if tail == "audio" and text == "online" and self._heard_from is None:
            self._heard_from = message.at
        if tail == "events":
            event = json.loads(text)
            self._note(event)
            shown = {key: event["after"][key] for key in _SHOWN}
            text = json.dumps({"type": event["type"], "after": shown}, ensure_ascii=False)
            text = f"{text[:-2]}, …}}}}"
        elif text.startswith("{"):
            text = json.dumps(json.loads(text), ensure_ascii=False)
        self._console.print(f"[cyan]MQTT[/] {message.topic}  [dim]{escape(text)}[/]")

    def sms(self, sms: ReceivedSms) -> None:
        """A caregiver received it."""
        self.texts += 1
        self._console.print(f"[green]SMS [/] {sms.to}  [bold]{escape(sms.body)}[/]")

    def end(self) -> tuple[Line, ...]:
        """Compare and print; gives the lines of the comparison."""
        lines = compare(self.scene, self._observed())
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("in the scene", "at", "expected", "observed", ""):
            table.add_column(heading)
        for line in lines:
            table.add_row(*_cells(line))
        self._console.print()
        self._console.print(table)
        self._console.print(self._verdict(lines))
        return lines

    def _note(self, event: dict[str, Any]) -> None:
        after = event["after"]
        self._categories[after["id"]] = Category(after["category"])
        self._onsets.setdefault(after["id"], datetime.fromisoformat(after["onset_at"]))

    def _observed(self) -> list[Observed]:
        zero = self._heard_from or min(self._onsets.values(), default=None)
        return [
            Observed(incident, category, (self._onsets[incident] - zero).total_seconds())
            for incident, category in self._categories.items()
            if zero is not None
        ]

    def _verdict(self, lines: tuple[Line, ...]) -> str:
        took_s = time.monotonic() - self._began_s
        right = sum(line.verdict is Verdict.RIGHT for line in lines)
        alarms = sum(line.verdict in {Verdict.FALSE_ALARM, Verdict.TWICE} for line in lines)
        good = right == len(lines)
        mistaken = {line.during for line in lines if line.during}
        quiet = ", ".join(s.name for s in self.scene.harmless if s not in mistaken)
        colour, word = ("green", "passed") if good else ("red", "failed")
        return (
            f"stayed quiet: {quiet}\n"
            f"[{colour}]{word}[/]: {right} of {len(self.scene.expected)} incidents as expected, "
            f"{alarms} too many, {self.texts} SMS, {took_s:.0f} s"
        )


def _cells(line: Line) -> tuple[str, str, str, str, str]:
    sound = line.expected or line.during
    good = line.verdict is Verdict.RIGHT
    return (
        f"{sound.name} ({sound.name_ko})" if sound else "-",
        f"{sound.start_s:.0f} s" if sound else "-",
        line.expected.category.value if line.expected and line.expected.category else "quiet",
        f"{line.observed.category} at {line.observed.onset_s:.0f} s" if line.observed else "-",
        f"[{'green' if good else 'red'}]{line.verdict}[/]",
    )
