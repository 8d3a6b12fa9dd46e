"""Who is told, by which ways, and with what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from homeguard.config.section import Language, Seconds, Section, Slug
from homeguard.hours import parse_hours

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
E164 = re.compile(r"\+[1-9]\d{6,14}")


class ContactConfig(Section):
    """A caregiver, called in the order of the list."""

    name: str
    phone: str = Field(description="E.164, such as +821012345678")
    language: Language = "ko"
    days: tuple[Day, ...] = Field(get_args(Day), description="days on duty")
    hours: str = Field("00:00-24:00", description="hours on duty; may run over midnight")

    @field_validator("phone")
    @classmethod
    def _e164(cls, value: str) -> str:
        if not E164.fullmatch(value):
            message = "write the number as +<country><number>, digits only, such as +821012345678"
            raise ValueError(message)
        return value

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        parse_hours(value)
        return value


class EscalationConfig(Section):
    """Who is told next when nobody acknowledges; seconds after the incident was raised."""

    next_after_s: Seconds = 60.0
    all_after_s: Seconds = 180.0
    repeat_every_s: float = Field(300.0, ge=30.0)
    repeat_for_s: Seconds = 3600.0


class AlertsConfig(Section):
    """Who is told, and how insistently."""

    contacts: tuple[ContactConfig, ...] = ()
    escalation: EscalationConfig = EscalationConfig()
    update_every_s: float = Field(300.0, ge=1.0, description="updates of a running incident")
    give_up_after_s: float = Field(86_400.0, ge=60.0, description="retries end")
    late_after_s: float = Field(60.0, ge=1.0, description="older alerts are marked late")
    keep_days: float = Field(90.0, ge=1.0, description="incidents and their words, then deleted")


class DiscoveryConfig(Section):
    """How Home Assistant finds us."""

    enabled: bool = True
    prefix: Slug = Field("homeassistant", description="as in Home Assistant's MQTT settings")


class MqttConfig(Section):
    """The broker."""

    enabled: bool = True
    host: str = "localhost"
    port: int = Field(1883, ge=1, le=65_535)
    version: Literal["5", "3.1.1"] = "5"
    username: str = Field("", description="password: HOMEGUARD_MQTT_PASSWORD")
    client_id: str = Field("", description="homeguard-<node> when empty")
    prefix: Slug = "homeguard"
    keepalive_s: int = Field(30, ge=5, le=3600)
    tls: bool = False
    ca_file: Path | None = None
    discovery: DiscoveryConfig = DiscoveryConfig()


class SmsConfig(Section):
    """Twilio; secrets: HOMEGUARD_TWILIO_AUTH_TOKEN."""

    enabled: bool = False
    account_sid: str = ""
    sender: str = Field("", description="E.164 number or messaging service SID (MG...)")
    base_url: str = Field("https://api.twilio.com", description="another gateway that speaks it")
    timeout_s: float = Field(10.0, ge=1.0, le=60.0)
    countries: tuple[str, ...] = Field(("+82", "+1"), description="numbers may begin so")
    max_per_day: int = Field(50, ge=1, description="per number")
    max_per_hour: int = Field(10, ge=2, description="per number; a new incident always gets out")
    replies: bool = Field(True, description="an answer of 1 or 확인 acknowledges")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.enabled and not (self.account_sid and self.sender):
            message = "enabled needs account_sid and sender"
            raise ValueError(message)
        return self


class AppriseConfig(Section):
    """Everything else: ntfy, Telegram, e-mail; secrets: HOMEGUARD_APPRISE_URLS."""

    enabled: bool = False
    urls_file: Path | None = Field(None, description="one Apprise url a line, readable by us alone")
    attach_clip: bool = False


class ClipsConfig(Section):
    """The only audio ever written."""

    enabled: bool = True
    pre_roll_s: float = Field(5.0, ge=0.0, le=30.0)
    max_s: float = Field(30.0, ge=1.0, le=120.0)
    keep_days: float = Field(7.0, gt=0.0)
    max_mb: float = Field(200.0, gt=0.0)
    share: Literal["none", "link", "mqtt"] = "none"
    picture: Literal["none", "keep", "mqtt"] = "keep"


class WebConfig(Section):
    """The page behind the signed links of messages."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = Field(8787, ge=1, le=65_535)
    base_url: str = Field("", description="how caregivers reach it; no links when empty")

    @field_validator("base_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", value):
            message = "write a whole address, such as https://home.example.org"
            raise ValueError(message)
        return value
