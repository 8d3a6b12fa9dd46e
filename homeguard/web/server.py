"""Serves the page behind a signed link."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import sqlite3
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from homeguard.alerting.desk import Acknowledgement
from homeguard.alerting.escalation import home_zone
from homeguard.alerting.links import PATH, LinkError, Links, Pass
from homeguard.alerting.outbox import Outbox
from homeguard.config import Config
from homeguard.domain import HomeGuardError, Incident, IncidentState
from homeguard.web.bounded import IDLE_S, BoundedServer
from homeguard.web.page import STYLE, Sight, gone_page, incident_page

_MAX_BODY = 1024
_ROUTE = re.compile(re.escape(PATH) + r"([A-Za-z0-9_-]{43})(/clip|/picture|/ack|)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; media-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_log = logging.getLogger(__name__)

Acknowledge = Callable[[str, str], Acknowledgement]


class Site:
    """What the links of a home open: pages, recordings, pictures, the acknowledgement."""

    def __init__(
        self, config: Config, outbox: Outbox, links: Links, acknowledge: Acknowledge
    ) -> None:
        self._config = config
        self._outbox = outbox
        self.links = links
        self._acknowledge = acknowledge
        self._zone = home_zone(config.home.timezone)
        self._rooms = {room.name: room.label or room.name for room in config.rooms}

    def open(self, token: str) -> tuple[Pass, Incident]:
        """The incident of a token. Raises LinkError."""
        opened = self.links.read(token)
        incident = self._outbox.history.incident(opened.incident_id)
        if incident is None:
            raise LinkError("its incident is forgotten")
        return opened, incident

    def page(self, opened: Pass, incident: Incident, path: str) -> str:
        """The page of an incident."""
        home, shared = self._config.home, self._config.clips.share == "link"
        ended = incident.ended_at
        sight = Sight(
            room=self._rooms.get(incident.room, incident.room),
            when=f"{incident.raised_at.astimezone(self._zone):%Y-%m-%d %H:%M:%S}",
            home=home.name,
            address=home.address,
            words=incident.transcript if shared else None,
            ended=f"{ended.astimezone(self._zone):%Y-%m-%d %H:%M:%S}" if ended else None,
            has_clip=self.clip(incident) is not None,
            has_picture=self.picture(incident) is not None,
        )
        return incident_page(incident, opened.contact, sight, path)

    def clip(self, incident: Incident) -> Path | None:
        """Its recording, where clips are shared by link and it is still there."""
        if self._config.clips.share != "link" or incident.clip is None:
            return None
        return incident.clip.path if incident.clip.path.is_file() else None

    def picture(self, incident: Incident) -> Path | None:
        """Its picture, which lies beside the recording, on the same terms."""
        path = self._outbox.directory / "clips" / f"{incident.id}.png"
        return path if self._config.clips.share == "link" and path.is_file() else None

    def acknowledge(self, opened: Pass, incident: Incident) -> None:
        """The contact takes care; a second one changes nothing, and a test cannot be taken."""
        if incident.state is IncidentState.TEST or incident.acknowledged_by is not None:
            return
        self._acknowledge(incident.id, opened.contact.name)
        self._note(opened, "acknowledged")

    def heard(self, opened: Pass) -> None:
        """Note that the contact fetched the recording."""
        self._note(opened, "heard")

    def _note(self, opened: Pass, what: str) -> None:
        self._outbox.answers.note_visit(opened.incident_id, opened.contact.name, what)
        _log.info("link: %s %s by %s", opened.incident_id, what, opened.contact.name)


class WebServer(BoundedServer):
    """Serves a site from `start` to `stop`. Raises HomeGuardError where the port is taken."""

    def __init__(self, host: str, port: int, site: Site) -> None:
        self.site = site
        try:
            super().__init__("web", (host, port), _Handler)
        except OSError as exc:
            message = f"web: cannot listen on {host}:{port}: {exc.strerror}; change web.port"
            raise HomeGuardError(message) from exc


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    server_version, sys_version = "HomeGuard", ""
    error_content_type, error_message_format = "text/plain", "%(code)d\n"
    timeout = IDLE_S

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        route = _ROUTE.fullmatch(self.path)
        if route is None:
            self._gone("not the path of a link")
            return
        site, (token, what) = self.server.site, route.groups()
        try:
            opened, incident = site.open(token)
            if method == "POST":
                self._post(what, opened, incident, token)
            elif what == "":
                self._answer(HTTPStatus.OK, site.page(opened, incident, PATH + token).encode())
            elif what == "/clip" and (clip := site.clip(incident)) is not None:
                site.heard(opened)
                self._file(clip, "audio/flac")
            elif what == "/picture" and (picture := site.picture(incident)) is not None:
                self._file(picture, "image/png")
            else:
                self._gone("there is no such thing of this incident")
        except LinkError as exc:
            self._gone(str(exc))
        except (sqlite3.Error, HomeGuardError) as exc:
            _log.error("web: %s", exc)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"503\n", kind="text/plain")

    def _post(self, what: str, opened: Pass, incident: Incident, token: str) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) > _MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "an upload")
        elif what != "/ack":
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "a POST to what is no form")
        elif not self._is_ours():
            self._refuse(HTTPStatus.FORBIDDEN, "a form of another site")
        else:
            self.rfile.read(int(length))
            self.server.site.acknowledge(opened, incident)
            self._answer(HTTPStatus.SEE_OTHER, b"", location=PATH + token)

    def _is_ours(self) -> bool:
        """Whether the form was on our own page: browsers say so in one header or the other."""
        if (fetched := self.headers.get("Sec-Fetch-Site")) is not None:
            return fetched == "same-origin"
        origin = self.headers.get("Origin")
        return origin in {None, self.server.site.links.origin}

    def _file(self, path: Path, kind: str) -> None:
        """Answer with a file, or the part of it that was asked for: some players insist on it."""
        data = path.read_bytes()  # bounded by clips.max_s
        first, last = 0, len(data) - 1
        if asked := _RANGE.fullmatch(self.headers.get("Range") or ""):
            start, end = asked.groups()
            first = int(start) if start else max(0, len(data) - int(end or 0))
            last = min(last, int(end)) if start and end else last
            if first > last:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "a range past the end")
                return
            span = f"bytes {first}-{last}/{len(data)}"
            self._answer(HTTPStatus.PARTIAL_CONTENT, data[first : last + 1], kind=kind, span=span)
        else:
            self._answer(HTTPStatus.OK, data, kind=kind)

    def _gone(self, why: str) -> None:
        self._log_refusal(why)
        self._answer(HTTPStatus.NOT_FOUND, gone_page().encode())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._log_refusal(why)
        self._answer(status, f"{status.value}\n".encode(), kind="text/plain")

    def _log_refusal(self, why: str) -> None:
        _log.warning("web: a link was refused: %s", why)

    def _answer(
        self,
        status: HTTPStatus,
        body: bytes,
        *,
        kind: str = "text/html; charset=utf-8",
        location: str | None = None,
        span: str | None = None,
    ) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        if span is not None:
            self.send_header("Content-Range", span)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", _POLICY),
            ("Referrer-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 as inherited
        """Stay quiet: a path is a key."""
