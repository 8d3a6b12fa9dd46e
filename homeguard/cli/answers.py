"""What a person types, made into parts of the config; wrong answers raise ValueError."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import ValidationError

from homeguard.capture.microphone import DEFAULT
from homeguard.config import SLUG, ContactConfig, Language, MqttConfig, RoomConfig

# Names for MQTT topics, which take Latin letters only.
ROOM_NAMES = {
    "거실": "living-room",
    "안방": "main-bedroom",
    "침실": "bedroom",
    "방": "room",
    "작은방": "small-room",
    "아이방": "kids-room",
    "부엌": "kitchen",
    "주방": "kitchen",
    "화장실": "bathroom",
    "욕실": "bathroom",
    "현관": "entrance",
    "서재": "study",
    "베란다": "balcony",
    "복도": "hall",
}
NO_BROKER = "none"
LANGUAGES: tuple[Language, ...] = ("ko", "en")

# A Korean mobile number as it is said in Korea, such as 010-1234-5678.
_KOREAN_MOBILE = re.compile(r"01[016789]\d{7,8}")
_SEPARATORS = re.compile(r"[\s().-]")


def room_of(text: str, taken: tuple[str, ...], microphone: str | None) -> RoomConfig:
    """A room from "거실" or "거실=SOURCE"; `taken` are the names that others have.

    SOURCE is a microphone's name or a stream's address; without one it is `microphone`.
    """
    label, _, source = (part.strip() for part in text.partition("="))
    source = source or microphone or DEFAULT
    name = _name_of(label, taken)
    shown = "" if label == name else label
    if "://" in source:
        return RoomConfig(name=name, label=shown, url=source)
    return RoomConfig(name=name, label=shown, microphone=source)


def _name_of(label: str, taken: tuple[str, ...]) -> str:
    """A name for topics: the label if it can be, its translation, or a number."""
    if not label:
        message = "a room needs a name"
        raise ValueError(message)
    latin = re.sub(r"[\s_]+", "-", label.lower())
    base = ROOM_NAMES.get(label.replace(" ", ""), latin)
    if not SLUG.fullmatch(base):
        base = "room"
    numbered = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in numbered if name not in taken)


def contact_of(text: str, language: Language) -> ContactConfig:
    """A contact from "NAME=PHONE" or "NAME=PHONE,LANGUAGE"."""
    name, _, rest = (part.strip() for part in text.partition("="))
    phone, _, spoken = (part.strip() for part in rest.partition(","))
    if not name or not phone:
        message = "write it as NAME=PHONE or NAME=PHONE,LANGUAGE"
        raise ValueError(message)
    return ContactConfig(name=name, phone=phone_of(phone), language=language_of(spoken or language))


def phone_of(text: str) -> str:
    """A number as +821012345678; Korean mobile numbers may be written as in Korea."""
    digits = _SEPARATORS.sub("", text)
    if _KOREAN_MOBILE.fullmatch(digits):
        digits = f"+82{digits[1:]}"
    try:
        return ContactConfig(name="-", phone=digits).phone
    except ValidationError as exc:
        message = f"{text!r}: write the number with + and country code, such as +821012345678"
        raise ValueError(message) from exc


def language_of(text: str) -> Language:
    """The language ko or en."""
    for language in LANGUAGES:
        if text.strip().lower() == language:
            return language
    message = f"{text!r}: write ko or en"
    raise ValueError(message)


def broker_of(text: str) -> MqttConfig:
    """A broker from HOST, HOST:PORT, mqtt://USER@HOST:PORT, mqtts://... (TLS), or none."""
    if text.strip().lower() == NO_BROKER:
        return MqttConfig(enabled=False)
    address = urlsplit(text.strip() if "://" in text else f"mqtt://{text.strip()}")
    if address.password is not None:
        message = "a password never stands in the config: HOMEGUARD_MQTT_PASSWORD holds it"
        raise ValueError(message)
    if address.scheme not in {"mqtt", "mqtts"} or not address.hostname or address.path.strip("/"):
        message = f"{text!r}: write HOST, HOST:PORT, mqtts://USER@HOST:PORT, or none"
        raise ValueError(message)
    tls = address.scheme == "mqtts"
    return MqttConfig(
        host=address.hostname,
        port=address.port or (8883 if tls else 1883),
        tls=tls,
        username=address.username or "",
    )
