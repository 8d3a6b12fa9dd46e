"""A real Home Assistant on loopback, from an environment of its own (scripts/home-assistant)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts.mosquitto import (
    HOME_ASSISTANT_PASSWORD,
    HOME_ASSISTANT_USER,
    Mosquitto,
    free_port,
    wait_until,
)

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = "HOMEGUARD_HOME_ASSISTANT"  # a folder with Home Assistant's environment
STARTS_WITHIN_S = 300.0  # on a busy machine

_INTEGRATIONS = ("api", "auth", "config", "frontend", "notify", "onboarding", "websocket_api")


@dataclass(slots=True)
class HomeAssistant:
    """`hass` with its MQTT integration on a broker; asked by its own REST interface."""

    hass: Path
    directory: Path
    broker: Mosquitto
    port: int = field(default_factory=free_port)
    _token: str = ""
    _process: subprocess.Popen[bytes] | None = None

    def configure(self, blueprint: Path, automations: list[dict[str, Any]]) -> None:
        """Write its configuration: the broker, one blueprint, and automations."""
        shelf = self.directory / "blueprints" / "automation" / "homeguard"
        shelf.mkdir(parents=True)
        shutil.copy(blueprint, shelf)
        settings = {
            "http": {"server_host": "127.0.0.1", "server_port": self.port},
            **dict.fromkeys(_INTEGRATIONS),
            "automation": automations,
            "logger": {"default": "warning"},
        }
        (self.directory / "configuration.yaml").write_text(
            yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8"
        )
        entry: dict[str, object] = {
            "created_at": "2026-01-01T00:00:00+00:00",
            "modified_at": "2026-01-01T00:00:00+00:00",
            "data": {
                "broker": "127.0.0.1",
                "port": self.broker.port,
                "protocol": "5",
                "username": HOME_ASSISTANT_USER,
                "password": HOME_ASSISTANT_PASSWORD,
            },
            "disabled_by": None,
            "discovery_keys": {},
            "domain": "mqtt",
            "entry_id": "the-broker",
            "minor_version": 2,
            "options": {},
            "pref_disable_new_entities": False,
            "pref_disable_polling": False,
            "source": "user",
            "subentries": [],
            "title": "mosquitto",
            "unique_id": None,
            "version": 1,
        }
        stored = {
            "version": 1,
            "minor_version": 5,
            "key": "core.config_entries",
            "data": {"entries": [entry]},
        }
        (self.directory / ".storage").mkdir()
        (self.directory / ".storage" / "core.config_entries").write_text(json.dumps(stored))

    def start(self) -> None:
        """Start it and wait until it runs; the first start makes the owner's account."""
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self.hass, "-c", self.directory, "--skip-pip"],
                stdout=output,
                stderr=output,
                env=os.environ | {"HOME": str(self.directory)},
            )
        assert wait_until(self._answers, STARTS_WITHIN_S), self.log
        if not self._token:
            self._onboard()
        running = wait_until(lambda: self._get("/api/config")["state"] == "RUNNING", 120)
        assert running, self.log

    def stop(self) -> None:
        """End it as a user would: its state is written."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    @property
    def log(self) -> str:
        """Warnings and errors; those about MQTT and us are what a test looks at."""
        return (self.directory / "output").read_text(encoding="utf-8", errors="replace")

    def state(self, entity: str) -> str | None:
        """An entity's state, None where there is no such entity."""
        found = self.entity(entity)
        return None if found is None else found["state"]

    def entity(self, entity: str) -> dict[str, Any] | None:
        """State and attributes of an entity."""
        try:
            document: dict[str, Any] = self._get(f"/api/states/{entity}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return document

    def entities(self, part: str = "homeguard_") -> set[str]:
        """Ids of all entities that hold `part`."""
        return {s["entity_id"] for s in self._get("/api/states") if part in s["entity_id"]}

    def becomes(self, entity: str, state: str | None, timeout_s: float = 60.0) -> bool:
        """Wait until an entity has that state."""
        return wait_until(lambda: self.state(entity) == state, timeout_s)

    def call(self, service: str, **data: object) -> None:
        """Call a service, such as "button.press"."""
        self._ask(f"/api/services/{service.replace('.', '/')}", data)

    def fire(self, event: str, **data: object) -> None:
        """Fire an event, as a telephone does when a notification's button is pressed."""
        self._ask(f"/api/events/{event}", data)

    def render(self, template: str) -> str:
        """What a template says."""
        return self._ask("/api/template", {"template": template}).decode()

    def picture(self, entity: str) -> tuple[str, bytes]:
        """An image entity's type and picture."""
        with self._open(f"/api/image_proxy/{entity}") as answer:
            return answer.headers["Content-Type"], answer.read()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            self._ask("/api/onboarding")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _onboard(self) -> None:
        client = f"http://127.0.0.1:{self.port}/"
        owner = {"name": "Kim", "username": "kim", "password": "kim-secret", "language": "en"}
        answer = self._ask("/api/onboarding/users", {"client_id": client, **owner})
        form = f"grant_type=authorization_code&client_id={client}&code="
        code = json.loads(answer)["auth_code"]
        tokens = self._ask("/auth/token", (form + code).encode())
        # Half an hour: longer than any test.
        self._token = json.loads(tokens)["access_token"]

    def _get(self, path: str) -> Any:
        return json.loads(self._ask(path))

    def _ask(self, path: str, body: object = None) -> bytes:
        with self._open(path, body) as answer:
            content: bytes = answer.read()
            return content

    def _open(self, path: str, body: object = None) -> Any:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        if not isinstance(body, bytes):
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        return urllib.request.urlopen(request, timeout=20)


def hass_or_skip() -> Path:
    """The program, or the test is skipped: this part is opt-in, also in CI."""
    folder = Path(os.environ.get(ENVIRONMENT) or ROOT / ".venv-home-assistant")
    program = folder / "bin" / "hass"
    if not program.is_file():
        pytest.skip(f"Home Assistant is not installed: scripts/home-assistant, or {ENVIRONMENT}")
    return program
