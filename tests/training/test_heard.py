"""Sentences as a transcriber hears them: held out by voice and sentence, decoded once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs the extra train")

from homeguard.text import normalise
from homeguard.training import heard as heard_module
from homeguard.training.heard import HeardOptions, heard
from homeguard.training.sentences import LANGUAGES, SOURCES, sentences, spoken
from homeguard.voting.registry import bundled_dir

TRANSCRIBER = bundled_dir() / "whisper-home"
pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng"),
    pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite"),
    pytest.mark.skipif(not (TRANSCRIBER / "model.bin").is_file(), reason="needs whisper-home"),
]


def test_held_out_sentences_are_heard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = HeardOptions(TRANSCRIBER, tmp_path, held_out=2)
    first = heard(options, "val")
    held_out = {
        normalise(spoken(s.text, language))
        for language in LANGUAGES
        for source in SOURCES
        for s in sentences(language, source=source)
        if s.split == "val"
    }
    assert 0 < len(first) <= 4
    assert {h.said for h in first} <= held_out
    monkeypatch.setattr(heard_module, "render", None)  # would fail if it were asked again
    assert heard(options, "val") == first
    assert set(heard(replace(options, held_out=1), "val")) <= set(first)
