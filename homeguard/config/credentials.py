"""Secrets: never in config.yaml."""

from __future__ import annotations

import os

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


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
