"""Apprise itself, against services on loopback: ntfy's protocol, JSON, e-mail."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from homeguard.alerting.channels import make_audience, make_channels, make_links
from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.subscribers import subscribers_of
from homeguard.config import Config, ConfigError, Secrets
from homeguard.domain import (
    Change,
    Clip,
    DeliveryError,
    DeliveryState,
    Fault,
    FaultAlert,
    FaultCause,
    IncidentState,
)
from homeguard.logs import OncePerSecond
from tests.alerting.cases import (
    START,
    FakeChannel,
    SteppedClock,
    a_config,
    an_incident,
    end,
    new,
    update,
)
from tests.parts.services import MailServer, PushService

SECRET = "pa55w0rd"
SOUND = b"fLaC" + bytes(range(256)) * 8


def a_clip(directory: Path) -> Clip:
    path = directory / "clip.flac"
    path.write_bytes(SOUND)
    return Clip(path, "audio/flac", 12.0, "0" * 64)


def sounds(directory: Path, **sections: object) -> Config:
    return a_config(
        mqtt={"enabled": False},
        node={"state_dir": directory},
        apprise={"enabled": True, "attach_clip": True},
        **sections,
    )


class Scene:
    """A home that has Apprise alone: real outbox, real channel, stepped clock."""

    def __init__(self, config: Config, *urls: str) -> None:
        self.config = config
        self.clock = SteppedClock()
        self.outbox = Outbox(config.node.state_dir, self.clock)
        secrets = Secrets(apprise_urls=SecretStr("\n".join(urls)))
        self.audience = make_audience(config, secrets)
        self.links = make_links(config, self.clock, self.audience)
        (channel,) = make_channels(config, secrets, None, self.outbox, self.clock, self.links)
        self.courier = Courier(
            channel, self.outbox, config.alerts, self.clock, self.clock.since_boot
        )
        self.desk = Desk(self.outbox, Planner.of(config, self.audience), self.clock)

    def states(self, identity: str = "a1b2c3d4e5f60718") -> dict[str, list[DeliveryState]]:
        """What became of each service's messages that are not for later."""
        record = self.outbox.history.show(identity)
        assert record is not None
        found: dict[str, list[DeliveryState]] = {}
        for delivery in record.deliveries:
            if delivery.due_at <= self.clock() and delivery.recipient is not None:
                found.setdefault(delivery.recipient.name, []).append(delivery.state)
        return found

    def messages(self, service: PushService) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in service.requests]


@pytest.fixture
def other() -> Iterator[PushService]:
    service = PushService()
    yield service
    service.close()


@pytest.fixture
def scene(tmp_path: Path, push: PushService) -> Iterator[Scene]:
    scene = Scene(sounds(tmp_path), f"json://user:{SECRET}@{push.place}/hook")
    yield scene
    scene.outbox.close()


def test_an_incident_is_told_in_korean_with_place_time_and_address(scene, push):
    scene.desk.submit(new(an_incident()))
    scene.courier.deliver_due()
    (message,) = scene.messages(push)
    assert message["title"] == "[긴급] 화재 거실"
    lines = message["message"].splitlines()
    assert lines == ["2026-11-20 12:12:00", "할머니댁", "서울시 동대문구", "#a1b2"]
    assert message["type"] == "failure"
    assert scene.states() == {"json": [DeliveryState.DELIVERED]}


def test_what_was_said_is_not_told(scene, push):
    scene.desk.submit(new(an_incident(transcript="살려주세요")))
    scene.courier.deliver_due()
    assert "살려주세요" not in push.requests[0].body.decode("unicode_escape")


def test_the_recording_follows_as_soon_as_there_is_one_and_whole_with_the_end(
    scene, push, tmp_path
):
    incident, clip = an_incident(), a_clip(tmp_path)
    scene.desk.submit(new(incident))
    heard = update(incident, 1, clip=clip)
    scene.desk.submit(heard)  # before the first message has left
    scene.courier.deliver_due()
    scene.desk.submit(update(heard.after, 20))
    scene.desk.submit(end(heard.after))
    scene.courier.deliver_due()
    messages = [json.loads(r.body) for r in push.requests]
    assert [m["title"].split("]")[0] for m in messages] == ["[긴급", "[녹음", "[소리 그침"]
    assert [len(m["attachments"]) for m in messages] == [0, 1, 1]
    assert base64.b64decode(messages[1]["attachments"][0]["base64"]) == SOUND


