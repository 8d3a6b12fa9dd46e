"""`homeguard export`: from what was trained to what the daemon loads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from homeguard.training.errors import LabError
from homeguard.training.release import Kind, Part, ReleaseOptions, release

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Export and release models.")

FOLDERS: dict[Kind, str] = {
    "whisper": "whisper-home",
    "head": "encoder-head",
    "cnn": "cnn",
    "text": "text",
}
# The strictest licence among what the weights learned from.
LICENCE = "CC BY-NC-SA 4.0 and CC BY-NC-ND 4.0 recordings among its data: non-commercial use"
WRITTEN = (
    "own sentences, also as whisper-home hears them; Debian's word lists; "
    "transcripts of home-sounds train (free, nc, nc-nd)"
)
SPOKEN = (
    "starts from OpenAI's Whisper base (MIT); espeak-ng and flite renderings of own sentences and "
    "of WordNet's phrases; "
    "home-sounds train, free, nc and nc-nd; sounds of free games (Debian)"
)
SOUNDS = (
    "starts from YAMNet's weights (Google, Apache-2.0, changed); home-sounds train, free, nc and "
    "nc-nd; sounds of free games, loops, announcements (Debian); synthesised sounds"
)

MADE = "synthesised sounds"


@app.command()
def joint(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="What `train joint` left, or what ships (models); of several, the mean."
        ),
    ],
    models: Annotated[Path, typer.Option(help="The models' directory.")] = Path("models"),
    *,
    data: Annotated[
        Path | None, typer.Option("--data", help="Compare and calibrate on its val clips.")
    ] = None,
    cache: Annotated[Path, typer.Option("--cache", help="As in training.")] = Path("lab/cache"),
    base: Annotated[str, typer.Option(help="As it was trained.")] = "small-192",
) -> None:
    """Write whisper-home (CTranslate2, int8) and the joint model's own head, checked against torch.

    Refused where the exported files stray further from torch than tolerated.
    """
    from homeguard.training.calibrate import CalibrateOptions, calibrate
    from homeguard.training.export import ExportOptions, export
    from homeguard.training.joint import HEAD_DIR, WHISPER_DIR
    from homeguard.training.sound_models import EncoderModel

    parity = export(
        ExportOptions(
            run_dirs=tuple(runs), out_dir=models, cache_dir=cache, manifest=data, base=base
        )
    )
    Console().print(parity)
    if data is not None:
        head = models / HEAD_DIR
        encoder = EncoderModel(models / WHISPER_DIR, head / "model.onnx")
        chosen = CalibrateOptions(manifest=data, cache=cache, out=head / "calibration.json")
        Console().print(calibrate(encoder, chosen))


@app.command("release")
def write_manifest(
    models: Annotated[Path, typer.Argument(help="The models' directory.")] = Path("models"),
) -> None:
    """Write manifest.json: hashes, calibrations and figures of everything in MODELS."""
    data = {"whisper": SPOKEN, "head": f"{SPOKEN}; {MADE}", "cnn": SOUNDS, "text": WRITTEN}
    parts = tuple(
        Part(
            name,
            kind,
            licence=LICENCE,
            commercial_use=False,
            data=data[kind],
        )
        for kind, name in FOLDERS.items()
    )
    Console().print(f"wrote {release(ReleaseOptions(models, parts, {'full': FOLDERS}))}")


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand; gives its exit code, 2 when there is nothing to export."""
    try:
        code = app(list(arguments), prog_name="homeguard export", standalone_mode=False)
    except LabError as error:
        Console(stderr=True).print(f"homeguard export: {error}", style="red", highlight=False)
        return 2
    return code if isinstance(code, int) else 0
