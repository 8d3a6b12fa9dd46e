"""Signed links: each opens one incident to one recipient, for a day.

A token is incident (8 bytes), recipient (4), expiry (4) and an HMAC-SHA256 over them, cut to 16, in
base64url: 43 characters, short enough for a text message. Deleting the key's file and restarting
makes every link void; so does taking a contact out of the configuration.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from homeguard.alerting.outbox import Clock
from homeguard.domain import Contact, HomeGuardError

LASTS = timedelta(hours=24)
PATH = "/i/"
_KEY_FILE = "link.key"
_KEY_BYTES = 32
_FORM = struct.Struct(">8s4sI")
_MAC_BYTES = 16
_TOKEN_LETTERS = 43


class LinkError(HomeGuardError):
    """A link that opens nothing; the message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What a valid link opens, and to whom."""

    incident_id: str
    contact: Contact


class Links:
    """Makes and reads links for `contacts`; `base_url` is how they reach the page."""

    def __init__(self, key: bytes, base_url: str, contacts: Iterable[Contact], now: Clock) -> None:
        self._key = key
        self._base_url = base_url.rstrip("/")
        self._contacts = {self._who(contact.address): contact for contact in contacts}
        self._now = now

    @property
    def origin(self) -> str:
        """Scheme and host of the page, as a browser names where a form came from."""
        return "/".join(self._base_url.split("/")[:3])

    def url(self, incident_id: str, contact: Contact) -> str | None:
        """The link of an incident for a contact; None for one who is none of ours."""
        who = self._who(contact.address)
        if who not in self._contacts:
            return None
        try:
            incident = bytes.fromhex(incident_id).rjust(8, b"\0")
        except ValueError:
            return None
        payload = _FORM.pack(incident, who, int((self._now() + LASTS).timestamp()))
        token = base64.urlsafe_b64encode(payload + self._mac(payload)).rstrip(b"=").decode()
        return f"{self._base_url}{PATH}{token}"

    def read(self, token: str) -> Pass:
        """What a token opens. Raises LinkError."""
        if len(token) != _TOKEN_LETTERS or not token.isascii():
            raise LinkError("it has not the form of a link")
        try:
            raw = base64.b64decode(token + "=", altchars=b"-_", validate=True)
        except ValueError as exc:
            raise LinkError("it has not the form of a link") from exc
        payload, mac = raw[: _FORM.size], raw[_FORM.size :]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise LinkError("it is forged, or made with another key")
        incident, who, expires_at = _FORM.unpack(payload)
        if self._now().timestamp() > expires_at:
            raise LinkError("it has expired")
        contact = self._contacts.get(who)
        if contact is None:
            raise LinkError("its recipient is no contact any more")
        return Pass(incident.hex(), contact)

    def _who(self, address: str) -> bytes:
        return hmac.digest(self._key, b"who\0" + address.encode(), "sha256")[:4]

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, b"link 1\0" + payload, "sha256")[:_MAC_BYTES]


def load_key(directory: Path) -> bytes:
    """The key of a state directory, made when there is none. Raises HomeGuardError."""
    path = directory / _KEY_FILE
    try:
        with suppress(FileExistsError):
            new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(new, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as exc:
        message = f"the key of the links cannot be read or made: {exc}"
        raise HomeGuardError(message) from exc
    if len(key) != _KEY_BYTES:
        message = f"{path} holds no key: delete it, and restart; links sent before are void then"
        raise HomeGuardError(message)
    return key
