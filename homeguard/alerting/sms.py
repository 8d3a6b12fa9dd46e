"""SMS through Twilio, or any gateway that speaks its API."""

from __future__ import annotations

import ipaddress
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from requests import ConnectTimeout, RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from twilio.rest.api.v2010.account.message import MessageInstance

from homeguard.alerting.records import Sent
from homeguard.alerting.replies import Reply
from homeguard.config import ConfigError, SmsConfig
from homeguard.domain import (
    Alert,
    Contact,
    DeliveryError,
    DeliveryState,
    Fault,
    Incident,
    IncidentState,
    Outgoing,
    Receipt,
)

RESERVED = 3  # messages a day that only a new emergency may use
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_PUT_OFF_S = 300.0
_API = "https://api.twilio.com"
_TOO_MANY, _REQUEST_TIMEOUT, _SERVER_ERROR = 429, 408, 500
_UNAUTHORISED = 401
_TEST_CREDENTIALS = 20008
_ACCOUNT_REFUSED = frozenset({20003, 20005, 20006})  # wrong, closed or suspended, no access
_CLOCKS_DIFFER = timedelta(minutes=2)

# Twilio's client logs urls with phone numbers in them.
_quiet = logging.getLogger("homeguard.twilio")
_quiet.disabled = True

_STATES = {
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.FAILED,
    "failed": DeliveryState.FAILED,
    "canceled": DeliveryState.FAILED,
}
_REASONS = {
    21211: "this is no valid phone number: correct it in alerts.contacts",
    21408: "the account may not send to this country: allow it in the gateway's console",
    21610: "this number has opted out of our messages: it must send START",
    21614: "this number cannot receive SMS",
    21606: "the sender cannot send to this number: check sms.sender",
}

Compose = Callable[[Outgoing, Contact], str]
SentLog = Callable[[str, datetime], Sequence[Sent]]  # address, since -> messages


