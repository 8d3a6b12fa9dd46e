"""What the demo prints: every message as it arrives, then expected against observed."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from homeguard.demo.broker import Broker
from homeguard.demo.gateway import ReceivedSms
from homeguard.demo.scene import Line, Observed, Scene, Verdict, compare
from homeguard.demo.subscriber import Message
from homeguard.domain import Change
from homeguard.labels import Category
from homeguard.pipeline import Heard

_SHOWN = ("id", "category", "category_ko", "room", "state", "confidence", "transcript", "raised_at")
_MARKED = 4  # letters of an incident's id in a text
_OVERDUE_S = 15.0  # after the recording's end


class Report:
    """Prints, and remembers what integrator and caregivers were told of each incident."""

    def __init__(self, console: Console, scene: Scene, caregivers: int) -> None:
        self.texts = 0  # SMS shown so far
        self._scene = scene
        self._caregivers = caregivers
        self._console = console
        self._status: Status | None = None
        self._onsets_s: dict[str, float] = {}  # by incident, in seconds of the recording
        self._categories: dict[str, Category] = {}  # as MQTT told it last, in order of arrival
        self._running: set[str] = set()  # incidents whose end is still to come
        self._over_at: float | None = None  # monotonic, when the room fell silent for good
        self._texted: defaultdict[str, set[str]] = defaultdict(set)  # numbers by mark

    @property
    def is_over(self) -> bool:
        """Whether the recording has ended and all that must follow has arrived, or is overdue."""
        if self._over_at is None:
            return False
        told = all(self._is_texted(incident) for incident in self._categories)
        return (told and not self._running) or time.monotonic() - self._over_at > _OVERDUE_S

    def begin(self, broker: Broker, gateway_url: str) -> None:
        """Say what is about to happen."""
        say = self._console.print
        say(f"[bold]HomeGuard demo[/]: {self._scene.duration_s:.0f} s of sound from a household")
        say(f"  broker   {broker.name} on {broker.host}:{broker.port} (MQTT {broker.version})")
        say(f"  gateway  {gateway_url}, answers as Twilio does; no text leaves this machine")
        sounds = ", ".join(f"{s.start_s:.0f} s {s.name}" for s in self._scene.sounds)
        say(f"  scene    {sounds}\n")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show on a terminal how far the daemon has listened."""
        with self._console.status("loading models") as self._status:
            yield

    def heard(self, heard: Heard) -> None:
        """The daemon has judged a window."""
        end_s = heard.decision.end_s
        for alert in heard.alerts:
            if alert.change is Change.NEW:
                before = alert.after.raised_at - alert.after.onset_at
                self._onsets_s[alert.after.id] = end_s - before.total_seconds()
        if self._status is not None:
            self._status.update(f"listening, {end_s:.0f} of {self._scene.duration_s:.0f} s")

    def publication(self, message: Message) -> None:
        """An integrator received it."""
        kind = message.topic.rpartition("/")[2]
        if kind == "level":
            return
        text = message.text
        if kind == "events":
            event = json.loads(text)
            if event["type"] != "fault":
                self._note(event)
            text = _shortened(event)
        elif kind == "audio" and text == "offline":
            self._over_at = time.monotonic()
        self._console.print(f"[cyan]MQTT[/]  {message.topic}  {escape(text)}")

    def sms(self, sms: ReceivedSms) -> None:
        """A caregiver received it."""
        self.texts += 1
        _, found, mark = sms.body.partition("#")
        if found:
            self._texted[mark[:_MARKED]].add(sms.to)
        self._console.print(f"[green]SMS[/]   {sms.to}  [bold]{escape(sms.body)}[/]")

    def end(self) -> tuple[Line, ...]:
        """Compare and print; gives the lines of the comparison."""
        lines = compare(self._scene, [self._observed(each) for each in self._categories])
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("in the scene", "at", "expected", "observed", ""):
            table.add_column(heading, no_wrap=True)
        for line in lines:
            table.add_row(*_cells(line))
        self._console.print()
        self._console.print(table)
        self._console.print(self._verdict(lines))
        return lines

    def _observed(self, incident: str) -> Observed:
        return Observed(
            self._categories[incident],
            self._onsets_s.get(incident, float("nan")),
            all_texted=self._is_texted(incident),
        )

    def _note(self, event: dict[str, Any]) -> None:
        incident = event["after"]["id"]
        self._categories[incident] = Category(event["after"]["category"])
        if event["type"] == "end":
            self._running.discard(incident)
        else:
            self._running.add(incident)

    def _is_texted(self, incident: str) -> bool:
        return len(self._texted[incident[:_MARKED]]) == self._caregivers

    def _verdict(self, lines: tuple[Line, ...]) -> str:
        right = sum(line.verdict is Verdict.RIGHT for line in lines)
        extra = sum(line.verdict in {Verdict.FALSE_ALARM, Verdict.TWICE} for line in lines)
        mistaken = {line.during for line in lines}
        quiet = ", ".join(s.name for s in self._scene.harmless if s not in mistaken)
        word = "[green]passed[/]" if right == len(lines) else "[red]failed[/]"
        total = len(self._scene.expected)
        return (
            f"stayed quiet: {quiet or 'nothing'}\n"
            f"{word}: {right} of {total} incidents as expected, {extra} too many"
        )


def _shortened(event: dict[str, Any]) -> str:
    """The event's main fields; the whole is what docs/mqtt-event.schema.json describes."""
    after = {key: event["after"][key] for key in _SHOWN if key in event["after"]}
    text = json.dumps({"type": event["type"], "after": after}, ensure_ascii=False)
    return text.removesuffix("}}") + ", …}}"


def _cells(line: Line) -> tuple[str, str, str, str, str]:
    sound, observed = line.expected or line.during, line.observed
    kind = line.expected.category if line.expected else None
    return (
        sound.name if sound else "-",
        f"{sound.start_s:.0f} s" if sound else "-",
        kind.value if kind else "quiet",
        f"{observed.category.value} from {observed.onset_s:.0f} s" if observed else "nothing",
        f"[{'green' if line.verdict is Verdict.RIGHT else 'red'}]{line.verdict}[/]",
    )
