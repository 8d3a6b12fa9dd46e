"""`homeguard explain`: why the voters judged a recording, or a whole data set, as they did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from homeguard.cli.options import ConfigOption, load_config
from homeguard.labels import Category

app = typer.Typer(add_completion=False)
ONE_THREAD = 1  # the daemon's own; more only fight over small networks
VoterChoice = Literal["cnn", "encoder", "transcript", "all"]
MethodChoice = Literal["gradcam", "lrp", "lime", "occlusion", "attention", "all"]


@app.command()
def explain(
    audio: Annotated[
        list[Path] | None, typer.Argument(metavar="[AUDIO...]", show_default=False)
    ] = None,
    *,
    voter: Annotated[VoterChoice, typer.Option(help="Whose vote.")] = "all",
    method: Annotated[MethodChoice, typer.Option(help="How to look.")] = "all",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; explain-<name> when left out.")
    ] = None,
    at: Annotated[
        float | None,
        typer.Option(
            "--at", metavar="SECONDS", help="The window that begins there; else the most alarming."
        ),
    ] = None,
    category: Annotated[
        Category | None, typer.Option(help="Explain this one; else the one that the voter names.")
    ] = None,
    language: Annotated[
        Literal["ko", "en"] | None, typer.Option(help="Of the report; else the config's.")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="Explain the CNN and the encoder over a data set."),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Of --dataset.")] = "val",
    limit: Annotated[
        int, typer.Option(min=1, help="Of --dataset: recordings of each category at most.")
    ] = 12,
    windows: Annotated[
        int, typer.Option(min=1, help="Of --dataset: windows for sanity checks and curves.")
    ] = 8,
    cache: Annotated[
        Path, typer.Option(help="Of --dataset: decoded audio, kept between runs.")
    ] = Path("lab/cache"),
    config: ConfigOption = None,
) -> None:
    """Show and let hear why the voters judged a recording as they did.

    Writes explanation.html (self-contained), explanation.json, the pictures and the sounds.
    """
    import torch

    from homeguard.explain.study import Models
    from homeguard.voting.registry import Registry

    torch.set_num_threads(ONE_THREAD)
    loaded = load_config(config)
    models = Models(loaded, Registry.open(loaded.node))
    if dataset is not None:
        from homeguard.explain.dataset import DatasetOptions, explain_dataset

        options = DatasetOptions(
            dataset,
            out or Path("explain-dataset"),
            cache,
            split=split,
            per_category=limit,
            for_truth=windows,
        )
        explain_dataset(models, options, loaded, Console())
        return
    if not audio:
        message = "name a recording, or give --dataset"
        raise typer.BadParameter(message)
    voters: tuple[Literal["cnn", "encoder", "transcript"], ...] = (
        ("cnn", "encoder", "transcript") if voter == "all" else (voter,)
    )
    _refuse_nothing(voters, method)
    from homeguard.explain.hearing import choose, open_ear, read_sound
    from homeguard.explain.study import Study

    with open_ear(loaded) as ear:
        for path in audio:
            folder = out if out and len(audio) == 1 else (out or Path()) / f"explain-{path.stem}"
            sound = read_sound(path)
            moment = choose(ear.hear(path), at, voters)
            study = Study(path.name, sound, moment, models, folder, category)
            page = study.run(voters, method, language or loaded.home.language)
            start_s = moment.window.start_s
            typer.echo(f"{path}: the window from {start_s:.1f} s is explained in {page}")


def _refuse_nothing(voters: Sequence[str], method: str) -> None:
    """A method that the voter does not have gives no empty report."""
    from homeguard.explain.attribution import METHODS
    from homeguard.explain.encoder import ENCODER_METHODS

    has: dict[str, tuple[str, ...]] = {
        "cnn": METHODS,
        "encoder": ENCODER_METHODS,
        "transcript": (),
    }
    if method != "all" and not any(method in has[voter] for voter in voters):
        known = "; ".join(f"{name}: {', '.join(found)}" for name, found in has.items() if found)
        message = f"{method!r} is no method of this voter ({known}; transcript: only all)"
        raise typer.BadParameter(message, param_hint="--method")


def main(arguments: Sequence[str]) -> int:
    """Run it; gives the exit code."""
    code = app(list(arguments), prog_name="homeguard explain", standalone_mode=False)
    return code if isinstance(code, int) else 0
