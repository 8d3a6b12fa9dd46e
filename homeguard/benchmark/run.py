"""One run: what is asked for, measured in turn, and the ratios that the project sets itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from homeguard.benchmark import explanations, memory, peers, service, shapes, stages
from homeguard.benchmark.report import Compared, Report
from homeguard.benchmark.rounds import Case, Timing, measure, ratio
from homeguard.benchmark.subject import Subject, open_subject
from homeguard.config import Config

PARTS = ("time", "memory", "daemon", "explain")
SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `shapes`: random Whispers of published sizes; `whispers`: directories."""

    config: Config
    parts: tuple[str, ...] = PARTS
    shapes: tuple[str, ...] = ()
    whispers: tuple[Path, ...] = ()
    yamnet: Path | None = None
    rounds: int = 9
    threads: tuple[int, ...] = (1, 2)
    rooms: tuple[int, ...] = (1, 2, 4, 8)
    hours: float = 0.0  # of simulated sound, for memory
    events: int = 20


def run(plan: Plan, command: str, say: Callable[[str], None] = lambda _: None) -> Report:
    """Do it; `say` hears how far it is. Raises HomeGuardError for a part that cannot be had."""
    report = Report(command, plan.rounds)
    missing = peers.naive_missing()
    if plan.shapes and missing:
        report.left_out.append(f"the naive pipeline: {missing}")
    with tempfile.TemporaryDirectory() as scratch:
        made = [_made(Path(scratch), shape, say) for shape in plan.shapes]
        directories = [*made, *plan.whispers]
        if "time" in plan.parts:
            _times(plan, directories, report, say, naive=not missing)
        if "memory" in plan.parts:
            say("memory")
            report.memory = dict(_memory(plan, directories, naive=not missing))
        if "daemon" in plan.parts:
            say("the daemon")
            report.service = service.measure(plan.config.node.models_dir, plan.events)
    if "explain" in plan.parts:
        _explanations(plan, report, say)
    return report


def _explanations(plan: Plan, report: Report, say: Callable[[str], None]) -> None:
    if lacking := explanations.missing():
        report.left_out.append(f"explanations: {lacking}")
        return
    say("explanations")
    report.explanations = explanations.measure(plan.config)


def _made(folder: Path, shape: str, say: Callable[[str], None]) -> Path:
    say(f"making a random Whisper {shape}")
    tokens = shapes.published_tokens()
    return shapes.write_whisper(folder / shape, shapes.PUBLISHED[shape], tokens)


def _times(
    plan: Plan,
    directories: Sequence[Path],
    report: Report,
    say: Callable[[str], None],
    *,
    naive: bool,
) -> None:
    with ExitStack() as stack:
        subjects = [
            open_subject(plan.config, threads, directory)
            for directory in (None, *directories)
            for threads in plan.threads
        ]
        shipped = subjects[0]
        cases = [*stages.listening(plan.config), *_peers(plan, subjects, naive=naive)]
        for subject in subjects:
            cases += [*stages.models(subject), *stages.windows(subject, stack, stages.SCENARIOS)]
        cases += stages.several(shipped, stack, plan.rooms)
        report.timings = measure(cases, plan.rounds, lambda n: say(f"round {n} of {plan.rounds}"))
        report.compared = list(_compared(plan, report.timings, subjects))
        report.counts = {
            "decoder runs per window of speech that goes on": stages.decodes_per_window(shipped)
        }


def _peers(plan: Plan, subjects: Sequence[Subject], *, naive: bool) -> Iterator[Case]:
    if plan.yamnet is not None:
        yield peers.yamnet(plan.yamnet)
    for shape in plan.shapes if naive else ():
        tokens = next(stages.tokens_written(s) for s in subjects if s.name == shape)
        yield peers.naive(shape, tokens)


def _compared(
    plan: Plan, timings: Mapping[str, Timing], subjects: Sequence[Subject]
) -> Iterator[Compared]:
    """The ratios of the goals in docs/performance.md, as far as both sides were measured."""
    for name, of, to, factor in _pairs(plan, subjects):
        if of in timings and to in timings:
            yield Compared(name, ratio(timings[of], timings[to]).times(factor))


def _pairs(plan: Plan, subjects: Sequence[Subject]) -> Iterator[tuple[str, str, str, float]]:
    """Name, numerator, denominator and a factor that brings both to the same unit."""
    hop_s = plan.config.window.hop_s
    own = stages.label(subjects[0])
    plain = f"silent room : {stages.PLAIN}"
    yield plain, f"{own}: silence", stages.PLAIN, 1.0 / hop_s
    for part in ("log-mel, a hop on", f"{own}: CNN"):
        yield f"{part} : a YAMNet frame", part, peers.YAMNET, 1.0
    rate = "non-speech, a second : YAMNet at Frigate's rate"
    yield rate, f"{own}: non-speech", peers.YAMNET, peers.YAMNET_FRAME_S / hop_s
    for subject in subjects:
        yield from _naive_pairs(plan, subject)
    for scenario, rooms in product(("silence", "non-speech", "speech"), plan.rooms):
        one, many = (stages.rooms_name(subjects[0], scenario, n) for n in (1, rooms))
        if rooms > 1:
            yield f"{scenario}: {rooms} rooms : {rooms} times one room", many, one, 1.0 / rooms


def _naive_pairs(plan: Plan, subject: Subject) -> Iterator[tuple[str, str, str, float]]:
    own = stages.label(subject)
    scenarios = [each.name for each in stages.SCENARIOS[1:]]
    for shape in [subject.name] if subject.name in plan.shapes else plan.shapes:
        naive = peers.naive_name(shape)
        for what in ("window, every part once", *scenarios):
            yield f"naive {shape} : {own}: {what}", naive, f"{own}: {what}", 1.0


def _memory(
    plan: Plan, directories: Sequence[Path], *, naive: bool
) -> Iterator[tuple[str, Mapping[str, float]]]:
    yield SHIPPED, memory.by_part(None, plan.hours)
    for directory in directories:
        yield directory.name, memory.by_part(directory, 0.0)
    if naive and plan.shapes:
        yield "naive, after a window", {shape: memory.naive(shape) for shape in plan.shapes}
