"""AI-Hub's folders: pairs, spans, NFD names, splits, and what a faulty copy is told."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")

from rich.console import Console  # noqa: E402 - after the skip

from homeguard.labels import Category  # noqa: E402 - after the skip
from homeguard.training.aihub import check, print_check, read_aihub  # noqa: E402 - after the skip
from homeguard.training.corpus import CorpusError, open_audio  # noqa: E402 - after the skip

RATE = 44_100
NUMBERS = {category: number for number, category in enumerate(Category, start=1)}

Form = Literal["NFC", "NFD"]


def label_of(stem: str, **changes: Any) -> dict[str, Any]:
    annotation = {
        "audio_id": 1,
        "area": {"start": 0.25, "end": 0.75},
        "categories": {"category_01": "소방", "category_02": "화재", "category_03": "불이야"},
        "note": "불이야",
        "audioType": "음성",
        "gender": "여",
        "generation": "노년",
        "dialect": "경상",
    }
    annotation |= changes
    return {"audio": {"fileName": stem, "duration": 1.0}, "annotations": [annotation]}


class Copy:
    """A copy of the data set that a test writes, names normalised as `form` says."""

    def __init__(self, root: Path, form: Form = "NFC") -> None:
        self.root = root
        self._form = form

    def _folder(self, part: str, kind: str, category: Category, suffix: str) -> Path:
        name = f"[{kind}]{NUMBERS[category]}.{category.info.aihub}{suffix}"
        folder = self.root / part / unicodedata.normalize(self._form, name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def label(
        self, category: Category, number: int, part: str = "Training", **changes: Any
    ) -> Path:
        stem = f"{NUMBERS[category]}.{category.info.aihub}_{number}_"
        name = unicodedata.normalize(self._form, f"{stem}_label.json")
        path = self._folder(part, "라벨", category, "") / name
        path.write_text(json.dumps(label_of(stem, **changes), ensure_ascii=False), "utf-8")
        return path

    def recording(
        self, category: Category, number: int, part: str = "Training", disk: int = 1, s: float = 1.0
    ) -> Path:
        stem = f"{NUMBERS[category]}.{category.info.aihub}_{number}__label.wav"
        folder = self._folder(part, "원천", category, f"_{disk}")
        path = folder / unicodedata.normalize(self._form, stem)
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(s * RATE)) / RATE)
        soundfile.write(path, np.stack([tone, tone], axis=1), RATE)
        return path

    def pair(self, category: Category, number: int, part: str = "Training", **changes: Any) -> None:
        self.label(category, number, part, **changes)
        self.recording(category, number, part)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_label_finds_its_recording_whatever_the_normalisation(tmp_path: Path, form: Form) -> None:
    Copy(tmp_path, form).pair(Category.STORM, 1400)
    (clip,) = read_aihub(tmp_path, val_share=0.0)
    assert clip.category is Category.STORM
    assert clip.split == "train"
    assert clip.transcript == "불이야"
    assert clip.language == "ko"
    assert clip.event == "불이야"
    assert clip.span_s == (0.25, 0.75)
    assert len(open_audio([clip], tmp_path / "cache").samples(clip)) == 8_000


def test_every_class_is_known_by_its_folder(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "NFD")
    for category in Category:
        copy.pair(category, 1)
        copy.pair(category, 2, "Validation")
    survey = check(tmp_path)
    assert survey.is_complete
    assert {clip.category for clip in survey.clips if clip.split == "test"} == set(Category)


def test_the_parts_of_a_class_are_one_class(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    for disk in (1, 2, 3):
        copy.label(Category.INDOOR, disk)
        copy.recording(Category.INDOOR, disk, disk=disk)
    assert len(read_aihub(tmp_path)) == 3


def test_what_indoor_labels_lack_is_no_fault(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    path = copy.label(Category.INDOOR, 7, note="")
    label = json.loads(path.read_text("utf-8"))
    for key in ("gender", "generation", "dialect", "area", "note"):
        del label["annotations"][0][key]
    path.write_text(json.dumps(label), "utf-8")
    copy.recording(Category.INDOOR, 7)
    survey = check(tmp_path)
    assert survey.faults == ()
    assert survey.clips[0].span_s is None
    assert not survey.clips[0].is_speech


def test_validation_is_the_test_split_and_never_learned_from(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.pair(Category.FIRE, 1)
    copy.pair(Category.FIRE, 1, "Validation")  # the same recording again
    copy.pair(Category.FIRE, 2)
    copy.recording(Category.FIRE, 2, "Validation", s=2.0)  # another one of the same name
    copy.label(Category.FIRE, 2, "Validation")
    survey = check(tmp_path, val_share=0.0)
    assert [f.kind for f in survey.faults] == ["also in Validation"]
    assert sorted(clip.split for clip in survey.clips) == ["test", "test", "train"]
    assert len(read_aihub(tmp_path, val_share=0.0)) == 3


def test_val_is_a_share_of_training_by_recording(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    for number in range(40):
        copy.pair(Category.FALL, number)
    splits = [clip.split for clip in read_aihub(tmp_path, val_share=0.5)]
    assert 8 < splits.count("val") < 32
    assert splits == [clip.split for clip in read_aihub(tmp_path, val_share=0.5)]


def test_two_events_of_one_recording_are_two_clips_of_one_group(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    path = copy.label(Category.VIOLENCE, 3)
    label = json.loads(path.read_text("utf-8"))
    second = label["annotations"][0] | {"area": {"start": "0.8", "end": "0.9"}}
    label["annotations"].append(second)
    path.write_text(json.dumps(label), "utf-8")
    copy.recording(Category.VIOLENCE, 3)
    first, last = read_aihub(tmp_path)
    assert first.group == last.group
    assert last.span_s == (0.8, 0.9)


def test_the_noise_set_gives_the_appliance_classes_without_labels(tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    for number, name in enumerate(("세탁기, 건조기", "청소기", "기타소음"), start=1):
        folder = noise / "Training" / "[원천]1.가전소음" / f"{number:02}.{name}"
        folder.mkdir(parents=True)
        soundfile.write(folder / f"noise_{number}.wav", np.full(1_600, 0.1), 16_000)
    (tmp_path / "calls").mkdir()
    clips = read_aihub(tmp_path / "calls", noise)
    assert [clip.category for clip in clips] == [
        Category.APPLIANCE_WASHER_DRYER,
        Category.APPLIANCE_VACUUM,
        Category.APPLIANCE_OTHER,
    ]


def test_every_fault_of_a_copy_is_counted_and_shown(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.pair(Category.FIRE, 1)
    copy.label(Category.FIRE, 2)
    copy.recording(Category.FIRE, 3)
    copy.label(Category.FIRE, 4).write_text("{half a lab", "utf-8")
    copy.recording(Category.FIRE, 5).write_bytes(b"")
    copy.pair(Category.FIRE, 6, area={"start": 9.0, "end": 8.0})
    (tmp_path / "Training" / "[원천]20.외계인_1").mkdir()
    survey = check(tmp_path)
    assert sorted(fault.kind for fault in survey.faults) == [
        "empty recording",
        "event outside its recording",
        "label without recording",
        "recording without label",
        "unknown class",
        "unreadable label",
    ]
    assert len(survey.clips) == 2
    shown = io.StringIO()
    print_check(survey, Console(file=shown, width=160))
    assert "외계인" in shown.getvalue()
    assert "missing in Validation" in shown.getvalue()


def test_a_folder_without_the_data_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected Training"):
        read_aihub(tmp_path)
    with pytest.raises(CorpusError, match="no folder"):
        read_aihub(tmp_path / "nowhere")
