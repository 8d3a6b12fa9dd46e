"""What people type, made into rooms, contacts and a broker."""

import pytest

from homeguard.cli.answers import broker_of, contact_of, language_of, phone_of, room_of


@pytest.mark.parametrize(
    ("typed", "name", "label"),
    [
        ("거실", "living-room", "거실"),
        ("작은 방", "small-room", "작은 방"),
        ("Living Room", "living-room", "Living Room"),
        ("kitchen", "kitchen", ""),
        ("다락", "room", "다락"),
    ],
)
def test_a_room_gets_a_name_that_topics_take(typed, name, label):
    room = room_of(typed, (), None)
    assert (room.name, room.label, room.microphone) == (name, label, "default")


def test_rooms_of_one_kind_are_numbered():
    assert room_of("다락", ("room", "room-2"), None).name == "room-3"


def test_a_rooms_source_is_a_microphone_or_an_address():
    assert room_of("den = USB: Audio=2", (), "other").microphone == "USB: Audio=2"
    assert room_of("den", (), "other").microphone == "other"
    camera = room_of("den=rtsp://camera/audio", (), "other")
    assert (camera.url, camera.microphone) == ("rtsp://camera/audio", None)
    with pytest.raises(ValueError, match="needs a name"):
        room_of("=USB", (), None)


@pytest.mark.parametrize("typed", ["+82 10-1234-5678", "010-1234-5678", "(010) 1234.5678"])
def test_a_korean_mobile_number_may_be_written_as_in_korea(typed):
    assert phone_of(typed) == "+821012345678"


@pytest.mark.parametrize("typed", ["", "119", "02-123-4567", "+0123456789", "call me"])
def test_other_numbers_need_their_country(typed):
    with pytest.raises(ValueError, match="country code"):
        phone_of(typed)


def test_a_contact_speaks_the_homes_language_unless_said():
    assert contact_of("지은=010-1234-5678", "ko").language == "ko"
    ann = contact_of("Ann = +12025550100, en", "ko")
    assert (ann.name, ann.phone, ann.language) == ("Ann", "+12025550100", "en")
    for wrong in ("지은", "=+821012345678", "Ann=+12025550100,fr"):
        with pytest.raises(ValueError, match="write"):
            contact_of(wrong, "ko")


def test_languages():
    assert language_of(" KO ") == "ko"
    with pytest.raises(ValueError, match="ko or en"):
        language_of("fr")


def test_brokers():
    plain = broker_of("pi.local")
    assert (plain.host, plain.port, plain.tls, plain.username) == ("pi.local", 1883, False, "")
    safe = broker_of("mqtts://hg@pi.local")
    assert (safe.port, safe.tls, safe.username) == (8883, True, "hg")
    assert broker_of("10.0.0.2:1884").port == 1884
    assert not broker_of("none").enabled


@pytest.mark.parametrize(
    "typed", ["", "http://pi", "pi:99999", "mqtt://", "mqtt://a:secret@pi", "pi/path"]
)
def test_what_is_no_broker_is_refused_and_no_password_taken(typed):
    with pytest.raises(ValueError, match=r"write|password|[Pp]ort"):
        broker_of(typed)
