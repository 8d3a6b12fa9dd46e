"""Links open one incident to one contact for a day; all others open nothing."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from homeguard.alerting.channels import make_channels, make_links
from homeguard.alerting.links import LinkError, Links, Pass, load_key
from homeguard.alerting.message import segments
from homeguard.alerting.outbox import Outbox
from homeguard.config import Secrets
from homeguard.demo.gateway import Gateway
from homeguard.domain import Contact, HomeGuardError
from tests.alerting.cases import SteppedClock, a_config, an_incident, new
from tests.parts.twilio import TOKEN, sms_config

KIM = Contact("김철수", "+821011112222")
LEE = Contact("Lee", "+821033334444", "en")
INCIDENT = "a1b2c3d4e5f60718"
KEY = bytes(range(32))


def links(clock: SteppedClock | None = None, key: bytes = KEY, *contacts: Contact) -> Links:
    everybody = contacts or (KIM, LEE)
    return Links(key, "https://home.example.org/", everybody, clock or SteppedClock())


def token(made: Links, contact: Contact = KIM) -> str:
    url = made.url(INCIDENT, contact)
    assert url is not None
    return url.rpartition("/")[2]


def test_a_link_opens_its_incident_to_its_recipient() -> None:
    made = links()
    assert made.read(token(made)) == Pass(INCIDENT, KIM)
    assert made.read(token(made, LEE)) == Pass(INCIDENT, LEE)


def test_a_link_is_short_and_holds_no_number() -> None:
    url = links().url(INCIDENT, KIM)
    assert url is not None
    assert url.startswith("https://home.example.org/i/")
    assert segments(url) == 1
    assert len(url) < 72
    assert "1011112222" not in url


def test_a_link_ends_after_a_day() -> None:
    clock = SteppedClock()
    made = links(clock)
    old = token(made)
    clock.step(24 * 3600)
    made.read(old)
    clock.step(1)
    with pytest.raises(LinkError, match="expired"):
        made.read(old)


def test_one_letter_changed_opens_nothing() -> None:
    made = links()
    good = token(made)
    for place in range(42):  # the last letter holds two bits that mean nothing
        other = "A" if good[place] != "A" else "B"
        with pytest.raises(LinkError, match="forged"):
            made.read(good[:place] + other + good[place + 1 :])


def test_a_link_of_another_home_opens_nothing() -> None:
    foreign = token(links(key=bytes(32)))
    with pytest.raises(LinkError, match="forged"):
        links().read(foreign)


def test_a_contact_who_was_taken_out_gets_in_no_more() -> None:
    old = token(links())
    with pytest.raises(LinkError, match="no contact any more"):
        links(None, KEY, LEE).read(old)


def test_nobody_else_is_given_a_link() -> None:
    assert links().url(INCIDENT, Contact("x", "+19999999999")) is None
    assert links().url("no hex", KIM) is None


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 42, "A" * 44, "é" * 43, "../" * 14 + "x", "=" * 43]
)
def test_what_has_not_the_form_of_a_link_is_refused(text: str) -> None:
    with pytest.raises(LinkError):
        links().read(text)


def test_the_mac_covers_every_byte() -> None:
    made = links()
    raw = bytearray(base64.urlsafe_b64decode(token(made) + "="))
    for place in range(len(raw)):
        raw[place] ^= 1
        with pytest.raises(LinkError, match="forged"):
            made.read(base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode())
        raw[place] ^= 1


def test_the_key_is_made_once_and_readable_by_us_alone(tmp_path: Path) -> None:
    key = load_key(tmp_path)
    assert len(key) == 32
    assert load_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "link.key").stat().st_mode) == 0o600


def test_a_damaged_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "link.key").write_bytes(b"short")
    with pytest.raises(HomeGuardError, match="holds no key"):
        load_key(tmp_path)


def test_a_text_ends_with_the_link_where_the_page_is_on(tmp_path: Path, gateway: Gateway) -> None:
    sms = sms_config(gateway).model_dump()
    contacts = [{"name": KIM.name, "phone": KIM.address}]
    web = {"enabled": True, "base_url": "https://home.example.org"}
    config = a_config(
        sms=sms,
        alerts={"contacts": contacts},
        web=web,
        mqtt={"enabled": False},
        node={"state_dir": tmp_path},
    )
    clock = SteppedClock()
    outbox = Outbox(tmp_path, clock)
    made = make_links(config, clock)
    assert made is not None
    held = Secrets(mqtt_password=None, twilio_auth_token=SecretStr(TOKEN))
    (channel,) = make_channels(config, held, None, outbox, clock, made)
    channel.send(new(an_incident()), KIM)
    body = gateway.messages[0].body
    assert body.startswith("[긴급] 화재 거실")
    assert made.read(body.rpartition("/")[2]) == Pass(INCIDENT, KIM)
    outbox.close()


@pytest.mark.parametrize(
    "web", [{"enabled": False, "base_url": "https://x.org"}, {"enabled": True}]
)
def test_no_page_no_link(tmp_path: Path, web: dict[str, object]) -> None:
    config = a_config(web=web, node={"state_dir": tmp_path})
    assert make_links(config, SteppedClock()) is None
    assert not (tmp_path / "link.key").exists()
