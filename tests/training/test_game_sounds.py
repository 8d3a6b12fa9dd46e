"""Game sounds: which file is which sound, what is cut from them, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("scipy")

from homeguard.labels import Category  # noqa: E402 - after the skip
from homeguard.training.corpus import CorpusError, decode, read_manifest  # noqa: E402
from homeguard.training.game_sounds import (  # noqa: E402 - after the skip
    classify,
    fetch,
    gather,
    held_out,
    rules,
)


def write_noise(path: Path, seconds: float, rate: int = 22_050, level: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(int(seconds * 100)).standard_normal(int(seconds * rate))
    soundfile.write(path, level * samples / np.abs(samples).max(), rate)


@pytest.mark.parametrize(
    ("package", "path", "category"),
    [
        ("ufoai-sound", "sound/civilians/civfemscream01a.ogg", Category.HELP_REQUEST),
        ("ufoai-sound", "sound/misc/breakglass03.ogg", Category.THEFT),
        ("ufoai-sound", "sound/footsteps/hitground2.ogg", Category.FALL),
        ("ufoai-sound", "sound/footsteps/wood1.ogg", Category.INDOOR),
        ("wesnoth-1.16-data", "sounds/human-female-die-1.ogg", Category.VIOLENCE),
        ("openarena-081-players", "player/ayumi/pain25_1.wav", Category.VIOLENCE),
        ("openarena-081-players", "player/skelebot/pain25_1.wav", None),
        ("wesnoth-1.16-data", "sounds/magic-holy-1.ogg", None),
        ("0ad-data", "audio/actor/human/death/male_death_10.ogg", Category.VIOLENCE),
        ("0ad-data", "audio/attack/impact/arrow_wood_11.ogg", Category.INDOOR),
        ("flare-game", "soundfx/female_die.ogg", Category.VIOLENCE),
        ("flare-game", "soundfx/enemies/goblin_die.ogg", None),
        ("ardentryst", "Sounds/NYX/NYX_JUMP1.ogg", Category.INDOOR),
        ("sonic-pi-samples", "samples/loop_amen.flac", Category.INDOOR),
        ("sonic-pi-samples", "samples/bd_808.flac", None),
    ],
)
def test_the_first_rule_that_matches_decides(
    package: str, path: str, category: Category | None
) -> None:
    clip = classify(package, Path(path))
    assert (clip.rule.category if clip else None) is category


def test_every_package_teaches_ordinary_sounds_or_emergencies_that_exist() -> None:
    assert all(any(rule.category for rule in lines) for lines in rules().values())


def test_sounds_become_clips_of_train_beside_another_manifest(tmp_path: Path) -> None:
    sounds = tmp_path / "packages" / "ufoai-sound" / "sound"
    write_noise(sounds / "soldiers" / "maledeath01.wav", 1.0)
    write_noise(sounds / "soldiers" / "maledeath02.wav", 1.2)
    write_noise(sounds / "ambience" / "disco.wav", 25.0)
    write_noise(sounds / "ui" / "click1.wav", 1.0, level=0.0)
    write_noise(tmp_path / "own" / "kettle.wav", 1.1)
    beside = tmp_path / "own" / "manifest.csv"
    beside.write_text("path,category,split\nkettle.wav,appliance_other,test\n", encoding="utf-8")

    clips = read_manifest(gather(tmp_path / "packages", tmp_path / "games", beside))

    deaths = [clip for clip in clips if clip.event == "death_cry"]
    assert len(deaths) == 2
    assert len({clip.group for clip in deaths}) == 1, "one actor's cries stay together"
    assert all(clip.split == "train" and clip.licence == "free" for clip in deaths)
    music = [clip for clip in clips if clip.event == "music"]
    assert [len(decode(clip.path)) / 16_000 for clip in music] == pytest.approx([10, 10], abs=0.05)
    assert not [clip for clip in clips if clip.event == "interface"], "silence is no sound"
    assert [clip.category for clip in clips if clip.split == "test"] == [Category.APPLIANCE_OTHER]


def test_an_announcer_is_one_voice_and_not_a_thousand_sounds(tmp_path: Path) -> None:
    said = tmp_path / "packages" / "asterisk-core-sounds-en-wav" / "sounds" / "en"
    for number in range(70):
        write_noise(said / f"word{number:02}.wav", 0.5 + number / 100)
    clips = read_manifest(gather(tmp_path / "packages", tmp_path / "games"))
    assert len(clips) == 60
    assert len({clip.group for clip in clips}) == 1


def test_a_held_out_package_is_of_val(tmp_path: Path) -> None:
    write_noise(tmp_path / "packages" / "klettres-data" / "en" / "syllab" / "go.wav", 1.0)
    learned = gather(tmp_path / "packages", tmp_path / "games")
    assert read_manifest(learned) == ()
    (clip,) = read_manifest(learned.with_name("scenes.csv"))
    assert (clip.split, clip.event) == ("val", "speech")
    assert held_out() < set(rules())


def test_equal_files_are_cut_once(tmp_path: Path) -> None:
    sounds = tmp_path / "packages" / "ufoai-sound" / "sound" / "doors"
    write_noise(sounds / "door1-open.wav", 1.0)
    write_noise(sounds / "door2-open.wav", 1.0)
    assert len(read_manifest(gather(tmp_path / "packages", tmp_path / "games"))) == 1


def test_a_copy_of_a_held_out_recording_is_left_out(tmp_path: Path) -> None:
    sounds = tmp_path / "packages" / "ufoai-sound" / "sound" / "soldiers"
    write_noise(sounds / "maledeath01.wav", 3.0)
    write_noise(sounds / "maledeath02.wav", 3.5)
    own = tmp_path / "own"
    write_noise(own / "known.wav", 3.0)
    copied, rate = soundfile.read(own / "known.wav")
    soundfile.write(own / "known.wav", 0.2 * copied[rate // 2 :], rate)  # cut and quieter
    (own / "manifest.csv").write_text("path,category,split\nknown.wav,violence,test\n")

    clips = read_manifest(gather(tmp_path / "packages", tmp_path / "games", own / "manifest.csv"))

    assert [clip.path.name.split("-")[2] for clip in clips if clip.split == "train"] == [
        "maledeath02"
    ]


def test_a_wrong_manifest_beside_is_named(tmp_path: Path) -> None:
    write_noise(tmp_path / "packages" / "ufoai-sound" / "sound" / "ui" / "a.wav", 1.0)
    (tmp_path / "own.csv").write_text("file,kind\nx.wav,fire\n")
    with pytest.raises(CorpusError, match="column path, category, split is missing"):
        gather(tmp_path / "packages", tmp_path / "games", tmp_path / "own.csv")


def test_a_folder_without_packages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no sound of a known package"):
        gather(tmp_path, tmp_path / "games")


def test_without_debian_the_error_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match="where apt-get is"):
        fetch(tmp_path / "packages", ["ufoai-sound"])


def test_a_package_that_cannot_be_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "apt-get"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
    tool.chmod(0o755)
    (tmp_path / "bin" / "dpkg-deb").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    with pytest.raises(CorpusError, match="ufoai-sound cannot be fetched: E: Unable to locate"):
        fetch(tmp_path / "packages", ["ufoai-sound"])
    assert not (tmp_path / "packages" / "ufoai-sound").exists()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="Debian's tools")
def test_a_package_is_unpacked_with_the_sounds_of_its_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "build"
    write_noise(tmp_path / "x.wav", 1.0)
    (inside / "DEBIAN").mkdir(parents=True)
    (inside / "DEBIAN" / "control").write_text(
        "Package: ufoai-sound\nVersion: 1\nArchitecture: all\nMaintainer: a test\nDescription: x\n"
    )
    (inside / "usr").mkdir()
    with zipfile.ZipFile(inside / "usr" / "0snd.pk3", "w") as packed:
        packed.write(tmp_path / "x.wav", "sound/soldiers/malehurt01.wav")
        packed.writestr("models/soldier.md2", "no sound")
    deb = tmp_path / "ufoai-sound_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", inside, deb], check=True, capture_output=True)
    tool = tmp_path / "bin" / "apt-get"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncp {deb} .\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")

    (folder,) = fetch(tmp_path / "packages", ["ufoai-sound"])

    assert not list(folder.rglob("*.md2"))
    (clip,) = read_manifest(gather(tmp_path / "packages", tmp_path / "games"))
    assert clip.event == "pain_cry"


def test_the_command_says_in_one_line_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from homeguard.training.train_command import main  # noqa: PLC0415 - needs the lab's typer app

    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["game-sounds", "--out", str(tmp_path), "--packages", str(tmp_path / "p")]
    assert main(arguments) == 2
    assert "run this where apt-get is" in " ".join(capsys.readouterr().err.split())
