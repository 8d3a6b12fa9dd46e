"""analyze and devices: recordings through the pipeline, and the microphones that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeguard.cli.exits import ExitCode, complain
from homeguard.cli.options import ConfigOption, JsonOption, load_config

if TYPE_CHECKING:
    from rich.progress import Progress

    from homeguard.analyze import Found, Hearing, Record, Summary
    from homeguard.domain import AudioChunk

PLOT_SUFFIXES = (".png", ".pdf", ".svg")


def analyze(
    audio: Annotated[
        list[Path],
        typer.Argument(
            metavar="AUDIO...",
            help="Recordings, directories of recordings, or - for a recording on stdin.",
            show_default=False,
        ),
    ],
    *,
    as_json: JsonOption = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.png",
            help="Also draw a timeline (png, pdf or svg); one OUT-<name> each for several files.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Hear recordings as the daemon would, faster than real time.

    Prints the incidents found; with --json one object a line for every window, incident and file.
    A file that cannot be read is named, the others are still heard, and the exit code is 3.
    """
    from homeguard.cli.hearing import hearing

    loaded = load_config(config)
    if plot is not None:
        _check_plot(plot)
    with hearing(loaded) as open_room:
        session = _Session(open_room, plot, as_json=as_json)
        unreadable = session.run(audio)
    if unreadable:
        raise typer.Exit(ExitCode.UNREADABLE)


class _Session:
    """One call of analyze: goes through the files and shows what comes."""

    def __init__(
        self, open_room: Callable[[], Hearing], plot: Path | None, *, as_json: bool
    ) -> None:
        self._open_room = open_room
        self._plot = plot
        self._as_json = as_json
        self._found: list[tuple[str, Found]] = []
        self._drawn: set[Path] = set()

    def run(self, arguments: list[Path]) -> int:
        """Hear all of them; gives how many could not be read."""
        from homeguard.domain import SourceError

        unreadable = 0
        files: list[Path] = []
        for argument in arguments:
            try:
                files += self._expanded(argument)
            except SourceError as error:
                complain(str(error))
                unreadable += 1
        with _progress() as progress:
            for file in files:
                try:
                    self._hear(file, progress, several=len(files) > 1)
                except SourceError as error:
                    complain(str(error))
                    unreadable += 1
        if not self._as_json and len(files) > unreadable:
            self._show_table()
        return unreadable

    def _expanded(self, argument: Path) -> list[Path]:
        from homeguard.analyze import expand

        return [argument] if str(argument) == "-" else expand(argument)

    def _hear(self, file: Path, progress: Progress, *, several: bool) -> None:
        from homeguard.analyze import analyze as hear
        from homeguard.analyze import standard_input
        from homeguard.plot.timeline import Timeline

        timeline = Timeline() if self._plot else None
        source = standard_input() if str(file) == "-" else nullcontext(file)
        with source as path, _bar(progress, path, file) as advance:

            def watch(chunk: AudioChunk) -> None:
                advance(chunk)
                if timeline is not None:
                    timeline.hear(chunk)

            for record in hear(path, self._open_room(), watch):
                if timeline is not None:
                    timeline.note(record)
                self._show(record, str(file), progress)
        if timeline is not None and self._plot is not None:
            from homeguard.plot.drawing import draw

            out = self._plot_path(self._plot, file) if several else self._plot
            draw(timeline, out, "stdin" if str(file) == "-" else file.name)

    def _show(self, record: Record, file: str, progress: Progress) -> None:
        from homeguard.analyze import Found, Summary
        from homeguard.analyze import as_json as line_of

        if self._as_json:
            print(line_of(record, file), flush=True)  # noqa: T201 - the output itself
        elif isinstance(record, Found):
            self._found.append((file, record))
        elif isinstance(record, Summary):
            progress.console.file.flush()
            typer.echo(_sentence(record, file))
        if isinstance(record, Summary) and record.damage:
            complain(f"warning: {file}: {record.damage}")

    def _show_table(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        if not self._found:
            return
        table = Table(title="Incidents", title_justify="left")
        for head in ("file", "from", "noticed", "to", "what", "sure", "words"):
            table.add_column(head, justify="right" if head in {"from", "noticed", "to"} else "left")
        for file, found in self._found:
            incident = found.incident
            times = (_clock(t) for t in (found.onset_s, found.detected_s, found.end_s))
            what = f"{incident.category.name_in('ko')} {incident.category.name_in('en')}"
            words = escape(incident.transcript or "")
            table.add_row(
                escape(Path(file).name), *times, what, f"{incident.confidence:.2f}", words
            )
        Console().print(table)

    def _plot_path(self, plot: Path, file: Path) -> Path:
        stem = "stdin" if str(file) == "-" else file.stem
        path, count = plot.with_stem(f"{plot.stem}-{stem}"), 1
        while path in self._drawn:
            count += 1
            path = plot.with_stem(f"{plot.stem}-{stem}-{count}")
        self._drawn.add(path)
        return path


def _check_plot(plot: Path) -> None:
    from importlib.util import find_spec

    if plot.suffix.lower() not in PLOT_SUFFIXES:
        message = f"{plot}: name a file that ends in {', '.join(PLOT_SUFFIXES)}"
        raise typer.BadParameter(message, param_hint="--plot")
    if not plot.absolute().parent.is_dir():
        message = f"{plot}: the directory {plot.parent} is not there"
        raise typer.BadParameter(message, param_hint="--plot")
    if find_spec("matplotlib") is None:
        message = "drawing needs matplotlib: pip install 'homeguard[plot]'"
        raise typer.BadParameter(message, param_hint="--plot")


def _sentence(summary: Summary, file: str) -> str:
    number = "no incident" if not summary.incidents else f"{summary.incidents} incident"
    plural = "s" if summary.incidents > 1 else ""
    told = (
        f"{file}: {number}{plural} in {_clock(summary.duration_s)} "
        f"({summary.audio_seconds_per_second:.0f} times real time)"
    )
    if summary.incidents or not summary.emergency_windows:
        return told
    return (
        f"{told}; judged an emergency in {summary.emergency_windows} window(s), too few for an "
        "incident (decision.onset_windows): a short recording needs some seconds more after it"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # stdout stays a plain stream of lines: it is what scripts read.
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        yield progress


@contextmanager
def _bar(progress: Progress, path: Path, file: Path) -> Iterator[Callable[[AudioChunk], None]]:
    from rich.markup import escape

    from homeguard.analyze import ROOM
    from homeguard.capture.media import MediaFile

    if progress.disable:
        yield lambda _chunk: None
        return
    task = progress.add_task(escape(file.name), total=MediaFile(ROOM, path).duration_s)
    try:
        yield lambda chunk: progress.update(task, completed=chunk.end_s)
    finally:
        progress.remove_task(task)


def devices(*, as_json: JsonOption = False) -> None:
    """List the microphones by the names that config.yaml takes."""
    import json
    from dataclasses import asdict

    from homeguard.capture.microphone import list_microphones

    found = list_microphones()
    if as_json:
        typer.echo(json.dumps([asdict(device) for device in found], ensure_ascii=False))
        return
    if not found:
        complain(
            "no microphone found: plug one in, and check that this user is in the group audio "
            "(sudo usermod -aG audio $USER) and that the sound server runs"
        )
        raise typer.Exit(ExitCode.FAILED)
    for device in found:
        typer.echo(str(device))
    typer.echo(f'\nIn config.yaml, under rooms:  microphone: "{found[0].name}"')
