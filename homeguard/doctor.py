"""Everything HomeGuard depends on, tried for real, with what to do about each failure.

Nothing is sent to anybody: the broker is connected to, the SMS account is asked for, microphones
are listened to for two seconds and nothing of that is kept.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from homeguard import runtime as _runtime  # noqa: F401 - before any native library
from homeguard.alerting.drills import OVERDUE, DrillState
from homeguard.checkup import Check, State
from homeguard.config import Config, ConfigError, MqttConfig, Secrets
from homeguard.doctor_rooms import room_examination
from homeguard.domain import DeliveryError, HomeGuardError, ModelError

SPARE_MB = 100.0  # beyond what the clips may take
BROKER_S = 5.0
NTP_S = 5.0
RELEASED = datetime(2026, 1, 1, tzinfo=UTC)  # no clock can rightly be before it


Examination = Callable[[], Iterable[Check]]


def examine(
    config: Config, secrets: Secrets, source: Path | None, listen_s: float = 2.0
) -> Iterator[Check]:
    """Try everything in turn; never raises. `source` is the file that `config` came from."""
    examinations: list[tuple[str, Examination]] = [
        ("config", lambda: _config(config, secrets, source)),
        ("clock", _clock),
        ("state", lambda: _state_directory(config)),
        ("models", lambda: _models(config)),
    ]
    examinations += [room_examination(room, listen_s) for room in config.rooms]
    if config.mqtt.enabled:
        examinations.append(("mqtt", lambda: _mqtt(config, secrets)))
    if config.sms.enabled:
        examinations.append(("sms", lambda: _sms(config, secrets)))
    if config.apprise.enabled:
        examinations.append(("apprise", lambda: _apprise(config, secrets)))
    for name, examination in examinations:
        try:
            yield from examination()
        except Exception as error:  # noqa: BLE001 - one broken part must not hide the others
            yield Check(name, State.FAIL, f"{type(error).__name__}: {error}", "report this defect")


def broken_config(error: ConfigError) -> Check:
    """The check of a config that cannot be loaded."""
    return Check("config", State.FAIL, str(error), "mend these lines, then run doctor again")


def as_json(checks: list[Check]) -> str:
    """All checks for scripts."""
    well = all(check.state is not State.FAIL for check in checks)
    document = {"ok": well, "checks": [asdict(check) for check in checks]}
    return json.dumps(document, ensure_ascii=False, indent=2)


def _config(config: Config, secrets: Secrets, source: Path | None) -> Iterator[Check]:
    from homeguard.cli.summary import warnings_of  # noqa: PLC0415 - shared with check-config

    yield Check("config", State.OK, f"{source or 'built-in defaults'} is valid")
    for warning in warnings_of(config, secrets):
        yield Check("config", State.WARN, warning, "change it, or leave it if it is meant so")


def _clock() -> Iterator[Check]:
    now = datetime.now(UTC)
    if now < RELEASED:
        yield Check(
            "clock",
            State.FAIL,
            f"the clock says {now:%Y-%m-%d}: alerts would carry a wrong time",
            "set it (sudo timedatectl set-ntp true), or give the board a clock battery",
        )
        return
    synchronised = _ntp_synchronised()
    said = f"{now.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    if synchronised is False:
        remedy = "sudo timedatectl set-ntp true"
        yield Check("clock", State.WARN, f"{said}, not kept by NTP: it will drift", remedy)
    else:
        kept = "kept by NTP" if synchronised else "whether NTP keeps it is not known here"
        yield Check("clock", State.OK, f"{said}, {kept}")


def _ntp_synchronised() -> bool | None:
    """What timedatectl says; None where there is none."""
    timedatectl = shutil.which("timedatectl")
    if timedatectl is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            [timedatectl, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=NTP_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() == "yes"


def _state_directory(config: Config) -> Iterator[Check]:
    directory = Path(os.environ.get("STATE_DIRECTORY") or config.node.state_dir)
    made = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"homeguard")
            file.flush()
            os.fsync(file.fileno())
        free_mb = shutil.disk_usage(directory).free / 1e6
        if made:
            directory.rmdir()
    except OSError as error:
        yield Check(
            "state",
            State.FAIL,
            f"{directory.absolute()} cannot be written: {error.strerror}",
            "make it this user's, or name another (node.state_dir)",
        )
        return
    needed_mb = SPARE_MB + (config.clips.max_mb if config.clips.enabled else 0.0)
    found = f"{directory.absolute()} can be written, {free_mb:.0f} MB free"
    if free_mb < needed_mb:
        remedy = f"make room: {needed_mb:.0f} MB are needed, or lower clips.max_mb"
        state = State.FAIL if free_mb < SPARE_MB / 10 else State.WARN
        yield Check("state", state, found, remedy)
    else:
        yield Check("state", State.OK, found)
    yield from _database(directory, config)


def _database(directory: Path, config: Config) -> Iterator[Check]:
    import sqlite3  # noqa: PLC0415 - loaded only where it is needed

    from homeguard.alerting.database import FILE, Database  # noqa: PLC0415 - loaded only where it is needed
    from homeguard.alerting.drills import Drills  # noqa: PLC0415 - loaded only where it is needed

    if not (directory / FILE).is_file():
        return
    try:
        database = Database(directory, exclusive=False)
    except (HomeGuardError, sqlite3.Error) as error:
        yield Check("database", State.FAIL, str(error), "restart the daemon: it sets it aside")
        return
    try:
        (row,) = database.rows(
            "SELECT count(*), min(due_at) FROM deliveries WHERE state = 'pending' AND due_at < ?",
            time.time(),
        )
        drills = Drills(database, lambda: datetime.now(UTC)).judge()
    finally:
        database.close()
    if config.mqtt.enabled or config.sms.enabled:
        yield _drilled(drills)
    waiting, since = row
    if waiting:
        minutes = (time.time() - since) / 60
        found = f"{waiting} messages wait to be sent, the oldest for {minutes:.0f} minutes"
        yield Check("database", State.WARN, found, "is the daemon running? do the channels work?")
    else:
        yield Check("database", State.OK, "intact, no message waits")


def _drilled(drills: DrillState) -> Check:
    """When a test last reached the broker and every contact."""
    remedy = "homeguard test-alert sends one now"
    at = drills.passed_at
    passed = f"passed last {at.astimezone():%Y-%m-%d %H:%M}" if at else "none has passed yet"
    if drills.failure:
        found = f"the last test did not arrive ({drills.failure}); {passed}"
        return Check("test", State.FAIL, found, f"mend it, then {remedy}")
    if at is None or datetime.now(UTC) - at > OVERDUE:
        return Check("test", State.WARN, passed, remedy)
    return Check("test", State.OK, passed)


def _models(config: Config) -> Iterator[Check]:
    from homeguard.voting.load import load_panel  # noqa: PLC0415 - half a second
    from homeguard.voting.registry import Registry  # noqa: PLC0415 - loaded only where it is needed

    began = time.perf_counter()
    try:
        registry = Registry.open(config.node)
        voting = load_panel(config, registry)
    except ModelError as error:
        yield Check("models", State.FAIL, str(error), "homeguard models list, models verify")
        return
    voting.panel.close()
    for line in voting.missing:
        yield Check("models", State.FAIL, line, "homeguard models verify")
    if not voting.missing:
        names = ", ".join(dict.fromkeys(voting.models.values()))
        took_s = time.perf_counter() - began
        yield Check("models", State.OK, f"{names}: intact, loaded and warm in {took_s:.1f} s")
    transcriber = registry.models.get(voting.models.get("transcriber", ""))
    if transcriber is not None and transcriber.bundled:
        yield Check(
            "transcriber",
            State.WARN,
            "only the bundled transcriber is in use: it is very small and learned from synthetic "
            "speech, so it will miss or misread many words of real people. Sounds are still judged "
            "by the two other voters; a call for help in words alone may go unheard",
            "homeguard models pull small, then set voters.transcript.model: small",
        )


def _mqtt(config: Config, secrets: Secrets) -> Iterator[Check]:
    mqtt = config.mqtt
    place = f"{mqtt.host}:{mqtt.port}"
    password = secrets.mqtt_password.get_secret_value() if secrets.mqtt_password else None
    # An id of its own: the broker would disconnect a running daemon with the same one.
    ours = mqtt.model_copy(update={"client_id": f"homeguard-doctor-{os.getpid()}"})
    try:
        refusal = _connect(ours, password, f"{mqtt.prefix}/{config.node.name}/doctor")
    except OSError as error:
        remedy = "is the broker running? are mqtt.host, port and tls right?"
        if mqtt.host == "localhost":
            remedy += " (apt install mosquitto, or mqtt.enabled: false)"
        yield Check("mqtt", State.FAIL, f"{place} cannot be reached: {error}", remedy)
        return
    if refusal is None:
        yield Check("mqtt", State.OK, f"{place} accepts us and what we publish")
    else:
        yield Check("mqtt", State.FAIL, f"{place}: {refusal[0]}", refusal[1])


def _sms(config: Config, secrets: Secrets) -> Iterator[Check]:
    from homeguard.alerting.sms import SmsChannel  # noqa: PLC0415 - a second and 25 MiB

    if secrets.twilio_auth_token is None:
        remedy = "set HOMEGUARD_TWILIO_AUTH_TOKEN, or the credential homeguard_twilio_auth_token"
        yield Check("sms", State.FAIL, "the account's token is not there", remedy)
        return
    try:
        channel = SmsChannel(
            config.sms,
            secrets.twilio_auth_token.get_secret_value(),
            compose=lambda _alert, _contact: "",
            sent=lambda _address, _since: (),
            now=lambda: datetime.now(UTC),
        )
        status = channel.check_account()
    except ConfigError as error:
        yield Check("sms", State.FAIL, str(error), "check sms.base_url")
    except DeliveryError as error:
        remedy = "check sms.account_sid, the token and the network"
        yield Check("sms", State.FAIL, str(error), remedy)
    else:
        well = status == "active"
        remedy = "" if well else "see the gateway's console: an account must be active to send"
        found = f"{config.sms.base_url} knows the account, it is {status}"
        yield Check("sms", State.OK if well else State.FAIL, found, remedy)


def _apprise(config: Config, secrets: Secrets) -> Iterator[Check]:
    from homeguard.alerting.message import Texter  # noqa: PLC0415 - loaded only where it is needed
    from homeguard.alerting.push import AppriseChannel  # noqa: PLC0415 - half a second and 24 MiB
    from homeguard.alerting.subscribers import VARIABLE, subscribers_of  # noqa: PLC0415 - loaded only where it is needed

    file = config.apprise.urls_file if secrets.apprise_urls is None else None
    try:
        subscribers = subscribers_of(config, secrets)
        AppriseChannel(subscribers, Texter(config).note)
    except ConfigError as error:
        remedy = f"put one Apprise url a line into {file or VARIABLE}"
        yield Check("apprise", State.FAIL, "; ".join(error.errors), remedy)
        return
    names = ", ".join(subscriber.contact.name for subscriber in subscribers)
    if file is not None and file.stat().st_mode & 0o077:
        found = f"{file} may be read by others, and holds passwords"
        yield Check("apprise", State.WARN, found, f"chmod 600 {file}")
    else:
        found = f"its urls are understood: {names}. homeguard test-alert shows whether they arrive"
        yield Check("apprise", State.OK, found)


def _connect(mqtt: MqttConfig, password: str | None, topic: str) -> tuple[str, str] | None:
    """Greet the broker and publish an empty message; what it refuses and the remedy, else None.

    Raises OSError where it cannot be reached or does not answer.
    """
    import paho.mqtt.client as paho  # noqa: PLC0415 - loaded only where it is needed
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415 - loaded only where it is needed
    from paho.mqtt.reasoncodes import ReasonCode  # noqa: PLC0415 - loaded only where it is needed

    answers: queue.Queue[ReasonCode] = queue.Queue()
    version = paho.MQTTv5 if mqtt.version == "5" else paho.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, mqtt.client_id, protocol=version)
    client.on_connect = lambda _client, _data, _flags, reason, _more: answers.put(reason)
    client.on_publish = lambda _client, _data, _mid, reason, _more: answers.put(reason)
    if mqtt.username:
        client.username_pw_set(mqtt.username, password)
    if mqtt.tls:
        client.tls_set(ca_certs=str(mqtt.ca_file) if mqtt.ca_file else None)
    client.connect_timeout = BROKER_S
    client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
    client.loop_start()
    try:
        greeting = answers.get(timeout=BROKER_S)
        if greeting.is_failure:
            return (
                f"refuses us: {greeting}",
                "check mqtt.username and HOMEGUARD_MQTT_PASSWORD",
            )
        client.publish(topic, b"", qos=1)
        taken = answers.get(timeout=BROKER_S)
        if taken.is_failure:
            prefix = f"{mqtt.prefix}/#"
            return f"refuses {topic}: {taken}", f"let this user write {prefix} in the broker's ACL"
    except queue.Empty:
        hint = "; an old broker may need mqtt.version: 3.1.1" if mqtt.version == "5" else ""
        message = f"connected, but it does not answer{hint}"
        raise TimeoutError(message) from None
    finally:
        client.disconnect()
        client.loop_stop()
    return None