def test_without_leave_no_sound_goes_out(tmp_path, push):
    config = sounds(tmp_path).model_copy(
        update={"apprise": sounds(tmp_path).apprise.model_copy(update={"attach_clip": False})}
    )
    scene = Scene(config, f"json://{push.place}")
    incident = an_incident(clip=a_clip(tmp_path))
    scene.desk.submit(new(incident))
    scene.desk.submit(end(incident))
    scene.courier.deliver_due()
    assert [m["attachments"] for m in scene.messages(push)] == [[], []]
    scene.outbox.close()


def test_a_recording_that_is_refused_or_gone_holds_no_message_up(scene, push, tmp_path):
    incident = an_incident(clip=a_clip(tmp_path))
    push.largest = 1000
    scene.desk.submit(new(incident))
    scene.courier.deliver_due()
    push.largest = None
    (tmp_path / "clip.flac").unlink()
    scene.desk.submit(end(incident))
    scene.courier.deliver_due()
    assert [m["attachments"] for m in scene.messages(push)] == [[], []]


def test_each_service_is_retried_on_its_own_until_it_takes_the_message(tmp_path, push, other):
    scene = Scene(sounds(tmp_path), f"json://{push.place}", f"json://{other.place}")
    other.statuses = [503, 503]
    scene.desk.submit(new(an_incident()))
    for _ in range(8):
        scene.courier.deliver_due()
        scene.clock.step(2)
    assert len(push.requests) == len(other.requests) == 1
    done = [DeliveryState.DELIVERED]
    assert scene.states() == {"json": done, "json 2": done}
    scene.outbox.close()


def test_a_service_that_is_away_says_why_without_its_url(scene, push):
    push.statuses = [503] * 3
    scene.desk.submit(new(an_incident()))
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)  # pytest's own also hears what does not propagate
    scene.courier.deliver_due()
    logging.getLogger().removeHandler(handler)
    assert scene.courier.broken is not None
    assert scene.courier.broken.detail == "json: answers HTTP 503"
    assert log.getvalue() == "apprise: json: answers HTTP 503; trying again (attempt 1)\n"


def test_two_channels_that_fail_at_once_are_both_said(tmp_path, scene):
    log, handler = io.StringIO(), logging.StreamHandler()
    handler.setStream(log)
    handler.addFilter(OncePerSecond())
    scene.desk.submit(new(an_incident()))
    logging.getLogger().addHandler(handler)
    parcel = scene.outbox.claim("apprise")
    for name in ("apprise", "sms"):
        channel = FakeChannel(name, DeliveryError("away", retryable=True))
        Courier(channel, scene.outbox, scene.config.alerts, scene.clock)._send(parcel)
    logging.getLogger().removeHandler(handler)
    assert log.getvalue().count("trying again") == 2


def test_no_secret_is_stored_with_the_messages(scene, tmp_path):
    scene.desk.submit(new(an_incident()))
    scene.courier.deliver_due()
    scene.outbox.close()
    assert not [p for p in tmp_path.iterdir() if SECRET.encode() in p.read_bytes()]


def test_what_sounds_on_is_told_again_and_no_more_once_it_ended(scene, push):
    incident = an_incident()
    scene.desk.submit(new(incident))
    scene.courier.deliver_due()
    scene.clock.step(490)
    scene.courier.deliver_due()
    assert len(push.requests) == 2
    scene.desk.submit(end(incident))
    scene.clock.step(3600)
    scene.courier.deliver_due()
    assert [m["title"] for m in scene.messages(push)][2:] == ["[소리 그침·지연] 화재 거실"]


def test_an_acknowledgement_is_told_and_ends_the_repeats(scene, push):
    scene.desk.submit(new(an_incident()))
    scene.courier.deliver_due()
    scene.desk.acknowledge("a1b2c3d4e5f60718", "김철수")
    scene.courier.deliver_due()
    scene.clock.step(3600)
    scene.courier.deliver_due()
    assert len(push.requests) == 2
    told = scene.messages(push)[1]
    assert told["title"] == "[확인됨] 화재 거실"
    assert told["message"].startswith("김철수\n")


