"""Notifications through Apprise: ntfy, Telegram, e-mail and whatever else its urls name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import apprise

from homeguard.alerting.message import Note
from homeguard.alerting.subscribers import VARIABLE, Subscriber
from homeguard.config import ConfigError
from homeguard.domain import (
    Alert,
    Change,
    Contact,
    DeliveryError,
    DeliveryState,
    FaultAlert,
    IncidentState,
    Outgoing,
    Receipt,
)

SERVICE_S = 30.0  # one service may take so long, attachment included

# Its lines may quote urls; what is of use in them, the status, is read from its answers.
logging.getLogger("apprise").propagate = False
_STATUS = re.compile(r"error=(\d{3})\b")

Compose = Callable[[Outgoing, Contact], Note]


class AppriseChannel:
    """Notifies one url a message; called by one thread.

    `compose` writes the note. `attach`: an incident's recording goes along where the service takes
    files. Raises ConfigError naming the urls that are none, by their place.
    """

    name = "apprise"

    def __init__(
        self, subscribers: Sequence[Subscriber], compose: Compose, *, attach: bool = False
    ) -> None:
        self._urls = {s.contact.address: s.url for s in subscribers}
        self._compose = compose
        self._attach = attach
        self._asset = _asset()
        wrong = [n for n, s in enumerate(subscribers, 1) if not self._holds(s.contact.address)]
        if wrong or not subscribers:
            source = "apprise.enabled"
            raise ConfigError(source, [_fault(n) for n in wrong] or [f"needs urls: set {VARIABLE}"])

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        """Give one note to one service; DELIVERED when it took it. Raises DeliveryError.

        Where a service refuses it with the recording, it gets it without.
        """
        if recipient is None or recipient.address not in self._urls:
            message = "its url is no longer among the urls of Apprise"
            raise DeliveryError(message, retryable=False)
        note = self._compose(alert, recipient)
        clip = self._recording(alert)
        error = self._notify(alert, recipient, note, clip)
        if error is not None and clip is not None:
            error = self._notify(alert, recipient, note, None)
        if error is not None:
            raise DeliveryError(error, retryable=True, code="network")
        return Receipt(DeliveryState.DELIVERED)

    def poll(self, reference: str) -> Receipt:
        """Nothing is ever left to ask for."""
        return Receipt(DeliveryState.DELIVERED, reference)

    def _notify(
        self, alert: Outgoing, recipient: Contact, note: Note, clip: Path | None
    ) -> str | None:
        """Why the service did not take it; None where it did."""
        # A fresh one each time: one that has just sent makes the next alert wait for seconds.
        result = self._service(recipient.address).notify(
            title=note.title,
            body=note.body,
            notify_type=_type(alert),
            body_format=apprise.NotifyFormat.TEXT,
            attach=str(clip) if clip else None,
        )
        if result:
            return None
        said = " ".join(str(line) for each in result for line in each.logs())
        status = _STATUS.search(said)
        why = f"answers HTTP {status[1]}" if status else "unreachable, or refuses the message"
        return f"{recipient.name}: {why}"

    def _recording(self, alert: Outgoing) -> Path | None:
        clip = alert.after.clip if isinstance(alert, Alert) else None
        return clip.path if self._attach and clip is not None and clip.path.is_file() else None

    def _service(self, address: str) -> apprise.Apprise:
        service = apprise.Apprise(asset=self._asset)
        service.add(self._urls[address].get_secret_value())
        return service

    def _holds(self, address: str) -> bool:
        return len(self._service(address)) == 1


def _asset() -> apprise.AppriseAsset:
    """Nothing of Apprise's own: no files of it, no icon that phones fetch from its site."""
    asset = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY, service_timeout=SERVICE_S
    )
    asset.app_id, asset.app_desc, asset.app_url = "HomeGuard", "HomeGuard", ""
    asset.image_url_mask = asset.image_url_logo = ""
    asset.async_mode = False
    return asset


def _fault(place: int) -> str:
    return f"url {place} is none that Apprise knows: see its list of services, and doctor"


def _type(alert: Outgoing) -> apprise.NotifyType:
    if isinstance(alert, FaultAlert):
        over = alert.change is Change.END
        return apprise.NotifyType.SUCCESS if over else apprise.NotifyType.WARNING
    if alert.after.state is IncidentState.TEST:
        return apprise.NotifyType.INFO
    return apprise.NotifyType.FAILURE if alert.change is Change.NEW else apprise.NotifyType.INFO
