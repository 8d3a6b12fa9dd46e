"""The channels that a configuration names, ready to be given to a dispatcher."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from homeguard.alerting.links import Links, load_key
from homeguard.alerting.message import Texter
from homeguard.alerting.mqtt import MqttChannel
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.alerting.schema import EventWriter
from homeguard.alerting.subscribers import subscribers_of
from homeguard.config import Config, ConfigError, Secrets
from homeguard.domain import AlertChannel, Contact

if TYPE_CHECKING:
    from homeguard.alerting.sms import SmsChannel


def make_audience(config: Config, secrets: Secrets) -> tuple[Contact, ...]:
    """Whom Apprise tells. Raises ConfigError for a file of urls that cannot be read."""
    return tuple(subscriber.contact for subscriber in subscribers_of(config, secrets))


def make_links(config: Config, now: Clock, audience: Iterable[Contact] = ()) -> Links | None:
    """The signed links of messages; None where there is no page. Raises HomeGuardError."""
    if not (config.web.enabled and config.web.base_url):
        return None
    contacts = [Contact(c.name, c.phone, c.language) for c in config.alerts.contacts]
    return Links(load_key(config.node.state_dir), config.web.base_url, [*contacts, *audience], now)


def make_link(config: Config, secrets: Secrets) -> MqttLink | None:
    """The connection to the broker, not started; None where MQTT is off."""
    if not config.mqtt.enabled:
        return None
    password = secrets.mqtt_password.get_secret_value() if secrets.mqtt_password else None
    names = [room.name for room in config.rooms]
    return MqttLink(config.mqtt, config.node.name, names, password, config.health.level_every_s)


def make_channels(
    config: Config,
    secrets: Secrets,
    link: MqttLink | None,
    outbox: Outbox,
    now: Clock,
    links: Links | None = None,
) -> list[AlertChannel]:
    """Every enabled channel; texts carry `links`. Raises ConfigError where a secret is missing."""
    channels: list[AlertChannel] = []
    if link is not None:
        channels.append(MqttChannel(link, EventWriter(config), config.clips))
    if config.sms.enabled:
        channels.append(make_sms(config, secrets, outbox, now, links))
    if config.apprise.enabled:
        # Apprise with its plugins and requests: 24 MiB that only it needs.
        from homeguard.alerting.push import AppriseChannel  # noqa: PLC0415 - loaded only where it is needed

        subscribers = subscribers_of(config, secrets)
        compose, attach = _texter(config, links).note, config.apprise.attach_clip
        channels.append(AppriseChannel(subscribers, compose, attach=attach))
    return channels


def make_sms(
    config: Config, secrets: Secrets, outbox: Outbox, now: Clock, links: Links | None = None
) -> SmsChannel:
    """The SMS channel; one for each thread that uses it. Raises ConfigError without its secret."""
    if secrets.twilio_auth_token is None:
        message = (
            "needs the secret HOMEGUARD_TWILIO_AUTH_TOKEN in the environment, or as the "
            "systemd credential homeguard_twilio_auth_token"
        )
        source = "sms.enabled"
        raise ConfigError(source, [message])
    # Twilio's client: 14 MiB and a third of a second that only text messages need.
    from homeguard.alerting.sms import SmsChannel  # noqa: PLC0415 - loaded only where it is needed

    return SmsChannel(
        config.sms,
        secrets.twilio_auth_token.get_secret_value(),
        _texter(config, links),
        lambda address, since: outbox.sent_to("sms", address, since),
        now,
    )


def _texter(config: Config, links: Links | None) -> Texter:
    return Texter(config, (lambda a, to: links.url(a.after.id, to)) if links else None)
