"""What a config comes to, in a dozen lines for people; phone numbers only by their last digits."""

from __future__ import annotations

from collections.abc import Iterator

from homeguard.config import Config, ContactConfig, RoomConfig, Secrets


def summarize(config: Config) -> Iterator[tuple[str, str]]:
    """Label and value of each line, in the order of the file."""
    yield "node", f"{config.node.name}, state in {config.node.state_dir}"
    yield "home", _home(config)
    for room in config.rooms:
        yield "room", f"{_name(room)}: {source_of(room)}"
    yield "window", f"{config.window.length_s:g} s every {config.window.hop_s:g} s"
    voters = config.voters
    awake = [name for name in ("encoder", "transcript", "cnn") if getattr(voters, name).enabled]
    yield "voters", f"{', '.join(awake) or 'none'}; {config.decision.votes_needed} must agree"
    yield "channels", ", ".join(_channels(config)) or "none"
    for number, contact in enumerate(config.alerts.contacts, 1):
        yield "contact", f"{number}. {_contact(contact)}"
    if not config.alerts.contacts:
        yield "contacts", "none"
    yield "clips", _clips(config)
    web = config.web
    yield "dashboard", f"http://{web.host}:{web.port}" if web.enabled else "off"


def warnings_of(config: Config, secrets: Secrets) -> Iterator[str]:
    """What is allowed but will hardly be meant."""
    mqtt = config.mqtt
    if not (mqtt.enabled or config.sms.enabled or config.apprise.enabled):
        yield "no channel is enabled: incidents are recorded, but nobody is told"
    if mqtt.enabled and mqtt.username and secrets.mqtt_password is None:
        yield "mqtt.username is set, but the environment variable HOMEGUARD_MQTT_PASSWORD is not"
    yield from _sms_warnings(config, secrets)
    if config.apprise.enabled and secrets.apprise_urls is None and not config.apprise.urls_file:
        yield "apprise needs the environment variable HOMEGUARD_APPRISE_URLS, or apprise.urls_file"
    if config.web.enabled and not config.web.base_url:
        yield "web.enabled is true, but web.base_url is empty: no message carries a link to it"
    if config.clips.share == "link" and not config.web.base_url:
        yield "clips.share is link, but web.base_url is empty: messages carry no link"


def _sms_warnings(config: Config, secrets: Secrets) -> Iterator[str]:
    sms, contacts = config.sms, config.alerts.contacts
    if not sms.enabled:
        if contacts:
            yield "contacts are named, but sms.enabled is false: they get no text message"
        return
    if not contacts:
        yield "sms.enabled is true, but alerts.contacts is empty: nobody gets a text message"
    if secrets.twilio_auth_token is None:
        yield "sms needs the environment variable HOMEGUARD_TWILIO_AUTH_TOKEN"
    for number, contact in enumerate(contacts):
        if not contact.phone.startswith(sms.countries):
            yield f"alerts.contacts.{number}.phone: its country is not in sms.countries"


def mask(phone: str) -> str:
    """A phone number by its country's first digits and its last four."""
    return f"{phone[:3]}…{phone[-4:]}"


def source_of(room: RoomConfig) -> str:
    """A room's source in words; urls without their password."""
    if room.microphone is not None:
        return f'microphone "{room.microphone}"'
    if room.url is not None:
        scheme, _, rest = room.url.partition("://")
        return f"stream {scheme}://{rest.rpartition('@')[2]}"
    return f"recording {room.file}"


def _name(room: RoomConfig) -> str:
    return f"{room.name} ({room.label})" if room.label else room.name


def _home(config: Config) -> str:
    home = config.home
    place = ", ".join(part for part in (home.name, home.address) if part) or "no name or address"
    return f"{place}; language {home.language}"


def _channels(config: Config) -> Iterator[str]:
    if config.mqtt.enabled:
        secure = "mqtts" if config.mqtt.tls else "mqtt"
        yield f"{secure}://{config.mqtt.host}:{config.mqtt.port}/{config.mqtt.prefix}"
    if config.sms.enabled:
        yield f"sms by {config.sms.base_url}"
    if config.apprise.enabled:
        yield "apprise with recordings" if config.apprise.attach_clip else "apprise"


def _contact(contact: ContactConfig) -> str:
    days = "every day" if len(contact.days) == 7 else " ".join(contact.days)  # noqa: PLR2004 - the number says itself
    name, language = contact.name, contact.language
    return f"{name}, {mask(contact.phone)}, {language}, {days} {contact.hours}"


def _clips(config: Config) -> str:
    clips = config.clips
    if not clips.enabled:
        return "off: no sound is ever written"
    return (
        f"{clips.pre_roll_s:g} s before and up to {clips.max_s:g} s in all, kept "
        f"{clips.keep_days:g} days and {clips.max_mb:g} MB, shared: {clips.share}"
    )
