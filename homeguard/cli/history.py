"""incidents: what happened, whom it reached, and taking one over."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeguard.cli.exits import ExitCode, complain
from homeguard.cli.options import ConfigOption, JsonOption, load_config, state_dir_of

if TYPE_CHECKING:
    from homeguard.alerting.outbox import Outbox
    from homeguard.alerting.records import DeliveryRecord, IncidentRecord
    from homeguard.config import Config
    from homeguard.domain import Contact, Incident

app = typer.Typer(
    no_args_is_help=True, help="What happened: list, show, acknowledge and export incidents."
)

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="STATE_DIRECTORY",
        metavar="DIR",
        help="Where the database lies; the config's node.state_dir when left out.",
        show_default=False,
    ),
]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An incident's id, or the first letters of it.")
]


class Format(StrEnum):
    """What export writes."""

    JSON = "json"
    CSV = "csv"


@app.command("list")
def list_incidents(
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="At most so many, newest first.")
    ] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state_dir: StateOption = None,
) -> None:
    """The last incidents, newest first."""
    loaded = load_config(config)
    with _outbox(loaded, state_dir) as outbox:
        incidents = outbox.history.incidents(limit) if outbox else []
    if as_json:
        _print_json([_incident(incident) for incident in incidents])
    elif not incidents:
        typer.echo("No incidents.")
    else:
        _print_table(incidents, loaded)


@app.command("show")
def show_incident(
    incident: IdArgument,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state_dir: StateOption = None,
) -> None:
    """One incident with its votes and everything that was sent for it."""
    loaded = load_config(config)
    with _outbox(loaded, state_dir) as outbox:
        record = outbox.history.show(incident) if outbox else None
    if record is None:
        _unknown(incident)
    elif as_json:
        _print_json(_record(record))
    else:
        for line in _lines(record):
            typer.echo(line)


@app.command("ack")
def acknowledge_incident(
    incident: IdArgument,
    *,
    by: Annotated[
        str | None,
        typer.Option(help="Who takes care; the others are told this name. Default: you."),
    ] = None,
    config: ConfigOption = None,
    state_dir: StateOption = None,
) -> None:
    """Take an incident over: nobody further is called, the others learn who takes care."""
    from homeguard.alerting.channels import make_audience
    from homeguard.alerting.desk import Desk
    from homeguard.alerting.escalation import Planner
    from homeguard.config import ConfigError, Secrets

    loaded = load_config(config)
    with _outbox(loaded, state_dir) as outbox:
        found = outbox.history.incident(incident) if outbox else None
        if outbox is None or found is None:
            _unknown(incident)
            return
        audience: tuple[Contact, ...] = ()
        with suppress(ConfigError):  # urls that only the daemon may read: take the incident anyway
            audience = make_audience(loaded, Secrets.load())
        desk = Desk(outbox, Planner.of(loaded, audience), _now)
        answer = desk.acknowledge(found.id, by or getpass.getuser())
    if answer.alert is None:
        typer.echo(f"{found.id} was acknowledged before, by {answer.by}.")
    else:
        typer.echo(f"{found.id} acknowledged by {answer.by}.")


@app.command("export")
def export_incidents(
    out: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Where to write; stdout when left out."),
    ] = None,
    *,
    form: Annotated[
        Format, typer.Option("--format", help="One JSON object a line, or a table.")
    ] = Format.JSON,
    config: ConfigOption = None,
    state_dir: StateOption = None,
) -> None:
    """Every incident with its messages, oldest first."""
    loaded = load_config(config)
    with _outbox(loaded, state_dir) as outbox:
        records = (_record(record) for record in (outbox.history.export() if outbox else ()))
        if out is None:
            _export(records, form, typer.get_text_stream("stdout"))
            return
        try:
            with out.open("w", encoding="utf-8", newline="") as file:
                count = _export(records, form, file)
        except OSError as error:
            complain(f"{out}: cannot be written: {error.strerror}")
            raise typer.Exit(ExitCode.FAILED) from error
    typer.echo(f"{out}: {count} incidents")


@contextmanager
def _outbox(config: Config, state_dir: Path | None) -> Iterator[Outbox | None]:
    """The database, None where nothing ever happened. Raises HomeGuardError."""
    import sqlite3

    from homeguard.alerting.database import FILE
    from homeguard.alerting.outbox import Outbox
    from homeguard.domain import HomeGuardError

    directory = state_dir or state_dir_of(config)
    try:
        there = (directory / FILE).is_file()
    except PermissionError as error:
        message = f"{directory} may not be read by this user: try sudo"
        raise HomeGuardError(message) from error
    if not there:
        complain(f"no database in {directory} yet (--state-dir names another)")
        yield None
        return
    try:
        outbox = Outbox(directory, _now, exclusive=False)
    except (sqlite3.Error, PermissionError) as error:
        message = f"{directory / FILE} cannot be opened: {error}; is it this user's?"
        raise HomeGuardError(message) from error
    try:
        yield outbox
    except sqlite3.Error as error:
        message = f"{directory / FILE} cannot be used: {error}"
        raise HomeGuardError(message) from error
    finally:
        outbox.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _unknown(incident: str) -> None:
    complain(f"no incident {incident!r}, or several begin so: `homeguard incidents list`")
    raise typer.Exit(ExitCode.FAILED)


def _print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can be
    import json

    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_table(incidents: list[Incident], config: Config) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for head in ("id", "raised", "room", "what", "state", "sure", "words"):
        table.add_column(head, no_wrap=head in {"id", "raised"})
    labels = {room.name: room.label or room.name for room in config.rooms}
    for incident in incidents:
        by = f" ({incident.acknowledged_by})" if incident.acknowledged_by else ""
        table.add_row(
            incident.id[:8],
            f"{incident.raised_at.astimezone():%Y-%m-%d %H:%M:%S}",
            escape(labels.get(incident.room, incident.room)),
            _what(incident),
            escape(f"{incident.state}{by}"),
            f"{incident.confidence:.2f}",
            escape(incident.transcript or ""),
        )
    Console().print(table)


def _what(incident: Incident) -> str:
    return f"{incident.category.name_in('ko')} {incident.category.name_in('en')}"


def _lines(record: IncidentRecord) -> Iterator[str]:
    incident = record.incident
    yield f"{incident.id}  {_what(incident)}, {incident.state}"
    yield f"  rooms         {', '.join(incident.rooms)} (loudest: {incident.room})"
    for name, at in (
        ("heard", incident.onset_at),
        ("raised", incident.raised_at),
        ("acknowledged", record.acknowledged_at),
        ("ended", incident.ended_at),
    ):
        if at is not None:
            by = f" by {incident.acknowledged_by}" if name == "acknowledged" else ""
            yield f"  {name:<13} {at.astimezone():%Y-%m-%d %H:%M:%S %z}{by}"
    yield f"  confidence    {incident.confidence:.2f} ({incident.reason})"
    if incident.transcript:
        yield f"  words         {incident.transcript}"
    for vote in incident.votes:
        said = "abstained" if vote.emergency is None else "emergency" if vote.emergency else "no"
        sure = "" if vote.probability is None else f" {vote.probability:.2f}"
        yield f"  vote          {vote.voter}: {said}{sure} {vote.category or ''} ({vote.reason})"
    if incident.clip:
        yield f"  clip          {incident.clip.path} ({incident.clip.duration_s:.1f} s)"
        picture = incident.clip.path.with_suffix(".png")
        if picture.is_file():
            yield f"  picture       {picture}"
    for delivery in record.deliveries:
        yield f"  message       {describe(delivery)}"
    for visit in record.visits:
        when = f"{visit.at.astimezone():%Y-%m-%d %H:%M:%S}"
        yield f"  link          {visit.what} by {visit.name}, {when}"


def describe(delivery: DeliveryRecord) -> str:
    """A message and what became of it, in one line; numbers by their last digits."""
    from homeguard.cli.summary import mask

    to = delivery.recipient
    whom = f" to {to.name}" if to else ""
    if to and to.address.startswith("+"):
        whom += f" {mask(to.address)}"
    tries = f", {delivery.attempts} attempts" if delivery.attempts > 1 else ""
    error = f": {delivery.error}" if delivery.error else ""
    what = f"{delivery.channel}{whom}, {delivery.kind} {delivery.change}"
    return f"{what}: {delivery.state}{tries}{error}"


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "room": incident.room,
        "rooms": list(incident.rooms),
        "category": incident.category,
        "category_ko": incident.category.name_in("ko"),
        "priority": incident.category.info.priority,
        "state": incident.state,
        "confidence": round(incident.confidence, 4),
        "reason": incident.reason,
        "transcript": incident.transcript,
        "onset_at": _iso(incident.onset_at),
        "raised_at": _iso(incident.raised_at),
        "updated_at": _iso(incident.updated_at),
        "ended_at": _iso(incident.ended_at),
        "acknowledged_by": incident.acknowledged_by,
        "clip": str(incident.clip.path) if incident.clip else None,
    }


def _record(record: IncidentRecord) -> dict[str, Any]:
    votes = [
        {
            "voter": vote.voter,
            "emergency": vote.emergency,
            "probability": vote.probability,
            "category": vote.category,
            "reason": vote.reason,
        }
        for vote in record.incident.votes
    ]
    deliveries = [
        {
            "channel": delivery.channel,
            "recipient": delivery.recipient.name if delivery.recipient else None,
            "kind": delivery.kind,
            "change": delivery.change,
            "state": delivery.state,
            "due_at": _iso(delivery.due_at),
            "attempts": delivery.attempts,
            "sent_at": _iso(delivery.sent_at),
            "finished_at": _iso(delivery.finished_at),
            "reference": delivery.reference,
            "error": delivery.error,
        }
        for delivery in record.deliveries
    ]
    return {
        **_incident(record.incident),
        "acknowledged_at": _iso(record.acknowledged_at),
        "votes": votes,
        "deliveries": deliveries,
        "visits": [
            {"name": visit.name, "what": visit.what, "at": _iso(visit.at)}
            for visit in record.visits
        ],
    }


def _export(records: Iterator[dict[str, Any]], form: Format, file: Any) -> int:  # noqa: ANN401 - a text file of either kind
    import csv
    import json

    writer: Any = None
    count = 0
    for record in records:
        count += 1
        if form is Format.JSON:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            continue
        row = _row(record)
        if writer is None:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
        writer.writerow(row)
    return count


def _row(record: dict[str, Any]) -> dict[str, Any]:
    """A record flat, as a table takes it."""
    row = {key: value for key, value in record.items() if not isinstance(value, list)}
    states = [delivery["state"] for delivery in record["deliveries"]]
    return {
        **row,
        "rooms": " ".join(record["rooms"]),
        "delivered": states.count("delivered"),
        "failed": states.count("failed"),
    }


def _iso(at: datetime | None) -> str | None:
    return at.astimezone().isoformat(timespec="milliseconds") if at else None
