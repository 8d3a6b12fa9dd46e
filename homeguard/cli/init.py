"""init: a first config.yaml, by questions or by flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeguard.cli.exits import ExitCode, complain
from homeguard.cli.options import own_config

if TYPE_CHECKING:
    from homeguard.cli.interview import Interview
    from homeguard.config import Config

INTERRUPTED = 130


def init(  # noqa: PLR0913 - each option is an argument
    file: Annotated[
        Path | None,
        typer.Argument(
            envvar="HOMEGUARD_CONFIG",
            help="Where it is written; config.yaml when left out, "
            "in a checkout config.local.yaml, which wins over it.",
            show_default=False,
        ),
    ] = None,
    *,
    name: Annotated[str | None, typer.Option(help="What people call this home.")] = None,
    address: Annotated[str | None, typer.Option(help="Its street address.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Of questions and messages: ko or en.", metavar="ko|en")
    ] = None,
    spoken: Annotated[
        str | None, typer.Option(help="What is spoken in the home.", metavar="ko|en|auto")
    ] = None,
    node: Annotated[str | None, typer.Option(help="Name of this machine in MQTT topics.")] = None,
    room: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=SOURCE]",
            help="A room; SOURCE is a microphone or a stream's url. Repeat it for more.",
        ),
    ] = None,
    microphone: Annotated[
        str | None, typer.Option(help="For a room without a source, see `homeguard devices`.")
    ] = None,
    contact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PHONE[,ko|en]", help="A caregiver, in the order of calling. Repeat it."
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(metavar="HOST[:PORT]", help="Also mqtts://USER@HOST:PORT, or none."),
    ] = None,
    sms_account: Annotated[
        str | None, typer.Option(metavar="AC...", help="Twilio account; switches SMS on.")
    ] = None,
    sms_sender: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="What text messages come from.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: flags, and defaults for the rest.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file; the old one stays as FILE.old.")
    ] = False,
) -> None:
    """Write a commented config.yaml: asks for what the options do not say.

    Passwords are never asked for: they belong into the environment or systemd's credentials.
    Nothing is written before the last answer; Ctrl-C ends it at any time.
    """
    from homeguard.cli.interview import Flags, Interview
    from homeguard.cli.written import save, shipped_config, written
    from homeguard.config import load

    file = file or own_config()
    flags = Flags(
        name=name,
        address=address,
        language=language,
        spoken=spoken,
        node=node,
        rooms=tuple(room or ()),
        microphone=microphone,
        contacts=tuple(contact or ()),
        broker=broker,
        sms_account=sms_account,
        sms_sender=sms_sender,
    )
    if yes and not force and file.exists():
        complain(f"{file} is there already; --force replaces it")
        raise typer.Exit(ExitCode.FAILED)
    try:
        interview = Interview(flags, load(shipped_config()), asks=not yes)
        if not yes:
            _begin(interview, file, force=force)
        config = _checked(interview)
        text = written(shipped_config().read_text(encoding="utf-8"), config)
        if not yes:
            _confirm(interview, config)
    except (typer.Abort, KeyboardInterrupt):
        complain("ended, nothing was written; 아무것도 쓰지 않았습니다 (without a terminal: --yes)")
        raise typer.Exit(INTERRUPTED) from None
    save(file, text)
    _tell_next(interview, config, file)


def _begin(interview: Interview, file: Path, *, force: bool) -> None:
    typer.echo(interview.say("welcome", file=file))
    if file.exists() and not force and not typer.confirm(interview.say("replace", file=file)):
        raise typer.Abort


def _checked(interview: Interview) -> Config:
    """The answers as `run` would read them. Raises ConfigError, such as for a node's name."""
    import yaml

    from homeguard.config import parse

    plain = interview.config().model_dump(mode="json")
    return parse(yaml.safe_dump(plain, allow_unicode=True), "answers")


def _confirm(interview: Interview, config: Config) -> None:
    from homeguard.cli.summary import summarize

    for label, value in summarize(config):
        typer.echo(f"  {label:<9} {value}")
    if not typer.confirm(interview.say("write"), default=True):
        raise typer.Abort


def _tell_next(interview: Interview, config: Config, file: Path) -> None:
    """What was done, what will hardly be meant, and what comes next."""
    from homeguard.cli.summary import warnings_of
    from homeguard.config import Secrets

    typer.echo(interview.say("wrote", file=file))
    for warning in warnings_of(config, Secrets.load()):
        complain(f"warning: {warning}")
    typer.echo(interview.say("next"))
    if config.mqtt.enabled and config.mqtt.username:
        typer.echo(f"  {interview.say('secret_mqtt')}")
    if config.sms.enabled:
        typer.echo(f"  {interview.say('secret_sms')}")
    for key in ("doctor", "test", "run"):
        typer.echo(f"  {interview.say(key)}")
