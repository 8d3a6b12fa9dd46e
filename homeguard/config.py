"""All of config.yaml as frozen models, checked once; secrets come from elsewhere.

Unknown keys are refused, every error is reported at once by path, with the nearest valid key.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from homeguard.domain import HomeGuardError
from homeguard.hours import parse_hours, parse_weekly
from homeguard.labels import Category

Language = Literal["ko", "en"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]
SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class ConfigError(HomeGuardError):
    """The configuration is wrong; `errors` lists every fault as "path: what is wrong"."""

    def __init__(self, source: str, errors: list[str]) -> None:
        super().__init__(f"{source}: {len(errors)} error(s)\n" + "\n".join(errors))
        self.errors = errors


def _slug(value: str) -> str:
    if not SLUG.fullmatch(value):
        message = "use lower-case letters, digits, - and _ (it becomes part of MQTT topics)"
        raise ValueError(message)
    return value


Slug = Annotated[str, AfterValidator(_slug)]


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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


class RoomConfig(Section):
    """A room and its source: exactly one of microphone, url and file."""

    name: Slug
    label: str = Field("", description="what people call the room; the name when empty")
    microphone: str | None = Field(None, description="device name as `homeguard devices` prints it")
    url: str | None = Field(None, description="RTSP or HTTP stream")
    file: Path | None = Field(None, description="a recording, read once")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.microphone, self.url, self.file)) != 1:
            message = "give exactly one of microphone, url and file"
            raise ValueError(message)
        return self


class WindowConfig(Section):
    """The sound that one decision is about."""

    length_s: float = Field(5.0, ge=2.0, le=30.0)
    hop_s: float = Field(1.0, ge=0.25, le=30.0)

    @model_validator(mode="after")
    def _overlap(self) -> Self:
        if self.hop_s > self.length_s:
            message = "hop_s must not exceed length_s: sound between windows would go unheard"
            raise ValueError(message)
        return self


class GateConfig(Section):
    """What is worth hearing."""

    margin_db: float = Field(6.0, ge=0.0, le=40.0, description="above the noise floor")
    floor_window_s: float = Field(30.0, ge=2.0, description="how far back the floor looks")
    floor_settle_s: float = Field(30.0, ge=0.0, description="until then the gate stays open")
    open_dbfs: float = Field(-25.0, le=0.0, description="always open above this level")
    min_dbfs: float = Field(-75.0, le=0.0, description="never open below this level")
    hold_s: Seconds = Field(1.0, description="stays open after the last active chunk")
    relisten_s: Seconds = Field(
        60.0, description="a room that grew louder is heard so often though steady; 0: never"
    )
    relisten_for_s: Seconds = Field(7.0, description="and for so long each time")
    vad_mode: Literal[0, 1, 2, 3] = Field(2, description="webrtcvad's aggressiveness")
    speech_probability: Probability = Field(0.5, description="Silero's confirmation")
    speech_gap_s: Seconds = Field(0.4, description="pauses shorter than this join stretches")


class VoterConfig(Section):
    """A sound voter; empty values take what the model's manifest says."""

    enabled: bool = True
    model: str = Field("", description="name in the manifest; the set's when empty")
    threshold: Probability | None = Field(None, description="emergency at or above")
    deadline_ms: int = Field(1000, ge=10, description="later than this abstains")


class TranscriptConfig(VoterConfig):
    """The transcript voter."""

    deadline_ms: int = Field(3000, ge=10)
    language: Literal["auto", "ko", "en"] = Field("auto", description="of the decoder")
    extra_phrases: tuple[str, ...] = Field((), description="also a call for help when heard")
    context_s: float = Field(5.0, ge=2.0, le=30.0, description="sound that the decoder sees")
    beam_size: int = Field(4, ge=1, le=10)
    max_tokens: int = Field(64, ge=4, le=224)
    min_logprob: float = Field(-0.6, description="mean per token; below is unsure")
    max_no_speech: Probability = 0.6
    max_compression: float = Field(2.4, description="gzip ratio; above is repetition")


class VotersConfig(Section):
    """The three voters."""

    set: str = Field("", description="which set of models; the manifest's default when empty")
    encoder: VoterConfig = VoterConfig()
    transcript: TranscriptConfig = TranscriptConfig()
    cnn: VoterConfig = VoterConfig()


class DecisionConfig(Section):
    """From votes to incidents."""

    votes_needed: int = Field(2, ge=1, le=3)
    skip_settled: bool = Field(True, description="do not ask a voter that cannot matter")
    onset_windows: int = Field(3, ge=1, description="agreeing windows that open an incident")
    onset_of: int = Field(5, ge=1, description="among so many last windows")
    hangover_s: Seconds = Field(10.0, description="quiet that ends an incident")
    thresholds: dict[Category, Probability] = Field(
        default_factory=dict, description="sound voters' threshold by category"
    )
    distress_phrases: Literal["alert", "vote"] = "alert"
    distress_within_s: Seconds = Field(20.0, description="two calls within this raise an alert")
    distress_lean: Probability = Field(0.3, description="one call, and a sound voter this sure")
    share_s: Seconds = Field(5.0, description="rooms that hear the same within this share it")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.onset_windows > self.onset_of:
            message = f"onset_windows ({self.onset_windows}) exceeds onset_of ({self.onset_of})"
            raise ValueError(message)
        return self

    @field_validator("thresholds")
    @classmethod
    def _emergencies(cls, value: dict[Category, float]) -> dict[Category, float]:
        if normal := [c.value for c in value if not c.is_emergency]:
            message = f"not an emergency: {', '.join(normal)}"
            raise ValueError(message)
        return value


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


class Secrets(BaseSettings):
    """From the environment (HOMEGUARD_...) or systemd's LoadCredential, never from YAML."""

    model_config = SettingsConfigDict(env_prefix="HOMEGUARD_", extra="ignore", frozen=True)

    mqtt_password: SecretStr | None = None
    twilio_auth_token: SecretStr | None = None
    apprise_urls: SecretStr | None = None  # separated by white space

    @classmethod
    def load(cls) -> Secrets:
        """Read them now; systemd's credentials are files named homeguard_<secret>."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        return cls(_secrets_dir=directory)


def load(path: Path) -> Config:
    """Read and check a config file.

    Raises ConfigError listing every fault: unreadable, not YAML, unknown key, bad value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(str(path), [f"cannot be read: {exc}"]) from exc
    return parse(text, str(path))


def parse(text: str, source: str = "config") -> Config:
    """Check the text of a config file; `source` names it in the ConfigError."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(source, [f"not valid YAML: {exc}"]) from exc
    if raw is not None and not isinstance(raw, dict):
        raise ConfigError(source, ["the top level must be a mapping of sections"])
    try:
        return Config.model_validate(raw or {})
    except ValidationError as exc:
        raise ConfigError(source, [_explain(dict(error)) for error in exc.errors()]) from exc


def _explain(error: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in error["loc"]) or "config"
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    *parents, key = error["loc"]
    near = difflib.get_close_matches(str(key), _keys_at(parents), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{path}: unknown key{hint}"


def _keys_at(loc: list[str | int]) -> list[str]:
    """The valid keys of the section at `loc`."""
    model: type[BaseModel] = Config
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = (annotation, *get_args(annotation))
        sections = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)
