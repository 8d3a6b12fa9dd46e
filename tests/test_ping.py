"""The dead man's switch asks the configured host, and no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from homeguard.ping import Ping
from tests.parts.mosquitto import wait_until


class Watcher(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.status = 200
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/secret-path"


class _Handler(BaseHTTPRequestHandler):
    server: Watcher

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.shutdown()
    watcher.server_close()
    watcher.thread.join(5)


@pytest.fixture
def ping(watcher: Watcher) -> Iterator[Ping]:
    ping = Ping(watcher.url, timeout_s=2.0)
    ping.start()
    yield ping
    ping.stop()


def test_it_asks_when_told_to(ping: Ping, watcher: Watcher) -> None:
    ping.send()
    assert wait_until(lambda: watcher.asked == ["/secret-path"], 5)


def test_a_redirect_is_not_followed_and_the_url_not_logged(
    ping: Ping, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    watcher.status = 302
    ping.send()
    assert wait_until(lambda: "HTTP 302" in caplog.text, 5)
    assert watcher.asked == ["/secret-path"]
    assert "secret-path" not in caplog.text


def test_a_failure_is_logged_once_and_its_end(
    ping: Ping, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watcher.status = 500
    for count in (1, 2):
        ping.send()
        assert wait_until(lambda count=count: len(watcher.asked) == count, 5)  # type: ignore[misc]
    watcher.status = 200
    ping.send()
    assert wait_until(lambda: "answers again" in caplog.text, 5)
    assert caplog.text.count("HTTP 500") == 1
