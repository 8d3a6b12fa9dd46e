"""The report: one file that asks for nothing outside, in both languages."""

import re

import numpy as np
import pytest

from homeguard.domain import Decision, Reason, Span, Vote, VoteReason
from homeguard.explain import page
from homeguard.explain.page import Picture, Report, Sound, write_page
from homeguard.explain.words import Reading, Word
from homeguard.labels import Category
from tests.fakes import tone

PNG = bytes.fromhex("89504e470d0a1a0a")


@pytest.fixture
def report(tmp_path):
    (tmp_path / "cnn.png").write_bytes(PNG)
    votes = (
        Vote("cnn", emergency=True, probability=0.9, category=Category.FIRE),
        Vote("encoder", emergency=False, probability=0.1, category=Category.INDOOR),
        Vote("transcript", emergency=None, reason=VoteReason.UNSURE, transcript="<b>불이야</b>"),
    )
    words = (Word("불이야", Span(1.0, 2.0), phrase=True, share=2.0),)
    return Report(
        "불 <1>.wav",
        Decision("den", 0.0, 5.0, active=True, emergency=True, category=Category.FIRE,
                 probability=0.9, reason=Reason.AGREED, votes=votes),
        [
            Sound("whole", tone(1.0)),
            Sound("kept_time", np.zeros(16_000, np.float32),
                  {"kept": 0.5, "dropped": 0.2, "probability": 0.8}),
        ],
        [Picture("cnn", tmp_path / "cnn.png", "fire", {"occlusion": {"heat": 0.5, "time": 0.2}})],
        Reading(words, "by length", None, 0.9, "fire"),
        reads=True,
    )  # fmt: skip


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_holds_all_it_needs(report, tmp_path, language):
    out = tmp_path / "out.html"
    write_page(out, report, language)
    text = out.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^"\s>)]*)', text)
    assert len(sources) == 3
    assert all(source.startswith("data:") for source in sources)
    assert "http" not in text
    assert Category.FIRE.name_in(language) in text
    assert "불이야" in text


def test_what_was_said_and_file_names_are_no_markup(report, tmp_path):
    write_page(tmp_path / "out.html", report, "en")
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<b>불이야" not in text
    assert "불 <1>" not in text


def test_both_languages_say_the_same_things():
    english, korean = page._TEXTS["en"], page._TEXTS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"\{(\w+)", text)) == sorted(re.findall(r"\{(\w+)", korean[key]))
