"""The report: one HTML file with the sound, the pictures, the votes and the words in it.

It asks for nothing from outside: no script, no font, no image but its own.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from homeguard.config import Language
from homeguard.domain import Decision, Float32, Vote, VoteReason
from homeguard.explain.words import Reading
from homeguard.mel import SAMPLE_RATE

Key = Literal[
    "title", "window", "decision", "votes", "voter", "says", "probability", "category", "why",
    "emergency", "normal", "abstains", "heard", "whole", "cnn", "encoder", "transcript", "words",
    "kept_spectrum", "kept_time", "energy", "hot", "decided", "phrase", "share", "nothing",
    "speech", "timing_aligned", "timing_by_length", "lexicon", "classifier", "note",
]  # fmt: skip

_TEXTS: dict[Language, dict[Key, str]] = {
    "en": {
        "title": "Why this decision",
        "window": "Window",
        "decision": "Decision",
        "votes": "The three votes",
        "voter": "voter",
        "says": "says",
        "probability": "probability",
        "category": "category",
        "why": "why",
        "emergency": "emergency",
        "normal": "no emergency",
        "abstains": "abstains",
        "heard": "Hear it",
        "whole": "the whole window",
        "cnn": "What the CNN looked at",
        "encoder": "When the encoder heard it",
        "transcript": "Which words decided",
        "words": "words",
        "kept_spectrum": "only what the CNN's Grad-CAM keeps, by frequency and time",
        "kept_time": "louder where the CNN's heat is, by time",
        "energy": "energy kept {kept:.0%}, dropped {dropped:.0%}; the CNN's probability of the "
        "category for this sound alone: {probability:.2f}",
        "hot": "Red speaks for {category}, blue against it.",
        "decided": "Decided by the {judge}: {why}.",
        "phrase": "like “{phrase}”, confidence {confidence:.2f}",
        "share": "score of the text classifier by word; probability {probability:.2f}",
        "nothing": "No words were made out in this window.",
        "speech": "Of the heat ({method}), {heat:.0%} lies in speech, which is {time:.0%} of the "
        "time.",
        "timing_aligned": "times by the decoder's attention",
        "timing_by_length": "times in proportion to the words' length",
        "lexicon": "lexicon",
        "classifier": "text classifier",
        "note": "A heat map shows what a model used, not whether it was right to.",
    },
    "ko": {
        "title": "이렇게 판단한 까닭",
        "window": "구간",
        "decision": "판단",
        "votes": "세 판정기의 의견",
        "voter": "판정기",
        "says": "의견",
        "probability": "확률",
        "category": "종류",
        "why": "까닭",
        "emergency": "위급",
        "normal": "위급 아님",
        "abstains": "기권",
        "heard": "들어 보기",
        "whole": "구간 전체",
        "cnn": "CNN이 본 곳",
        "encoder": "인코더가 들은 때",
        "transcript": "판단을 가른 말",
        "words": "말",
        "kept_spectrum": "CNN의 Grad-CAM이 남긴 소리(주파수와 시간)",
        "kept_time": "CNN의 열이 높은 때를 크게 한 소리(시간)",
        "energy": "남긴 에너지 {kept:.0%}, 버린 에너지 {dropped:.0%}; 이 소리만 들려주었을 때 "
        "CNN이 매긴 이 종류의 확률 {probability:.2f}",
        "hot": "빨강은 {category}(이)라는 근거, 파랑은 반대 근거입니다.",
        "decided": "{judge}이(가) 정했습니다: {why}.",
        "phrase": "“{phrase}”와 비슷함, 확신 {confidence:.2f}",
        "share": "말마다 문장 분류기가 매긴 점수; 확률 {probability:.2f}",
        "nothing": "이 구간에서는 알아들은 말이 없습니다.",
        "speech": "열({method})의 {heat:.0%}가 말소리에 있고, 말소리는 시간의 {time:.0%}입니다.",
        "timing_aligned": "시각은 디코더의 주의에서",
        "timing_by_length": "시각은 말의 길이에 비례하여",
        "lexicon": "위급어 사전",
        "classifier": "문장 분류기",
        "note": "열지도는 모델이 무엇을 근거로 삼았는지 보일 뿐, 옳았는지는 말하지 않습니다.",
    },
}
_REASONS_KO = {
    VoteReason.NO_SPEECH: "말소리 없음",
    VoteReason.UNSURE: "확실하지 않음",
    VoteReason.SKIPPED: "물어볼 필요 없음",
}
_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:1rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
img{max-width:100%;background:#fff}figure{margin:1rem 0}audio{width:100%;max-width:30rem}
.yes{color:#c8102e;font-weight:bold}.no{color:#2166ac}.none{color:#777}
.word{display:inline-block;padding:.1rem .35rem;margin:.1rem;border-radius:.3rem}
.phrase{outline:2px solid #c8102e}small{color:#777;display:block}
"""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A sound of the report; `energy` is None for the whole window."""

    name: Literal["whole", "kept_spectrum", "kept_time"]
    samples: Float32
    energy: dict[str, float] | None = None  # kept, dropped, probability


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture of the report under its heading, with lines below it."""

    heading: Literal["cnn", "encoder"]
    png: Path
    category: str
    speech: dict[str, dict[str, float]] | None = None  # by method: heat, time


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All that the page shows."""

    name: str
    decision: Decision
    sounds: Sequence[Sound]
    pictures: Sequence[Picture]
    reading: Reading | None
    reads: bool  # whether the transcript was asked about


def write_page(out: Path, report: Report, language: Language) -> None:
    """Write the report as one file."""
    out.write_text("".join(_page(report, language)), encoding="utf-8")


def _page(report: Report, language: Language) -> Iterator[str]:
    text = _TEXTS[language]
    decision = report.decision
    title = f"{text['title']}: {html.escape(report.name)}"
    yield (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
    )
    says = text["emergency"] if decision.emergency else text["normal"]
    name = f" – {decision.category.name_in(language)}" if decision.category else ""
    yield (
        f"<p>{text['window']} {decision.start_s:.1f}–{decision.end_s:.1f} s · "
        f'{text["decision"]}: <span class="{"yes" if decision.emergency else "no"}">{says}</span>'
        f"{html.escape(name)}</p>"
    )
    yield from _votes(decision.votes, text, language)
    yield f"<h2>{text['heard']}</h2>"
    for sound in report.sounds:
        yield from _sound(sound, text)
    for picture in report.pictures:
        yield from _picture(picture, text)
    if report.reads:
        yield f"<h2>{text['transcript']}</h2>"
        yield from _words(report.reading, text)
    yield f"<p><small>{text['note']}</small></p></html>\n"


def _votes(votes: Sequence[Vote], text: dict[Key, str], language: Language) -> Iterator[str]:
    heads = "".join(
        f"<th>{text[key]}</th>" for key in ("voter", "says", "probability", "category", "why")
    )
    yield f"<h2>{text['votes']}</h2><table><tr>{heads}</tr>"
    for vote in votes:
        style, says = {
            True: ("yes", text["emergency"]),
            False: ("no", text["normal"]),
            None: ("none", text["abstains"]),
        }[vote.emergency]
        reason = "" if vote.reason is VoteReason.HEARD else vote.reason.value
        if language == "ko":
            reason = _REASONS_KO.get(vote.reason, reason)
        why = " · ".join(part for part in (reason, vote.transcript, vote.detail) if part)
        probability = "" if vote.probability is None else f"{vote.probability:.2f}"
        category = vote.category.name_in(language) if vote.category else ""
        cells = (vote.voter, f'<span class="{style}">{says}</span>', probability, category)
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        yield f"<tr>{row}<td>{html.escape(why)}</td></tr>"
    yield "</table>"


def _sound(sound: Sound, text: dict[Key, str]) -> Iterator[str]:
    data = base64.b64encode(_flac(sound.samples)).decode()
    yield f"<figure><figcaption>{text[sound.name]}"
    if sound.energy:
        yield f"<small>{text['energy'].format(**sound.energy)}</small>"
    yield f'</figcaption><audio controls src="data:audio/flac;base64,{data}"></audio></figure>'


def _picture(picture: Picture, text: dict[Key, str]) -> Iterator[str]:
    data = base64.b64encode(picture.png.read_bytes()).decode()
    heading = text[picture.heading]
    yield f'<h2>{heading}</h2><figure><img alt="{heading}" src="data:image/png;base64,{data}">'
    yield f"<figcaption>{html.escape(text['hot'].format(category=picture.category))}"
    for method, shares in (picture.speech or {}).items():
        yield f"<small>{text['speech'].format(method=method, **shares)}</small>"
    yield "</figcaption></figure>"


def _words(reading: Reading | None, text: dict[Key, str]) -> Iterator[str]:
    if reading is None or not reading.words:
        yield f"<p>{text['nothing']}</p>"
        return
    largest = max(abs(word.share) for word in reading.words) or 1.0
    yield "<p>"
    for word in reading.words:
        strength = word.share / largest
        red, blue = (200, 16, 46), (33, 102, 172)
        colour = ",".join(map(str, red if strength > 0 else blue))
        phrase = " phrase" if word.phrase else ""
        yield (
            f'<span class="word{phrase}" style="background:rgba({colour},{abs(strength) * 0.6:.2f})'
            f'" title="{word.share:+.2f}">{html.escape(word.text)}'
            f"<small>{word.span.start_s:.1f}–{word.span.end_s:.1f} s</small></span>"
        )
    aligned = reading.timing == "aligned"
    yield f"<small>{text['timing_aligned' if aligned else 'timing_by_length']}</small></p>"
    parts = []
    if reading.finding:
        parts.append(
            text["phrase"].format(
                phrase=reading.finding.phrase, confidence=reading.finding.confidence
            )
        )
    if reading.probability is not None:
        parts.append(text["share"].format(probability=reading.probability))
    why = html.escape("; ".join(parts))
    judge = text["lexicon" if reading.judge == "lexicon" else "classifier"]
    yield f"<p>{text['decided'].format(judge=judge, why=why)}</p>"


def _flac(samples: Float32) -> bytes:
    buffer = io.BytesIO()
    sound = np.clip(samples, -1.0, 1.0)
    soundfile.write(buffer, sound, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
