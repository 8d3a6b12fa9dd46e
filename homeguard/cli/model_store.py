"""models: what is bundled and pulled, whether it is intact, and fetching a published Whisper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from homeguard.cli.exits import ExitCode, complain
from homeguard.cli.options import ConfigOption, JsonOption, load_config

if TYPE_CHECKING:
    from homeguard.voting.registry import Registry

app = typer.Typer(no_args_is_help=True, help="Models: list, verify, and pull a published Whisper.")


@app.command("list")
def list_models(*, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """All models, bundled and pulled, and the sets they form."""
    import json

    registry = _registry(config)
    rows = [
        {
            "name": model.name,
            "kind": model.entry.kind,
            "origin": "bundled" if model.bundled else "pulled",
            "bytes": sum(file.bytes for file in model.entry.files.values()),
            "licence": model.entry.licence,
            "commercial_use": model.entry.commercial_use,
            "path": str(model.directory),
        }
        for model in registry.models.values()
    ]
    if as_json:
        typer.echo(
            json.dumps({"sets": registry.sets, "models": rows}, ensure_ascii=False, indent=2)
        )
        return
    if not rows:
        complain(f"no models in {registry.bundled} or {registry.pulled}")
        raise typer.Exit(ExitCode.MODEL_MISSING)
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for head in ("name", "kind", "origin", "MB", "licence", "commercial use"):
        table.add_column(head, justify="right" if head == "MB" else "left")
    for row in rows:
        size = f"{int(str(row['bytes'])) / 1e6:.1f}"
        allowed = "yes" if row["commercial_use"] else "no"
        name, kind, origin, licence = (str(row[k]) for k in ("name", "kind", "origin", "licence"))
        table.add_row(name, kind, origin, size, licence, allowed)
    Console().print(table)
    if registry.sets:
        typer.echo(f"Sets (voters.set), the default first: {', '.join(registry.sets)}")


@app.command("pull")
def pull_model(
    name: Annotated[
        str,
        typer.Argument(
            help="tiny, base, small, medium, large-v3, turbo, a hub's owner/repository, or a "
            "directory with a Whisper for CTranslate2."
        ),
    ],
    *,
    endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="HF_ENDPOINT",
            metavar="URL",
            help="Another server that speaks the hub's protocol.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Fetch a published Whisper, the transcriber for real speech; goes on where it broke off."""
    from homeguard.voting.pull import pull

    registry = _registry(config)
    model = pull(name, registry.pulled, endpoint=endpoint)
    size = sum(file.bytes for file in model.entry.files.values()) / 1e6
    typer.echo(f"{model.name}: {size:.0f} MB in {model.directory}, licence: {model.entry.licence}")
    typer.echo("To use it, write into config.yaml:")
    typer.echo(f"voters:\n  transcript:\n    model: {model.name}")


@app.command("verify")
def verify_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Models to check; all when left out."),
    ] = None,
    *,
    config: ConfigOption = None,
) -> None:
    """Check every file of the models by its SHA-256; exit 4 if one is missing or altered."""
    from homeguard.domain import ModelError

    registry = _registry(config)
    chosen = names or list(registry.models)
    if not chosen:
        complain(f"no models in {registry.bundled} or {registry.pulled}: reinstall homeguard")
        raise typer.Exit(ExitCode.MODEL_MISSING)
    broken = 0
    for name in chosen:
        model = registry.models.get(name)
        if model is None:
            complain(f"no model {name!r}; there are {', '.join(registry.models) or 'none'}")
            broken += 1
            continue
        try:
            model.verify()
        except ModelError as error:
            complain(str(error))
            broken += 1
        else:
            typer.echo(f"{name}: {len(model.entry.files)} files intact")
    if broken:
        raise typer.Exit(ExitCode.MODEL_MISSING)


def _registry(config: ConfigOption) -> Registry:
    from homeguard.voting.registry import Registry

    return Registry.open(load_config(config).node)
