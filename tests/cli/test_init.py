"""init: a config by questions or flags, that check-config takes; nothing half-written."""

import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from homeguard.capture.microphone import Device, list_microphones
from homeguard.cli import interview
from homeguard.cli.app import app
from homeguard.cli.meter import Loudness, Meter
from homeguard.cli.words import WORDS
from homeguard.cli.written import shipped_config
from homeguard.config import Config, load
from tests.fakes import noise

HEARD = Loudness(-60.0, -30.0, clipped=False)


def run(*arguments, typed="", **environment):
    result = CliRunner(env={"LANG": "C.UTF-8", "LC_ALL": "", **environment}).invoke(
        app, [str(argument) for argument in arguments], input=typed
    )
    assert not isinstance(result.exception, (OSError, ValueError)), result.exception
    return result


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOMEGUARD_CONFIG", raising=False)


@pytest.fixture
def microphones(monkeypatch):
    """Two microphones that hear well, and what was listened to."""
    watched = []
    monkeypatch.setattr(
        interview,
        "list_microphones",
        lambda: (Device("USB: Audio", 1, 48_000, "ALSA"), Device("pulse", 32, 44_100, "ALSA")),
    )

    def watch(name, _words):
        watched.append(name)
        return HEARD

    monkeypatch.setattr(interview, "watch", watch)
    return watched


def test_flags_alone_write_a_commented_config_that_check_config_takes(tmp_path):
    done = run(
        *("init", "-y", "--name", "할머니 댁", "--address", "서울 종로구", "--language", "ko"),
        *("--spoken", "ko", "--node", "grandma", "--room", "거실=USB: Audio", "--room", "안방"),
        *("--microphone", "pulse", "--contact", "지은=010-1234-5678"),
        *("--contact", "Ann=+12025550100,en", "--broker", "mqtts://hg@pi.local"),
        *("--sms-account", "AC0", "--sms-sender", "MG0"),
    )
    assert done.exit_code == 0, done.stderr
    config = load(tmp_path / "config.yaml")
    assert (config.node.name, config.home.name, config.home.language) == (
        *("grandma", "할머니 댁", "ko"),
    )
    assert [(r.name, r.label, r.microphone) for r in config.rooms] == [
        ("living-room", "거실", "USB: Audio"),
        ("main-bedroom", "안방", "pulse"),
    ]
    assert [(c.name, c.phone, c.language) for c in config.alerts.contacts] == [
        ("지은", "+821012345678", "ko"),
        ("Ann", "+12025550100", "en"),
    ]
    assert (config.mqtt.host, config.mqtt.tls, config.mqtt.username) == ("pi.local", True, "hg")
    assert (config.sms.enabled, config.voters.transcript.language) == (True, "ko")
    assert run("check-config").exit_code == 0
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    shipped = shipped_config().read_text(encoding="utf-8")
    assert [line for line in shipped.splitlines() if "#" in line and line not in text] == []
    assert "HOMEGUARD_MQTT_PASSWORD" in done.stdout  # what comes next
    assert "homeguard doctor" in done.stdout


def test_no_flags_but_yes_write_the_defaults(tmp_path):
    assert run("init", "-y", "elsewhere/c.yaml").exit_code == 0
    assert load(tmp_path / "elsewhere" / "c.yaml") == Config()


def test_the_environments_language_is_the_default(tmp_path):
    assert "comes next" in run("init", "-y", LANG="en_GB.UTF-8").stdout
    assert load(tmp_path / "config.yaml").home.language == "en"


def test_questions_in_korean_with_a_microphone_listened_to(tmp_path, microphones):
    typed = "ko\n할머니 댁\n\nko\n거실, 안방\n7\n1\n\nUSB: Audio\n2\ny\n지은\n119\n010-1234-5678\n"
    done = run("init", typed=typed + "\n\n\nnone\ny\n")
    assert done.exit_code == 0, done.output
    assert "1에서 2 사이의 번호" in done.stdout  # 7 is none of them
    assert "이미 다른 방이" in done.stdout
    assert "+821012345678 처럼" in done.stdout
    assert microphones == ["USB: Audio", "pulse"]
    config = load(tmp_path / "config.yaml")
    assert [room.microphone for room in config.rooms] == ["USB: Audio", "pulse"]
    assert [contact.name for contact in config.alerts.contacts] == ["지은"]
    assert not config.mqtt.enabled


def test_questions_in_english_ask_only_what_flags_did_not_say(tmp_path, microphones):
    flags = ("--name", "Home", "--address", "Here", "--spoken", "en", "--broker", "pi")
    done = run("init", "--language", "en", *flags, typed="kitchen\nrtsp://cam/a\n\ny\n")
    assert done.exit_code == 0, done.output
    assert "What people call this home" not in done.stdout
    assert load(tmp_path / "config.yaml").rooms[0].url == "rtsp://cam/a"
    assert microphones == []


def test_a_microphone_that_is_not_wanted_is_asked_for_again(tmp_path, microphones):
    flags = ("--name", "H", "--address", "", "--spoken", "en", "--broker", "pi", "--language", "en")
    assert run("init", *flags, typed="den\n1\nn\n2\ny\n\ny\n").exit_code == 0
    assert microphones == ["USB: Audio", "pulse"]
    assert load(tmp_path / "config.yaml").rooms[0].microphone == "pulse"


