"""benchmark: what listening costs on this machine."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from homeguard.cli.options import ConfigOption, JsonOption, load_config


def benchmark(  # noqa: PLR0913 - options are arguments
    *,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="time, memory, daemon or explain; all when left out.", show_default=False
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Also a random Whisper of this size: tiny, base, small.", metavar="SIZE"),
    ] = None,
    whisper: Annotated[
        list[Path] | None, typer.Option(help="Also this Whisper.", metavar="DIRECTORY")
    ] = None,
    yamnet: Annotated[
        Path | None, typer.Option(help="Beside this YAMNet.", metavar="TFLITE")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Every case is timed so often.")] = 9,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="Threads of an inference; 1 and 2.")
    ] = None,
    rooms: Annotated[
        list[int] | None, typer.Option(min=1, help="Rooms at once; 1, 2, 4 and 8.")
    ] = None,
    hours: Annotated[
        float, typer.Option(min=0.0, help="Simulated hours of sound, to see memory grow.")
    ] = 0.0,
    events: Annotated[int, typer.Option(min=1, help="Alerts whose delay is measured.")] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure what listening costs here: time, memory, and the delay of an alert.

    All cases are timed in turn in shuffled rounds, so that ratios hold on a busy machine. With the
    lab's environment (scripts/lab) the pipeline as first written, in torch, is timed beside ours.
    """
    from homeguard import runtime as _runtime  # noqa: F401 - before any native library
    from homeguard.benchmark.run import PARTS, Plan, run
    from homeguard.benchmark.shapes import PUBLISHED

    _known(part, PARTS, "--part")
    _known(shape, tuple(PUBLISHED), "--shape")
    plan = Plan(
        load_config(config),
        parts=tuple(part or PARTS),
        shapes=tuple(shape or ()),
        whispers=tuple(whisper or ()),
        yamnet=yamnet,
        rounds=rounds,
        threads=tuple(threads or (1, 2)),
        rooms=tuple(rooms or (1, 2, 4, 8)),
        hours=hours,
        events=events,
    )
    command = shlex.join(["homeguard", *sys.argv[1:]])
    report = run(plan, command, lambda said: typer.echo(said, err=True))
    typer.echo(
        json.dumps(report.as_json(), ensure_ascii=False, indent=1) if as_json else report.as_text()
    )


def _known(given: list[str] | None, choice: tuple[str, ...], option: str) -> None:
    for value in given or ():
        if value not in choice:
            message = f"{value!r}: choose from {', '.join(choice)}"
            raise typer.BadParameter(message, param_hint=option)
