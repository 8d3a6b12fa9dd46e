"""The page behind a link: what it opens, and what it refuses."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest

from homeguard.alerting.clip import ClipWriter
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.links import Links
from homeguard.alerting.outbox import Outbox
from homeguard.config import ClipsConfig, EscalationConfig
from homeguard.domain import Clip, Contact, Incident, IncidentState
from homeguard.web import bounded
from homeguard.web.server import Site, WebServer
from tests.alerting.cases import KIM as KIM_CONFIG
from tests.alerting.cases import LEE as LEE_CONFIG
from tests.alerting.cases import SteppedClock, a_config, an_incident, new
from tests.parts.mosquitto import wait_until

KIM = Contact(KIM_CONFIG.name, KIM_CONFIG.phone)
LEE = Contact("<b>Lee</b>", LEE_CONFIG.phone, "en")
ORIGIN = "https://home.example.org"
Answer = tuple[int, dict[str, str], bytes]


class Scene:
    """A home with one incident whose recording is shared by link."""

    def __init__(self, directory: Path, share: str = "link") -> None:
        self.clock = SteppedClock()
        self.directory = directory
        self.outbox = Outbox(directory, self.clock)
        planner = Planner((KIM_CONFIG, LEE_CONFIG), EscalationConfig(), None)
        self.desk = Desk(self.outbox, planner, self.clock)
        self.links = Links(bytes(32), ORIGIN, [KIM, LEE], self.clock)
        site = Site(
            a_config(clips={"share": share}), self.outbox, self.links, self.desk.acknowledge
        )
        self.server = WebServer("127.0.0.1", 0, site)
        self.server.start()
        sound = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000).astype(np.float32)
        self.clip = ClipWriter(ClipsConfig(), directory / "clips").write(an_incident().id, sound)
        assert self.clip is not None
        self.add(an_incident(clip=self.clip))

    def add(self, incident: Incident) -> None:
        self.desk.submit(new(incident))

    def path(self, contact: Contact = KIM, incident_id: str = "") -> str:
        url = self.links.url(incident_id or an_incident().id, contact)
        assert url is not None
        return url.removeprefix(ORIGIN)

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)) as web:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            web.request(method, path, headers=named)
            answer = web.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    @property
    def taken_by(self) -> str | None:
        incident = self.outbox.history.incident(an_incident().id)
        return incident.acknowledged_by if incident else None

    @property
    def visits(self) -> list[tuple[str, str]]:
        record = self.outbox.history.show(an_incident().id)
        return [(visit.name, visit.what) for visit in record.visits] if record else []

    def close(self) -> None:
        self.server.stop()
        self.outbox.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def test_the_page_says_what_where_and_when_in_the_contacts_language(scene: Scene) -> None:
    status, _, body = scene.ask("GET", scene.path())
    korean = body.decode()
    assert status == 200
    for text in (
        "화재",
        "거실",
        "2026-11-20 12:12:00",
        "할머니댁",
        "제가 확인하겠습니다",
        "불이야",
    ):
        assert text in korean
    english = scene.ask("GET", scene.path(LEE))[2].decode()
    assert "I take care of it" in english
    assert "Fire" in english


def test_the_page_fetches_nothing_from_anywhere(scene: Scene) -> None:
    _, headers, body = scene.ask("GET", scene.path())
    assert "http" not in body.decode()
    assert "<script" not in body.decode()
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_preview_acknowledges_nothing(scene: Scene) -> None:
    for path in ("", "/ack", "/clip"):
        scene.ask("GET", scene.path() + path)
    scene.ask("HEAD", scene.path())
    assert scene.taken_by is None


def test_the_form_acknowledges_once_and_says_who(scene: Scene) -> None:
    status, headers, _ = scene.ask("POST", scene.path() + "/ack", Origin=ORIGIN)
    assert (status, headers["Location"]) == (303, scene.path())
    assert scene.taken_by == KIM.name
    status, _, _ = scene.ask("POST", scene.path(LEE) + "/ack")
    assert status == 303
    assert scene.taken_by == KIM.name
    assert f"Taken care of by {KIM.name}" in scene.ask("GET", scene.path(LEE))[2].decode()
    assert scene.visits == [(KIM.name, "acknowledged")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_of_another_site_is_refused(scene: Scene, headers: dict[str, str]) -> None:
    assert scene.ask("POST", scene.path() + "/ack", **headers)[0] == 403
    assert scene.taken_by is None


def test_the_recording_is_served_and_the_view_noted_once(scene: Scene) -> None:
    assert scene.clip is not None
    status, headers, body = scene.ask("GET", scene.path() + "/clip")
    assert (status, headers["Content-Type"]) == (200, "audio/flac")
    assert body == scene.clip.path.read_bytes()
    scene.ask("GET", scene.path() + "/clip", Range="bytes=0-1")
    assert scene.visits == [(KIM.name, "heard")]


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-1", 206, slice(0, 2)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes=99999999-", 416, None),
        ("bytes=9-2", 416, None),
        ("lines=1-2", 200, slice(None)),
    ],
)
def test_a_part_of_the_recording(scene: Scene, asked: str, status: int, part: slice | None) -> None:
    assert scene.clip is not None
    answer = scene.ask("GET", scene.path() + "/clip", Range=asked)
    assert answer[0] == status
    if part is not None:
        assert answer[2] == scene.clip.path.read_bytes()[part]


def test_a_picture_is_shown_when_there_is_one(scene: Scene) -> None:
    assert "<img" not in scene.ask("GET", scene.path())[2].decode()
    assert scene.ask("GET", scene.path() + "/picture")[0] == 404
    (scene.directory / "clips" / f"{an_incident().id}.png").write_bytes(b"\x89PNG")
    assert "<img" in scene.ask("GET", scene.path())[2].decode()
    status, headers, body = scene.ask("GET", scene.path() + "/picture")
    assert (status, headers["Content-Type"], body) == (200, "image/png", b"\x89PNG")


def test_what_is_not_shared_is_not_there(tmp_path: Path) -> None:
    scene = Scene(tmp_path, share="none")
    page = scene.ask("GET", scene.path())[2].decode()
    assert "<audio" not in page
    assert "불이야" not in page
    assert scene.ask("GET", scene.path() + "/clip")[0] == 404
    assert scene.ask("POST", scene.path() + "/ack")[0] == 303
    scene.close()


def test_a_clip_that_was_deleted_is_not_offered(scene: Scene) -> None:
    assert scene.clip is not None
    scene.clip.path.unlink()
    assert "<audio" not in scene.ask("GET", scene.path())[2].decode()
    assert scene.ask("GET", scene.path() + "/clip")[0] == 404


def test_a_test_has_nothing_to_take(scene: Scene) -> None:
    scene.add(an_incident("b" * 16, state=IncidentState.TEST))
    path = scene.path(KIM, "b" * 16)
    assert "<form" not in scene.ask("GET", path)[2].decode()
    scene.ask("POST", path + "/ack")
    incident = scene.outbox.history.incident("b" * 16)
    assert incident is not None
    assert incident.state is IncidentState.TEST


def test_what_people_wrote_is_text_and_no_markup(scene: Scene) -> None:
    scene.desk.acknowledge(an_incident().id, LEE.name)
    page = scene.ask("GET", scene.path())[2].decode()
    assert LEE.name not in page
    assert "&lt;b&gt;Lee" in page


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/i/",
        "/i/" + "A" * 43,
        "/i/" + "A" * 43 + "/clip",
        "/i/../../etc/passwd",
        "/i/%2e%2e/%2e%2e/etc/passwd",
        "/clips/a1b2c3d4e5f60718.flac",
        "/i/" + "A" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_everything_else_is_refused_and_logged(
    scene: Scene, caplog: pytest.LogCaptureFixture, path: str, method: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert scene.ask(method, path)[0] == 404
    assert "a link was refused" in caplog.text
    assert path not in caplog.text or path == "/"


@pytest.mark.parametrize("tail", ["/clip/../../x", "/clip%00", "//clip", "/other", "?x=1"])
def test_a_good_link_with_something_behind_it_is_refused(scene: Scene, tail: str) -> None:
    assert scene.ask("GET", scene.path() + tail)[0] == 404


def test_an_expired_link_is_refused_everywhere(scene: Scene) -> None:
    path = scene.path()
    scene.clock.step(25 * 3600)
    for method, tail in (("GET", ""), ("GET", "/clip"), ("POST", "/ack")):
        assert scene.ask(method, path + tail)[0] == 404
    assert scene.taken_by is None


def test_a_link_of_an_incident_that_is_forgotten_is_refused(scene: Scene) -> None:
    assert scene.ask("GET", scene.path(KIM, "f" * 16))[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_known(scene: Scene, method: str) -> None:
    assert scene.ask(method, scene.path())[0] == 501


@pytest.mark.parametrize("length", ["1000000000", "-1", "x"])
def test_an_upload_is_refused_unread(scene: Scene, length: str) -> None:
    with socket.create_connection(("127.0.0.1", scene.server.port), 5) as client:
        head = f"POST {scene.path()}/ack HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        client.sendall(head.encode())
        assert b" 413 " in client.recv(4096)
    assert scene.taken_by is None


def test_slow_clients_are_few_and_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "LIFETIME_S", 1.0)
    scene = Scene(tmp_path)
    before = threading.active_count()
    slow = [socket.create_connection(("127.0.0.1", scene.server.port)) for _ in range(60)]
    for each in slow:
        each.settimeout(10)
        try:
            each.sendall(b"GET /i/")
        except OSError:
            continue
    assert threading.active_count() - before <= 2 * bounded.CONNECTIONS + 1
    began = time.monotonic()
    for each in slow:
        try:
            while each.recv(100):
                pass
        except ConnectionError:
            continue
        finally:
            each.close()
    assert time.monotonic() - began < 8

    def answers() -> bool:
        try:
            return scene.ask("GET", scene.path())[0] == HTTPStatus.OK
        except (http.client.HTTPException, ConnectionError):
            return False  # whose connection was cut is gone a moment before its place is free

    assert wait_until(answers, 10.0)
    scene.close()


def test_an_address_that_is_taken_is_said(scene: Scene) -> None:
    site = scene.server.site
    with pytest.raises(Exception, match=r"change web\.port"):
        WebServer("127.0.0.1", scene.server.port, site)


def test_a_clip_of_another_incident_is_never_served(scene: Scene) -> None:
    other = scene.directory / "clips" / "other.flac"
    other.write_bytes(b"secret")
    assert b"secret" not in scene.ask("GET", scene.path() + "/clip")[2]
    assert isinstance(scene.clip, Clip)
