"""A server on loopback that speaks as much of the model hub's protocol as a download needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repository: str, files: Path, *, break_off: str = "", refuse: str = "") -> Iterator[str]:
    """Serve the files of a directory as `repository`; gives the endpoint.

    The first download of the file named `break_off` ends half-way; `refuse` is never given out.
    """
    handler = type("Handler", (_Handler,), {"repository": repository, "files": files})
    handler.broken = {break_off}  # type: ignore[attr-defined]
    handler.refused = refuse  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, name="hub", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    repository: str
    files: Path
    broken: set[str]
    refused: str
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        api = f"/api/models/{self.repository}"
        names = sorted(p.name for p in self.files.iterdir())
        if path in {api, f"{api}/revision/{COMMIT}", f"{api}/revision/main"}:
            siblings = [{"rfilename": name} for name in names]
            info = {"id": self.repository, "modelId": self.repository, "sha": COMMIT}
            card = {"cardData": {"license": "mit"}, "siblings": siblings, "tags": []}
            self._json({**info, **card})
        elif path.startswith(f"{api}/tree/"):
            self._json([self._entry(name) for name in names])
        elif path.startswith(f"/{self.repository}/resolve/{COMMIT}/"):
            self._file(path.rsplit("/", 1)[-1], body=body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _entry(self, name: str) -> dict[str, object]:
        content = (self.files / name).read_bytes()
        return {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}

    def _file(self, name: str, *, body: bool) -> None:
        content = (self.files / name).read_bytes()
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT}
        start = 0
        if (asked := self.headers.get("Range")) and body:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        if name == self.refused:
            self._send(403, b"{}", {"Content-Type": "application/json"})
            return
        if body and name in self.broken:
            self.broken.discard(name)
            self._send(200, rest, headers, cut=len(rest) // 2)
            return
        self._send(206 if start else 200, rest, headers, cut=None if body else 0)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut])
        if cut:
            self.close_connection = True


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