def test_faults_are_told_and_their_end(scene, push):
    fault = Fault("f0f0f0f0", FaultCause.FROZEN, "living-room", START, START, detail="no sound")
    scene.desk.submit(FaultAlert(Change.NEW, None, fault))
    scene.courier.deliver_due()
    later = START + timedelta(minutes=5)
    scene.clock.step(300)
    scene.desk.submit(
        FaultAlert(Change.END, fault, replace(fault, ended_at=later, updated_at=later))
    )
    scene.courier.deliver_due()
    broken, mended = scene.messages(push)
    assert (broken["title"], broken["type"]) == ("[고장] 거실", "warning")
    assert broken["message"].startswith("마이크 멈춤 12:12\nno sound\n")
    assert (mended["title"], mended["type"]) == ("[복구] 거실", "success")
    assert mended["message"].startswith("마이크 멈춤 12:12-12:17")


def test_a_test_says_that_it_is_one(scene, push):
    scene.desk.submit(new(an_incident(state=IncidentState.TEST)))
    scene.courier.deliver_due()
    (message,) = scene.messages(push)
    assert message["title"].startswith("[시험]")
    assert message["type"] == "info"


def test_a_link_lets_a_service_acknowledge(tmp_path, push):
    web = {"enabled": True, "base_url": "https://home.example.org"}
    scene = Scene(sounds(tmp_path, web=web), f"json://{push.place}")
    scene.desk.submit(new(an_incident()))
    scene.courier.deliver_due()
    (link,) = [x for x in scene.messages(push)[0]["message"].splitlines() if "https" in x]
    assert scene.links is not None
    assert scene.links.read(link.rpartition("/")[2]).contact.name == "json"
    scene.outbox.close()


def test_ntfy_gets_its_own_form_with_the_recording(tmp_path, push):
    scene = Scene(sounds(tmp_path), f"ntfy://{push.place}/home?priority=max")
    incident = an_incident()
    scene.desk.submit(new(incident))
    scene.desk.submit(update(incident, 1, clip=a_clip(tmp_path)))
    scene.courier.deliver_due()
    first, second = push.requests
    assert json.loads(first.body)["title"] == "[긴급] 화재 거실"
    assert urlsplit(second.path).path == "/home"
    asked = parse_qs(urlsplit(second.path).query)
    assert (asked["filename"], asked["title"]) == (["clip.flac"], ["[녹음] 화재 거실"])
    assert second.body == SOUND
    scene.outbox.close()


def test_an_e_mail_holds_the_recording(tmp_path: Path, mail: MailServer) -> None:
    url = f"mailto://127.0.0.1:{mail.port}?from=home@example.org&to=family@example.org&format=text"
    scene = Scene(sounds(tmp_path), url)
    scene.desk.submit(new(an_incident(clip=a_clip(tmp_path))))
    scene.courier.deliver_due()
    (received,) = mail.mails
    assert received["Subject"] == "[긴급] 화재 거실"
    parts = {part.get_content_type(): part for part in received.walk() if not part.is_multipart()}
    assert "서울시 동대문구" in parts["text/plain"].get_content()
    assert parts["audio/flac"].get_payload(decode=True) == SOUND
    scene.outbox.close()


def test_what_is_no_url_is_refused_by_its_place_and_not_repeated(tmp_path):
    secrets = Secrets(apprise_urls=SecretStr(f"json://127.0.0.1 nonsense-{SECRET}"))
    outbox = Outbox(tmp_path, SteppedClock())
    with pytest.raises(ConfigError) as caught:
        make_channels(sounds(tmp_path), secrets, None, outbox, SteppedClock())
    outbox.close()
    assert "url 2 is none" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_urls_come_from_a_file_where_the_variable_is_not_set(tmp_path):
    file = tmp_path / "urls"
    file.write_text("# the family\nntfys://a\n\nntfys://b\ntgram://1:x/2\nntfys://a\n")
    config = a_config(apprise={"enabled": True, "urls_file": file})
    names = [s.contact.name for s in subscribers_of(config, Secrets())]
    assert names == ["ntfys", "ntfys 2", "tgram"]
    held = Secrets(apprise_urls=SecretStr("json://c"))
    assert [s.contact.name for s in subscribers_of(config, held)] == ["json"]
    assert SECRET not in repr(subscribers_of(config, Secrets(apprise_urls=SecretStr(SECRET))))


def test_a_service_that_was_taken_out_gets_nothing_more(scene, push, tmp_path):
    scene.desk.submit(new(an_incident()))
    scene.outbox.close()
    after = Scene(sounds(tmp_path), f"json://{push.place}/another")
    after.courier.deliver_due()
    assert push.requests == []
    assert after.states() == {"json": [DeliveryState.FAILED]}
    assert after.outbox.refusals(START - timedelta(days=1)) == []
    after.outbox.close()
