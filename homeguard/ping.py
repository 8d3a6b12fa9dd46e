"""A dead man's switch: a url that is asked while all is well, so that others notice when it is not.

Only the configured host is contacted: no redirect is followed and no proxy used.
"""

from __future__ import annotations

import http.client
import logging
import threading
import urllib.request
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


class Ping:
    """Asks `url` on a thread of its own whenever it is told to; failures are logged once."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._host = urlsplit(url).hostname
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        self._failing = False
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ping", daemon=True)

    def start(self) -> None:
        """Be ready to ask."""
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """End the thread; one that waits for the host is left behind after the deadline."""
        self._stopping = True
        self._due.set()
        self._thread.join(deadline_s)

    def send(self) -> None:
        """Ask soon; never waits."""
        self._due.set()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            self._ask()

    def _ask(self) -> None:
        try:
            with self._opener.open(self._url, timeout=self._timeout_s) as answer:
                answer.read(1)
        except HTTPError as exc:
            exc.close()
            self._failed(f"HTTP {exc.code}")
        except (OSError, http.client.HTTPException) as exc:
            self._failed(type(exc).__name__)
        else:
            if self._failing:
                _log.info("ping: %s answers again", self._host)
            self._failing = False

    def _failed(self, why: str) -> None:
        # The url itself is a secret: who knows it can pretend that we live.
        level = logging.DEBUG if self._failing else logging.WARNING
        _log.log(level, "ping: %s does not take it (%s); check health.ping_url", self._host, why)
        self._failing = True


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_values: Any) -> None:  # noqa: ANN401 as inherited
        """Follow none: an HTTPError results."""
