"""train, evaluate, export and explain: handed on to the lab, which needs torch."""

from __future__ import annotations

from importlib.util import find_spec

import typer

from homeguard.cli.exits import ExitCode, complain

COMMANDS = {
    "train": "Train a voter from recordings.",
    "evaluate": "Measure the voters and the vote on a data set.",
    "export": "Turn a trained voter into what the daemon loads.",
    "explain": "Show and let hear why the voters judged as they did.",
}
MODULES = {
    "train": "homeguard.training.train_command",
    "evaluate": "homeguard.training.evaluate_pipeline",
    "export": "homeguard.training.export_command",
    "explain": "homeguard.explain.command",
}
HOW = (
    "It needs the lab's environment (torch and the extra `train`), which the daemon does without.\n"
    "In a checkout, scripts/lab makes it beside the daemon's:\n"
    "  scripts/lab && .venv-train/bin/homeguard {name} ...\n"
    "Elsewhere: pip install torch==2.13.0 'homeguard[train]'"
)


def forward(ctx: typer.Context) -> None:
    """Hand the arguments to the lab's command of the same name."""
    name = ctx.info_name or ""
    if find_spec("torch") is None:
        how = HOW.format(name=name)
        if set(ctx.args) & {"-h", "--help"}:
            typer.echo(f"homeguard {name}: {COMMANDS[name]}\n\n{how}")
            return
        complain(f"`homeguard {name}` is not possible here. {how}")
        raise typer.Exit(ExitCode.USAGE)
    from importlib import import_module

    try:
        module = import_module(MODULES[name])
    except ModuleNotFoundError as error:
        complain(f"the lab misses the package {error.name}: pip install 'homeguard[train]'")
        raise typer.Exit(ExitCode.USAGE) from error
    raise typer.Exit(module.main(ctx.args) or ExitCode.DONE)