@pytest.mark.parametrize("typed", ["", "en\nHome\n", "en\nH\n\n\nden\n\n\n\n\nn\n"])
def test_answers_that_end_or_a_no_at_the_end_write_nothing(tmp_path, microphones, typed):
    done = run("init", typed=typed)
    assert done.exit_code == 130
    assert "nothing was written" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_replaced_only_when_told(tmp_path, microphones):
    path = tmp_path / "config.yaml"
    path.write_text("home: {name: mine}\n", encoding="utf-8")
    refused = run("init", "-y")
    assert (refused.exit_code, "--force" in refused.stderr) == (1, True)
    assert run("init", typed="en\nn\n").exit_code == 130
    assert path.read_text(encoding="utf-8") == "home: {name: mine}\n"
    assert run("init", "-y", "--force", "--name", "new").exit_code == 0
    assert load(path).home.name == "new"
    assert load(tmp_path / "config.yaml.old").home.name == "mine"


def test_the_tracked_config_of_a_checkout_is_left_alone_and_ones_own_wins(tmp_path):
    tracked = tmp_path / "config.yaml"
    tracked.symlink_to(shipped_config())
    done = run("init", "-y", "--name", "mine")
    assert (done.exit_code, "config.local.yaml" in done.stdout) == (0, True)
    assert load(tmp_path / "config.local.yaml").home.name == "mine"
    assert tracked.samefile(shipped_config())
    assert "config.local.yaml: valid" in run("check-config").stdout
    assert run("init", "-y").exit_code == 1  # it is there already, and not replaced


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--contact", "지은"), "--contact"),
        (("--broker", "mqtt://a:hush@pi"), "--broker"),
        (("--room", "a", "--room", "b"), "--room"),
        (("--language", "fr"), "--language"),
        (("--node", "My Node"), "node.name"),
        (("--sms-account", "AC0"), "--sms-sender"),
    ],
)
def test_a_wrong_flag_exits_2_names_it_and_writes_nothing(tmp_path, flags, said):
    done = run("init", "-y", *flags)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "hush" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_both_languages_have_the_same_words():
    assert set(WORDS["ko"]) == set(WORDS["en"])


@pytest.mark.parametrize(
    ("loudness", "verdict"),
    [
        (Loudness(-120.0, -120.0, clipped=False), "silent"),
        (Loudness(-60.0, -55.0, clipped=False), "faint"),
        (Loudness(-60.0, -3.0, clipped=True), "clipped"),
        (HEARD, "heard"),
    ],
)
def test_a_microphone_is_judged_by_how_a_voice_stands_out(loudness, verdict):
    assert loudness.verdict == verdict


def test_the_meter_tells_quiet_from_loud():
    meter = Meter()
    assert meter.add(np.zeros(1536, np.float32)) == -120.0
    for amplitude in (0.001, 0.001, 0.1, 0.1):
        meter.add(np.full(1536, amplitude, np.float32))
    loudness = meter.loudness()
    assert loudness.loud_dbfs == pytest.approx(-20.0)
    assert loudness.quiet_dbfs < -60.0
    assert Meter().loudness().verdict == "silent"


def interrupted(process: subprocess.Popen[bytes]) -> bytes:
    """What a process says when it is interrupted, as often as it takes a few seconds."""
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=6)[1]
        except subprocess.TimeoutExpired:
            # A signal between readline's prompt and its waiting for a key is lost: press it again.
            continue
    process.kill()
    return process.communicate()[1]


def test_ctrl_c_at_a_terminal_writes_nothing(tmp_path):
    # Tests that run in the background of a shell ignore it, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "homeguard", "init"],
        stdin=child,
        stdout=child,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    os.close(child)
    seen = b""
    ends = time.monotonic() + 60
    while b"[ko]" not in seen and b"[en]" not in seen and time.monotonic() < ends:
        seen += os.read(parent, 1024)
    said = interrupted(process)
    os.close(parent)
    assert (process.returncode, b"nothing was written" in said) == (130, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.microphone
def test_a_real_microphone_is_watched_while_somebody_speaks(
    tmp_path, virtual_microphone, monkeypatch
):
    list_microphones()  # PortAudio may have looked around before the microphone was there
    monkeypatch.setattr("homeguard.cli.meter.watch.__defaults__", (2.0,))
    sound = np.concatenate([noise(0.5, 0.001), noise(0.5, 0.1)] * 20)
    soundfile.write(tmp_path / "voice.wav", sound, 48_000)
    flags = ("--name", "H", "--address", "", "--spoken", "en", "--broker", "pi", "--language", "en")
    player = virtual_microphone.play(tmp_path / "voice.wav")
    try:
        done = run("init", *flags, typed="den\nvmic\ny\n\ny\n")
    finally:
        player.kill()
        player.wait()
    assert done.exit_code == 0, done.output
    assert "It hears you" in done.stdout
    assert load(tmp_path / "config.yaml").rooms[0].microphone == "vmic"
