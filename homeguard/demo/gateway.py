"""An SMS gateway on loopback that answers as Twilio's Messages API does.

The demo shows the texts it received; tests script its faults. It sends nothing anywhere.
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_MAX_BODY = 16_384
_NEXT = {"queued": "sent", "sent": "delivered"}
_MESSAGES = {
    20003: "Authenticate",
    20008: "Resource not accessible with Test Account Credentials",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    21211: "Invalid 'To' Phone Number",
    21610: "Attempt to send to unsubscribed recipient",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """How one POST goes wrong.

    `hang_s`: seconds until the answer, so that the client gives up first. `accept`: the message
    is taken all the same. Without `status`: the late answer is a good one if it was taken, else
    there is none.
    """

    status: int | None = None
    code: int | None = None
    retry_after: str | None = None
    hang_s: float = 0.0
    accept: bool = False


@dataclass(frozen=True, slots=True)
class ReceivedSms:
    """A message that the gateway took."""

    sid: str
    to: str
    sender: str
    body: str
    status: str = "queued"
    error_code: int | None = None
    direction: str = "outbound-api"
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Gateway:
    """Listens on a loopback port from `start` to `stop`; `url` is what sms.base_url takes."""

    def __init__(self, account_sid: str, auth_token: str, port: int = 0) -> None:
        self.account_sid = account_sid
        self._expected = base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._lock = threading.Lock()
        self._messages: dict[str, ReceivedSms] = {}
        self._script: deque[Fault] = deque()
        self._numbers: dict[str, Fault] = {}
        self._lost: set[str] = set()
        self.posts = 0
        self.test_credentials = False  # take messages, send none, show nothing
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sms-gateway", daemon=True
        )

    @property
    def url(self) -> str:
        """Base url of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def messages(self) -> list[ReceivedSms]:
        """What we were given to send so far, oldest first."""
        return [m for m in self.listed if m.direction != "inbound"]

    @property
    def listed(self) -> list[ReceivedSms]:
        """All messages of the account, answers of people included, oldest first."""
        with self._lock:
            return list(self._messages.values())

    def start(self) -> str:
        """Serve; gives the url."""
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """Stop serving and free the port."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def script(self, *faults: Fault) -> None:
        """The next POSTs go wrong like this, one each; those after them go well."""
        with self._lock:
            self._script.extend(faults)

    def refuse(self, number: str, status: int, code: int) -> None:
        """Refuse every message to a number."""
        with self._lock:
            self._numbers[number] = Fault(status, code)

    def lose(self, number: str) -> None:
        """Take messages to a number and report them undelivered."""
        with self._lock:
            self._lost.add(number)

    def answer(self, number: str, to: str, body: str) -> str:
        """Somebody texts our number `to`; gives the message's SID."""
        sid = f"SM{uuid.uuid4().hex}"
        message = ReceivedSms(sid, to, number, body, "received", direction="inbound")
        with self._lock:
            self._messages[sid] = message
        return sid

    def authorised(self, header: str | None) -> bool:
        """Whether the Authorization header carries the account's credentials."""
        scheme, _, credentials = (header or "").partition(" ")
        return scheme == "Basic" and hmac.compare_digest(credentials.strip(), self._expected)

    def next_fault(self, number: str) -> Fault:
        """How the POST at hand is to go."""
        with self._lock:
            self.posts += 1
            if number in self._numbers:
                return self._numbers[number]
            return self._script.popleft() if self._script else Fault()

    def take(self, form: dict[str, str]) -> ReceivedSms:
        """Accept a message."""
        sender = form.get("From") or form.get("MessagingServiceSid", "")
        message = ReceivedSms(
            f"SM{uuid.uuid4().hex}", form.get("To", ""), sender, form.get("Body", "")
        )
        with self._lock:
            self._messages[message.sid] = message
        return message

    def advance(self, sid: str) -> ReceivedSms | None:
        """A message by its SID, one state further at every look."""
        with self._lock:
            message = self._messages.get(sid)
            if message is None:
                return None
            status = _NEXT.get(message.status, message.status)
            if status == "delivered" and message.to in self._lost:
                message = replace(message, status="undelivered", error_code=30003)
            else:
                message = replace(message, status=status)
            self._messages[sid] = message
            return message


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], gateway: Gateway) -> None:
        self.gateway = gateway
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 as inherited
        """A client that hung up is what time-outs look like from here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        gateway, url = self.server.gateway, urlsplit(self.path)
        if not self._allowed():
            return
        if gateway.test_credentials:
            self._refuse(403, 20008)
            return
        if url.path == f"{_base(gateway)}.json":
            self._answer(200, {"sid": gateway.account_sid, "status": "active", "type": "Full"})
        elif url.path == f"{_base(gateway)}/Messages.json":
            to = parse_qs(url.query).get("To", [None])[0]
            found = [m for m in reversed(gateway.listed) if to in (None, m.to)]
            self._answer(200, _page(gateway, found))
        else:
            sid = url.path.removeprefix(f"{_base(gateway)}/Messages/").removesuffix(".json")
            message = gateway.advance(sid)
            if message is None:
                self._refuse(404, 20404)
            else:
                self._answer(200, _resource(gateway, message))

    def do_POST(self) -> None:
        gateway = self.server.gateway
        length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
        body = self.rfile.read(length).decode("utf-8", "replace")
        form = {key: values[0] for key, values in parse_qs(body).items()}
        if not self._allowed():
            return
        if self.path != f"{_base(gateway)}/Messages.json":
            self._refuse(404, 20404)
            return
        fault = gateway.next_fault(form.get("To", ""))
        message = gateway.take(form) if fault.accept or fault == Fault() else None
        if fault.hang_s:
            gateway.closing.wait(fault.hang_s)
        if fault.status is not None:
            self._refuse(fault.status, fault.code, fault.retry_after)
        elif message is not None:
            self._answer(201, _resource(gateway, message))
        else:
            self.close_connection = True  # hung, took nothing, and says nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 as inherited
        """Stay quiet: texts and numbers belong in no log."""

    def _allowed(self) -> bool:
        if self.server.gateway.authorised(self.headers.get("Authorization")):
            return True
        self._refuse(401, 20003)
        return False

    def _refuse(self, status: int, code: int | None, retry_after: str | None = None) -> None:
        if code is None:
            self._answer(status, {}, retry_after)
            return
        text = _MESSAGES.get(code, "Error")
        more = f"https://www.twilio.com/docs/errors/{code}"
        document = {"code": code, "message": text, "more_info": more, "status": status}
        self._answer(status, document, retry_after)

    def _answer(
        self, status: int, document: dict[str, Any], retry_after: str | None = None
    ) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)


def _base(gateway: Gateway) -> str:
    return f"/2010-04-01/Accounts/{gateway.account_sid}"


def _resource(gateway: Gateway, message: ReceivedSms) -> dict[str, Any]:
    at = format_datetime(message.created_at, usegmt=True)
    service = message.sender if message.sender.startswith("MG") else None
    return {
        "account_sid": gateway.account_sid,
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": at,
        "date_sent": None if message.status == "queued" else at,
        "date_updated": format_datetime(datetime.now(UTC), usegmt=True),
        "direction": message.direction,
        "error_code": message.error_code,
        "error_message": None,
        "from": None if service else message.sender,
        "messaging_service_sid": service,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": message.sid,
        "status": message.status,
        "subresource_uris": {},
        "to": message.to,
        "uri": f"{_base(gateway)}/Messages/{message.sid}.json",
    }


def _page(gateway: Gateway, messages: list[ReceivedSms]) -> dict[str, Any]:
    uri = f"{_base(gateway)}/Messages.json"
    return {
        "messages": [_resource(gateway, message) for message in messages],
        "page": 0,
        "page_size": len(messages),
        "start": 0,
        "end": max(0, len(messages) - 1),
        "uri": uri,
        "first_page_uri": uri,
        "next_page_uri": None,
        "previous_page_uri": None,
    }
