"""All of config.yaml as frozen models, checked once; secrets come from elsewhere.

Unknown keys are refused, every error is reported at once by path, with the nearest valid key.
"""

from homeguard.config.alerting import (
    AlertsConfig,
    AppriseConfig,
    ClipsConfig,
    ContactConfig,
    DiscoveryConfig,
    EscalationConfig,
    MqttConfig,
    SmsConfig,
    WebConfig,
)
from homeguard.config.capture import GateConfig, RoomConfig, WindowConfig
from homeguard.config.credentials import Secrets
from homeguard.config.reading import ConfigError, load, parse, read
from homeguard.config.section import SLUG, Language
from homeguard.config.voting import DecisionConfig, TranscriptConfig, VoterConfig, VotersConfig
from homeguard.config.whole import (
    Config,
    HealthConfig,
    HomeConfig,
    LogsConfig,
    MetricsConfig,
    NodeConfig,
)

__all__ = [
    "SLUG",
    "AlertsConfig",
    "AppriseConfig",
    "ClipsConfig",
    "Config",
    "ConfigError",
    "ContactConfig",
    "DecisionConfig",
    "DiscoveryConfig",
    "EscalationConfig",
    "GateConfig",
    "HealthConfig",
    "HomeConfig",
    "Language",
    "LogsConfig",
    "MetricsConfig",
    "MqttConfig",
    "NodeConfig",
    "RoomConfig",
    "Secrets",
    "SmsConfig",
    "TranscriptConfig",
    "VoterConfig",
    "VotersConfig",
    "WebConfig",
    "WindowConfig",
    "load",
    "parse",
    "read",
]
