"""All of config.yaml: the stages' sections, and those of the daemon itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from homeguard.config.alerting import (
    AlertsConfig,
    AppriseConfig,
    ClipsConfig,
    MqttConfig,
    SmsConfig,
    WebConfig,
)
from homeguard.config.capture import GateConfig, RoomConfig, WindowConfig
from homeguard.config.section import Language, Section, Slug
from homeguard.config.voting import DecisionConfig, VotersConfig
from homeguard.hours import parse_weekly


class NodeConfig(Section):
    """This machine."""

    name: Slug = Field("home", description="name of this node in MQTT topics")
    state_dir: Path = Field(
        Path("state"), description="database and clips; systemd's StateDirectory wins"
    )
    models_dir: Path | None = Field(None, description="models; the bundled ones when empty")
    threads: int = Field(1, ge=1, le=16, description="threads one inference may use")


class HomeConfig(Section):
    """Where help must come to."""

    name: str = Field("", description="name of the home in messages")
    address: str = Field("", description="street address in messages")
    latitude: float | None = Field(None, ge=-90, le=90)
    longitude: float | None = Field(None, ge=-180, le=180)
    language: Language = Field("ko", description="language of messages without a contact")
    timezone: str = Field("", description="IANA name such as Asia/Seoul; the system's when empty")


class HealthConfig(Section):
    """How we notice that we cannot hear, and who notices that we are gone."""

    silent_after_s: float = Field(30.0, ge=5.0, description="all-zero sound for so long")
    level_every_s: float = Field(1.0, ge=1.0)
    ping_url: str = Field("", description="asked every minute while all is well; none when empty")
    weekly_test: str = Field("mon 10:00", description="test through all channels; never when empty")

    @field_validator("ping_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/\s]+", value):
            message = "write a whole address, such as https://watch.example.org/ping/home"
            raise ValueError(message)
        return value

    @field_validator("weekly_test")
    @classmethod
    def _weekly(cls, value: str) -> str:
        if value:
            parse_weekly(value)
        return value


class LogsConfig(Section):
    """What the daemon writes to stderr, or journald."""

    format: Literal["text", "json"] = "text"


class MetricsConfig(Section):
    """Figures for Prometheus."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = Field(8788, ge=1, le=65_535)


class Config(Section):
    """Everything, with defaults that run as they stand."""

    node: NodeConfig = NodeConfig()
    home: HomeConfig = HomeConfig()
    rooms: tuple[RoomConfig, ...] = (RoomConfig(name="living-room", microphone="default"),)
    window: WindowConfig = WindowConfig()
    gate: GateConfig = GateConfig()
    voters: VotersConfig = VotersConfig()
    decision: DecisionConfig = DecisionConfig()
    alerts: AlertsConfig = AlertsConfig()
    mqtt: MqttConfig = MqttConfig()
    sms: SmsConfig = SmsConfig()
    apprise: AppriseConfig = AppriseConfig()
    clips: ClipsConfig = ClipsConfig()
    web: WebConfig = WebConfig()
    health: HealthConfig = HealthConfig()
    metrics: MetricsConfig = MetricsConfig()
    logs: LogsConfig = LogsConfig()

    @field_validator("rooms")
    @classmethod
    def _distinct(cls, value: tuple[RoomConfig, ...]) -> tuple[RoomConfig, ...]:
        names = [room.name for room in value]
        if not names:
            message = "name at least one room"
            raise ValueError(message)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            message = f"room names must differ: {', '.join(twice)}"
            raise ValueError(message)
        return value
