"""An HTTP server by the standard library, within narrow bounds.

At most CONNECTIONS at a time, each one request and LIFETIME_S long, whatever the client does: a
slow or greedy one costs neither threads nor memory that hearing needs.
"""

from __future__ import annotations

import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONNECTIONS = 16
LIFETIME_S = 30.0
IDLE_S = 5.0  # what a handler's `timeout` should be

_log = logging.getLogger(__name__)


class BoundedServer(ThreadingHTTPServer):
    """Serves with `handler` from `start` to `stop`, on threads of its own, called `name`.

    Raises OSError where it cannot listen.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(
        self, name: str, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]
    ) -> None:
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, handler)
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.2,), name=name, daemon=True
        )

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self.shutdown()
        self.server_close()
        self._thread.join(1.0)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 as inherited
        """Hang up at once where too many are being served."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 as inherited
        """Serve one, and hang up when its time is over."""
        end = threading.Timer(LIFETIME_S, _hang_up, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 as inherited
        """Say it where somebody looks for it: a client that hangs up is no error of ours."""
        _log.debug("web: a request broke off", exc_info=True)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
