"""All commands put together, and how their errors reach the user.

Exit codes: 0 done, 1 what was asked for failed, 2 usage or config error, 3 input unreadable,
4 a needed model is missing, 130 interrupted.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from homeguard import __version__
from homeguard.cli import benchmark, check, history, init, lab, listen, model_store, service
from homeguard.cli.exits import report


class Commands(TyperGroup):
    """Turns a HomeGuardError into one message on stderr and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own signature, its context is private
        """Run the command that `ctx` names."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            raise typer.Exit(report(error)) from error


app = typer.Typer(
    name="homeguard",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 usage or config, 3 input unreadable, 4 model missing.",
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag
    if wanted:
        typer.echo(f"homeguard {__version__}")
        raise typer.Exit


@app.callback()
def homeguard(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Listens to a home and calls for help: sound in, alert out, all on this machine.

    It does not replace a certified smoke, gas or medical alarm.
    """
    del version  # its callback has seen to it
    # What commands have to say they print themselves; `run` sends the log to stderr.
    logging.getLogger("homeguard").addHandler(logging.NullHandler())


STARTING = "Starting"
LISTENING = "Listening"
CHECKING = "Checking"
LAB = "Lab (needs the environment that scripts/lab makes)"

app.command("init", rich_help_panel=STARTING)(init.init)
app.command("run", rich_help_panel=LISTENING)(service.run)
app.command("demo", rich_help_panel=LISTENING)(service.demo)
app.command("analyze", rich_help_panel=LISTENING)(listen.analyze)
app.add_typer(history.app, name="incidents", rich_help_panel=LISTENING)
app.command("devices", rich_help_panel=CHECKING)(listen.devices)
app.command("check-config", rich_help_panel=CHECKING)(check.check_config)
app.command("config-reference", hidden=True)(check.config_reference)
app.command("doctor", rich_help_panel=CHECKING)(check.doctor)
app.command("benchmark", rich_help_panel=CHECKING)(benchmark.benchmark)
app.command("test-alert", rich_help_panel=CHECKING)(service.send_test)
app.add_typer(model_store.app, name="models", rich_help_panel=CHECKING)
for _name in lab.COMMANDS:
    app.command(
        _name,
        rich_help_panel=LAB,
        help=lab.COMMANDS[_name],
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        add_help_option=False,
    )(lab.forward)


def main() -> None:
    """The entry point: parse sys.argv, run, exit."""
    app()
