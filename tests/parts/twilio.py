"""The SMS gateway that answers as Twilio's API does, on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from homeguard.config import SmsConfig
from homeguard.demo.gateway import Gateway

ACCOUNT = "AC" + "0" * 32
TOKEN = "gateway-secret"
SENDER = "+15005550006"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A running gateway that keeps what it receives."""
    gateway = Gateway(ACCOUNT, TOKEN)
    gateway.start()
    yield gateway
    gateway.stop()


def sms_config(gateway: Gateway, **changes: object) -> SmsConfig:
    """The configuration that reaches the gateway."""
    values = {
        "enabled": True,
        "account_sid": ACCOUNT,
        "sender": SENDER,
        "base_url": gateway.url,
        "timeout_s": 1.0,
        **changes,
    }
    return SmsConfig.model_validate(values)