class SmsChannel:
    """Sends texts and asks how far they got; called by one thread.

    `compose` writes the text. `sent` gives the messages that an address was sent since a time:
    the caps per number count them. Raises ConfigError for a `base_url` over
    which the token would travel in the clear.
    """

    name = "sms"

    def __init__(
        self,
        config: SmsConfig,
        auth_token: str,
        compose: Compose,
        sent: SentLog,
        now: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._compose = compose
        self._sent = sent
        self._now = now
        self._http = _Http(config.base_url, config.timeout_s)
        # Given here, so that no TWILIO_ variable of the environment takes part.
        self._client = Client(config.account_sid, auth_token, http_client=self._http)
        self._doubts: dict[tuple[str, str], _Doubt] = {}
        self._given: deque[str] = deque(maxlen=200)  # SIDs of messages whose answer came

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        """Give one text to the gateway; ACCEPTED with its SID. Raises DeliveryError."""
        if recipient is None:
            message = "an SMS needs a recipient"
            raise DeliveryError(message, retryable=False)
        self._check(alert, recipient)
        key = (recipient.address, f"{alert.after.id}/{alert.change}/{alert.after.updated_at}")
        found = self._look_for(key)
        if found is not None:
            return found
        text = self._compose(alert, recipient)
        began_at = self._now()
        try:
            message = self._client.messages.create(
                to=recipient.address, body=text, **self._sender()
            )
        except (TwilioException, RequestException, OSError) as exc:
            if _is_doubtful(exc):
                doubt = self._doubts.setdefault(key, _Doubt(began_at))
                doubt.bodies.add(text)
            raise self._error(exc) from exc
        self._doubts.pop(key, None)
        self._given.append(str(message.sid))
        return _receipt(message)

    def poll(self, reference: str) -> Receipt:
        """How far the message of this SID got. Raises DeliveryError."""
        try:
            return _receipt(self._client.messages(reference).fetch())
        except (TwilioException, RequestException, OSError) as exc:
            raise self._error(exc) from exc

    def check_account(self) -> str:
        """The state of the account at the gateway, "active" when all is well.

        Raises DeliveryError with what to do.
        """
        try:
            return str(self._client.api.accounts(self._config.account_sid).fetch().status)
        except (TwilioException, RequestException, OSError) as exc:
            raise self._error(exc) from exc

    def _sender(self) -> dict[str, str]:
        sender = self._config.sender
        return {"messaging_service_sid" if sender.startswith("MG") else "from_": sender}

    def _check(self, alert: Outgoing, recipient: Contact) -> None:
        """Refuse what the rules of config.yaml refuse: the country, the cap of the day."""
        if not recipient.address.startswith(self._config.countries):
            message = "its country is not among sms.countries: add it there if it is right"
            raise DeliveryError(message, retryable=False, code="country")
        sent = self._sent(recipient.address, self._now() - _DAY)
        # A test is no emergency: it must not use up what is kept for one.
        new = _is_emergency(alert) and alert.after.id not in {s.incident_id for s in sent}
        limit = self._config.max_per_day - (0 if new else min(RESERVED, self._config.max_per_day))
        if len(sent) >= limit:
            kept = "" if new else f" ({RESERVED} are kept for a new emergency)"
            message = (
                f"{len(sent)} messages in 24 h reach the cap of this number{kept}: "
                "raise sms.max_per_day, or find out what sets off the alerts"
            )
            raise DeliveryError(message, retryable=False, code="cap")
        self._check_hour(alert, recipient)

    def _check_hour(self, alert: Outgoing, recipient: Contact) -> None:
        """Put a flood off; what is new in kind or place always gets out, a fault leaves it room."""
        sent = self._sent(recipient.address, self._now() - _HOUR)
        hour, after = len(sent), alert.after
        new = _is_emergency(alert) and all(
            s.incident_id != after.id and s.what != _what(after) for s in sent
        )
        limit = self._config.max_per_hour // (1 if isinstance(alert, Alert) else 2)
        if hour >= limit and not new:
            message = f"{hour} messages in an hour reach the cap of this number (sms.max_per_hour)"
            raise DeliveryError(message, retryable=True, retry_after_s=_PUT_OFF_S, code="hour")

    def replies(self, since: datetime) -> tuple[Reply, ...]:
        """The texts that came to our number since then. Raises DeliveryError."""
        sender = self._config.sender
        ours = {} if sender.startswith("MG") else {"to": sender}
        try:
            listed = self._client.messages.list(date_sent_after=since, limit=100, **ours)
        except (TwilioException, RequestException, OSError) as exc:
            raise self._error(exc) from exc
        return tuple(
            Reply(str(m.sid), str(m.from_), str(m.body), m.date_sent or m.date_created)
            for m in listed
            if m.direction == "inbound" and (m.date_sent or m.date_created) is not None
        )

    def _look_for(self, key: tuple[str, str]) -> Receipt | None:
        """After an answer that never came: the message, if the gateway has it after all."""
        doubt = self._doubts.get(key)
        if doubt is None:
            return None
        try:
            listed = self._client.messages.list(to=key[0], limit=20)
        except (TwilioException, RequestException, OSError) as exc:
            raise self._error(exc) from exc
        for message in listed:
            created = message.date_created or datetime.now(UTC)
            recent = created >= doubt.began_at - _CLOCKS_DIFFER
            if recent and message.body in doubt.bodies and message.sid not in self._given:
                del self._doubts[key]
                self._given.append(str(message.sid))
                return _receipt(message)
        return None

    def _error(self, error: Exception) -> DeliveryError:
        """A fault of the library as one of ours, in words that hold no number and no secret."""
        if isinstance(error, TwilioRestException):
            return _rest_error(error, self._http.retry_after_s())
        if isinstance(error, RequestException | OSError):
            host = urlsplit(self._config.base_url).hostname
            message = f"SMS gateway {host} unreachable or silent ({type(error).__name__})"
            return DeliveryError(message, retryable=True, code="network")
        return DeliveryError(f"SMS gateway: {type(error).__name__}", retryable=True)


@dataclass(slots=True)
class _Doubt:
    """Texts that may have been taken although no answer came."""

    began_at: datetime
    bodies: set[str] = field(default_factory=set)


class _Http(TwilioHttpClient):  # type: ignore[misc]  # twilio has no types
    """Twilio's own client with another base url, always with a time-out."""

    def __init__(self, base_url: str, timeout_s: float) -> None:
        parts = urlsplit(base_url)
        loopback = _is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            source, fault = "config", "sms.base_url: use https: the account's token goes there"
            raise ConfigError(source, [fault])
        super().__init__(timeout=timeout_s, logger=_quiet)
        self._base_url = base_url.rstrip("/")
        self._retry_after: str | None = None
        if loopback and self.session is not None:
            self.session.trust_env = False  # a proxy knows no loopback of ours

    def request(self, method: str, url: str, *args: Any, **values: Any) -> Response:  # noqa: ANN401 as inherited
        """Send a request to the configured base url."""
        self._retry_after = None
        url = self._base_url + url.removeprefix(_API)
        response = super().request(method, url, *args, **values)
        self._retry_after = (response.headers or {}).get("Retry-After")
        return response

    def retry_after_s(self) -> float | None:
        """The pause that the last answer asked for: seconds, or a date."""
        if self._retry_after is None:
            return None
        try:
            return max(0.0, float(self._retry_after))
        except ValueError:
            pass
        try:
            at = parsedate_to_datetime(self._retry_after)
        except ValueError:
            return None
        return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _rest_error(error: TwilioRestException, retry_after_s: float | None) -> DeliveryError:
    code = str(error.code) if error.code else str(error.status)
    if error.code == _TEST_CREDENTIALS:
        message = "the token is of test credentials: the gateway takes messages and sends none"
        return DeliveryError(message, retryable=True, code=code)
    if error.status == _UNAUTHORISED or error.code in _ACCOUNT_REFUSED:
        # Not the recipient's fault: the message waits until the credentials are mended.
        message = (
            "the SMS gateway refuses the account: check sms.account_sid and "
            "HOMEGUARD_TWILIO_AUTH_TOKEN, and that the account is active"
        )
        return DeliveryError(message, retryable=True, code=code)
    if error.status in {_TOO_MANY, _REQUEST_TIMEOUT} or error.status >= _SERVER_ERROR:
        message = f"the SMS gateway is busy or broken (HTTP {error.status})"
        return DeliveryError(message, retryable=True, retry_after_s=retry_after_s, code=code)
    reason = _REASONS.get(error.code or 0, "the SMS gateway refuses the message")
    return DeliveryError(f"{reason} (error {code})", retryable=False, code=code)


def _receipt(message: MessageInstance) -> Receipt:
    state = _STATES.get(str(message.status), DeliveryState.ACCEPTED)
    detail = str(message.status)
    if message.error_code:
        detail += f" (error {message.error_code})"
    return Receipt(state, message.sid, detail)


def _is_emergency(alert: Outgoing) -> bool:
    return isinstance(alert, Alert) and alert.after.state is not IncidentState.TEST


def _what(about: Incident | Fault) -> tuple[str, str] | None:
    return (about.category, about.room) if isinstance(about, Incident) else None


def _is_doubtful(error: Exception) -> bool:
    """Whether the gateway may have taken the message although it gave no answer."""
    if isinstance(error, TwilioRestException):
        return bool(error.status >= _SERVER_ERROR)
    return isinstance(error, RequestException) and not isinstance(error, ConnectTimeout)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
