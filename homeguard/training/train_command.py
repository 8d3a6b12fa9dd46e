"""`homeguard train`: one subcommand a model, each leaving the artefact, its options and results.

The order of a release: game-sounds, cnn, joint, `homeguard export joint`, text, `homeguard export
release`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from homeguard.training.corpus import FREE_LICENCES, USABLE_LICENCES, Licence
from homeguard.training.errors import LabError
from homeguard.training.sound_models import SoundModel

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train a voter.")

Data = Annotated[
    Path, typer.Option("--data", help="manifest.csv, or the folder of AI-Hub set 170.")
]
Out = Annotated[Path, typer.Option("--out", help="Where the model and its record go.")]
Cache = Annotated[Path, typer.Option("--cache", help="Decoded audio, pools, speech: kept.")]
Teacher = Annotated[
    Path | None, typer.Option("--teacher", help="yamnet.tflite, to learn from as well.")
]
Yamnet = Annotated[
    Path | None, typer.Option("--yamnet", help="yamnet.tflite, whose weights `mobile` starts from.")
]
JointStart = Annotated[
    Path | None,
    typer.Option(
        "--start",
        exists=True,
        help="Whose weights go on: an earlier run's last.ckpt (same BASE), or models/, what ships.",
    ),
]
Free = Annotated[bool, typer.Option("--free", help="Learn from free licences and synthesis alone.")]
AlarmWeight = Annotated[
    float, typer.Option(help="Weight of the loss of emergency or not, beside the categories'.")
]
Seed = Annotated[int, typer.Option("--seed")]
CACHE = Path("lab/cache")


class Network(StrEnum):
    """Architectures of the CNN, see `homeguard.training.networks`."""

    MOBILE = "mobile"
    COMPACT = "compact"
    S0 = "s0"


@app.command()
def cnn(
    data: Data,
    out: Out,
    *,
    cache: Cache = CACHE,
    yamnet: Yamnet = None,
    teacher: Teacher = None,
    free: Free = False,
    architecture: Annotated[
        Network, typer.Option(help="mobile ships; compact is smaller; s0: the source's table.")
    ] = Network.MOBILE,
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What to go on from: an earlier run's checkpoints/best.ckpt, or a model.onnx.",
        ),
    ] = None,
    windows: Annotated[int, typer.Option(help="Windows in the pool.")] = 30_000,
    epochs: int = 5,
    learning_rate: Annotated[float, typer.Option(help="Peak of the schedule.")] = 1.5e-3,
    corregularization: Annotated[
        float, typer.Option(help="Weight of the term that pushes filters apart.")
    ] = 0.0,
    alarm_weight: AlarmWeight = 0.0,
    select: Annotated[
        bool, typer.Option("--select", help="Drop what is foreign in recordings (GDS).")
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(help="As Lightning names it. [default: bf16-mixed; s0: 32-true]"),
    ] = None,
    seed: Seed = 1,
) -> None:
    """Train the CNN, export it to ONNX and calibrate it on val."""
    from homeguard.training.cnn import CnnOptions, train_cnn
    from homeguard.training.pool import PoolOptions
    from homeguard.training.selection import SelectionOptions
    from homeguard.training.sound_models import CnnModel

    result = train_cnn(
        CnnOptions(
            manifest=data,
            out=out,
            cache=cache,
            teacher=teacher,
            yamnet=yamnet,
            architecture=architecture.value,
            licences=_licences(free=free),
            start=start,
            epochs=epochs,
            learning_rate=learning_rate,
            corregularization=corregularization,
            alarm_weight=alarm_weight,
            # The table's first layers of a few channels gave NaN within steps in bf16 on a CPU.
            precision=precision or ("32-true" if architecture is Network.S0 else "bf16-mixed"),
            seed=seed,
            pool=PoolOptions(
                windows=windows,
                seed=seed,
                emergency_share=0.38,
                synthetic_normal=0.2,
                selection=SelectionOptions() if select else None,
            ),
        )
    )
    Console().print(result)
    _calibrate(CnnModel(result.model), data, cache, out)


@app.command()
def joint(
    data: Data,
    out: Out,
    *,
    cache: Cache = CACHE,
    base: Annotated[
        str, typer.Option(help="small-192, or the folder of a published Whisper.")
    ] = "small-192",
    start: JointStart = None,
    free: Free = False,
    freeze_encoder: Annotated[
        bool, typer.Option(help="Fit decoder and head only; what ships then encodes, in int8.")
    ] = False,
    label_share: Annotated[
        float | None, typer.Option(help="Of the loss; the text has the rest. 0 leaves the head.")
    ] = None,
    wide_speech: Annotated[
        bool, typer.Option(help="Many more sentences are spoken; needs wordnet-base.")
    ] = False,
    alarm_weight: AlarmWeight = 0.0,
    speech_share: Annotated[
        float | None, typer.Option(help="Of the windows; the others are sounds.")
    ] = None,
    short_share: Annotated[
        float | None, typer.Option(help="Of the batches: windows of 2.56 s, which cost half.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Otherwise as the recipe of BASE says.")] = None,
    short_steps: Annotated[
        int | None, typer.Option(help="Of them on short speech alone, first.")
    ] = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    precision: Annotated[str, typer.Option(help="As Lightning names it.")] = "bf16-mixed",
    devices: Annotated[int, typer.Option(help="More than one: DDP.")] = 1,
    workers: int = 1,
    seed: Seed = 1,
) -> None:
    """Train Whisper's text and the categories jointly; resumes where OUT has a checkpoint."""
    from homeguard.training.joint import recipe, train
    from homeguard.training.mixture import MixtureOptions
    from homeguard.training.speech import WIDE, SpeechOptions

    mixture = MixtureOptions(
        cache_dir=cache,
        manifest=data,
        licences=_licences(free=free),
        speech=WIDE if wide_speech else SpeechOptions(),
    )
    asked: dict[str, Any] = {
        "label_share": label_share,
        "steps": steps,
        "short_steps": short_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    options = recipe(base, mixture, out, start)
    shares: dict[str, Any] = {"speech_share": speech_share, "short_share": short_share}
    shares = {name: share for name, share in shares.items() if share is not None}
    # A published one is no CTranslate2 folder of the window's length, and torch has to encode.
    ships = start is not None and start.is_dir()
    encoder = Path(options.base) if ships and freeze_encoder else None
    options = replace(
        options,
        data=replace(options.data, encoder=encoder, **shares),
        alarm_weight=alarm_weight,
        freeze_encoder=freeze_encoder,
        precision=precision,
        devices=devices,
        workers=workers,
        seed=seed,
        **{name: value for name, value in asked.items() if value is not None},
    )
    checkpoint = train(options)
    Console().print(f"trained: {checkpoint}")


@app.command()
def ratios(
    data: Data,
    out: Out,
    *,
    cache: Cache = CACHE,
    base: Annotated[
        str, typer.Option(help="small-192, or the folder of a published Whisper.")
    ] = "small-192",
    start: JointStart = None,
    steps: Annotated[int, typer.Option(help="Trained for each ratio.")] = 150,
    share: Annotated[
        list[float] | None, typer.Option(help="Of the label loss; give it several times.")
    ] = None,
    seed: Seed = 1,
) -> None:
    """Try ratios of text loss and label loss: accuracy and CER of each, and their plot."""
    from homeguard.training.joint import recipe
    from homeguard.training.mixture import MixtureOptions
    from homeguard.training.ratios import RatioOptions, sweep

    mixture = MixtureOptions(cache_dir=cache, manifest=data)
    chosen = replace(
        recipe(base, mixture, out, start),
        steps=steps,
        short_steps=0,
        warmup_steps=max(steps // 10, 1),
        kept_checkpoints=1,
        seed=seed,
    )
    options = RatioOptions(chosen)
    Console().print(sweep(replace(options, shares=tuple(share)) if share else options))


@app.command()
def text(
    out: Out,
    *,
    data: Annotated[
        Path | None, typer.Option("--data", help="Its transcripts are harmless lines as well.")
    ] = None,
    heard_by: Annotated[
        Path | None,
        typer.Option(help="A transcriber's folder: sentences are read to it, its errors learned."),
    ] = None,
    cache: Cache = CACHE,
    compare_lstm: Annotated[
        bool, typer.Option("--compare-lstm", help="Measure the source's LSTM beside it.")
    ] = False,
    seed: Seed = 3,
) -> None:
    """Fit the text classifier of the transcript voter; its figures go beside it."""
    from homeguard.training.heard import HeardOptions
    from homeguard.training.text import TextOptions, train

    transcriber = HeardOptions(heard_by, cache) if heard_by else None
    train(out, TextOptions(seed=seed), data, transcriber, compare_lstm=compare_lstm)
    Console().print_json((out / "metrics.json").read_text(encoding="utf-8"))


@app.command("game-sounds")
def game_sounds(
    out: Out,
    *,
    beside: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="manifest.csv whose rows the new one has as well."
        ),
    ] = None,
    packages: Annotated[
        Path, typer.Option(help="Where Debian's packages are unpacked: kept.")
    ] = Path("lab/packages"),
) -> None:
    """Cut more recordings from what Debian packages: games first of all, music, announcements.

    OUT/manifest.csv is of the split train; OUT/scenes.csv adds packages held out for val's scenes.
    """
    from homeguard.training.game_sounds import fetch, gather

    fetch(packages)
    Console().print(f"written: {gather(packages, out, beside)}")


