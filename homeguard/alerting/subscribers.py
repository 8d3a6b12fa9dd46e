"""Who is told by Apprise: one recipient a url, known to the database without its secrets."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from pydantic import SecretStr

from homeguard.config import Config, ConfigError, Secrets
from homeguard.domain import Contact

VARIABLE = "HOMEGUARD_APPRISE_URLS"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A url and how messages and records call it: `ntfy`, or `ntfy 2` for the second of its kind.

    The contact's address is a fingerprint of the url, for a url holds passwords.
    """

    contact: Contact
    url: SecretStr


def subscribers_of(config: Config, secrets: Secrets) -> tuple[Subscriber, ...]:
    """One for each url, of the secret or else of `apprise.urls_file`; none where Apprise is off.

    Raises ConfigError for a file that cannot be read.
    """
    if not config.apprise.enabled:
        return ()
    seen: Counter[str] = Counter()
    found = []
    for url in dict.fromkeys(_urls(config, secrets).split()):
        kind = url.partition("://")[0].lower() if "://" in url else "url"
        seen[kind] += 1
        name = kind if seen[kind] == 1 else f"{kind} {seen[kind]}"
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        contact = Contact(name, f"{kind}/{digest}", config.home.language)
        found.append(Subscriber(contact, SecretStr(url)))
    return tuple(found)


def _urls(config: Config, secrets: Secrets) -> str:
    if secrets.apprise_urls is not None:
        return secrets.apprise_urls.get_secret_value()
    if config.apprise.urls_file is None:
        return ""
    try:
        lines = config.apprise.urls_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        source, fault = "config", f"apprise.urls_file: cannot be read: {exc}"
        raise ConfigError(source, [fault]) from exc
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))