@app.command("check-data")
def check_data(
    directory: Annotated[Path, typer.Argument(help="Where Training/ and Validation/ lie.")],
    *,
    noise: Annotated[
        Path | None, typer.Option(help="Where the appliance noise set lies, if elsewhere.")
    ] = None,
) -> None:
    """Count the classes of a copy of AI-Hub's data, and name what is missing or wrong."""
    from homeguard.training.aihub import check, print_check

    survey = check(directory, noise)
    print_check(survey, Console())
    raise typer.Exit(0 if survey.is_complete else 1)


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand; gives its exit code, 2 when nothing could be learned."""
    try:
        code = app(list(arguments), prog_name="homeguard train", standalone_mode=False)
    except LabError as error:
        Console(stderr=True).print(f"homeguard train: {error}", style="red", highlight=False)
        return 2
    return code if isinstance(code, int) else 0


def _licences(*, free: bool) -> tuple[Licence, ...]:
    return tuple(sorted(FREE_LICENCES if free else USABLE_LICENCES))


def _calibrate(model: SoundModel, data: Path, cache: Path, out: Path) -> None:
    from homeguard.training.calibrate import CalibrateOptions, calibrate

    options = CalibrateOptions(manifest=data, cache=cache, out=out / "calibration.json")
    Console().print(calibrate(model, options))
