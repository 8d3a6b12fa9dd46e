"""Speech is decoded once, when it is over or about to leave; its vote serves every window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from homeguard.config import TranscriptConfig, WindowConfig
from homeguard.domain import Span, VoteReason, Window
from homeguard.labels import Category
from homeguard.voting.features import Extractor
from homeguard.voting.lexicon import Lexicon
from homeguard.voting.transcript import TranscriptVoter
from homeguard.voting.whisper import Decoded, Whisper
from tests.fakes import noise

LEXICON = Lexicon.load()


@dataclass
class Sound:
    array: np.ndarray
    storage: object


class Scribe(Whisper):
    """Writes down what it is told to, and remembers what it was given."""

    n_mels, max_frames = 80, 500

    def __init__(self, *texts, mean_logprob=-0.2):
        self.texts = list(texts)
        self.mean_logprob = mean_logprob
        self.shared = self.own = self.decoded = 0
        self.heard = []

    def encode(self, mel):
        self.shared += 1
        return Sound(mel.T[::2], "shared")

    def hear(self, samples):
        self.own += 1
        self.heard.append(samples)
        return Sound(np.zeros((250, 4), np.float32), "own")

    def decode(self, encoding, language="auto", *, beam_size=1, max_tokens=96):
        self.decoded += 1
        text = self.texts.pop(0) if self.texts else "밥 먹자"
        return Decoded(text, "ko", tuple(text.encode()), self.mean_logprob, 0.05)


def voter(scribe, *, shares=True, window=None, classifier=None, **config):
    return TranscriptVoter(
        scribe,
        LEXICON,
        classifier,
        TranscriptConfig.model_validate(config),
        WindowConfig.model_validate(window or {}),
        shares_encoding=shares,
    )


def features(scribe, start_s, *speech, still=False, length_s=5.0, room="den"):
    spans = tuple(Span(*stretch) for stretch in speech)
    samples = noise(length_s, rms=0.1)
    end_s = start_s + length_s
    window = Window(room, start_s, end_s, samples, active=True, speech=spans, speech_open=still)
    return Extractor(scribe).extract(window)


def test_without_speech_it_has_nothing_to_say():
    scribe = Scribe()
    vote = voter(scribe).vote(features(scribe, 0.0))
    assert vote.reason is VoteReason.NO_SPEECH
    assert scribe.shared == scribe.decoded == 0


def test_a_call_for_help_is_an_emergency_with_what_was_said():
    scribe = Scribe("살려주세요")
    vote = voter(scribe).vote(features(scribe, 0.0, (2.0, 3.5)))
    assert vote.emergency is True
    assert vote.distress
    assert vote.category is Category.HELP_REQUEST
    assert vote.transcript == "살려주세요"
    assert vote.spoken == Span(2.0, 3.5)


def test_a_stretch_alone_in_its_window_is_read_from_the_shared_encoding():
    scribe = Scribe("살려주세요")
    voter(scribe).vote(features(scribe, 0.0, (2.0, 3.5)))
    assert (scribe.shared, scribe.own) == (1, 0)


def test_a_stretch_is_decoded_once_and_serves_every_window_that_overlaps_it():
    scribe = Scribe("살려주세요")
    ours = voter(scribe)
    votes = [ours.vote(features(scribe, float(k), (2.0, 3.5))) for k in range(4)]
    assert {(v.emergency, v.spoken) for v in votes} == {(True, Span(2.0, 3.5))}
    assert scribe.decoded == 1
    assert ours.vote(features(scribe, 4.0)).reason is VoteReason.NO_SPEECH


def test_speech_that_goes_on_is_waited_for():
    scribe = Scribe("살려주세요")
    ours = voter(scribe)
    waiting = ours.vote(features(scribe, 0.0, (3.0, 5.0), still=True))
    assert waiting.reason is VoteReason.NO_SPEECH
    assert "not yet" in waiting.detail
    assert ours.vote(features(scribe, 1.0, (3.0, 5.5))).spoken == Span(3.0, 5.5)
    assert scribe.decoded == 1


def test_speech_that_goes_on_is_decoded_before_its_start_leaves_the_window():
    scribe = Scribe("살려주세요", "거기 누구 없어요")
    ours = voter(scribe)
    for k in range(2):
        ours.vote(features(scribe, float(k), (2.5, 5.0 + k), still=True))
    assert scribe.decoded == 0
    assert ours.vote(features(scribe, 2.0, (2.5, 7.0), still=True)).spoken == Span(2.5, 7.0)
    # What follows is another piece, encoded without what was read before.
    vote = ours.vote(features(scribe, 3.0, (2.5, 8.0)))
    assert scribe.decoded == 2
    assert scribe.own == 1
    assert vote.spoken in {Span(2.5, 7.0), Span(7.0, 8.0)}


def test_consecutive_pieces_cover_long_speech_without_overlap():
    scribe = Scribe()
    ours = voter(scribe)
    spans: list[Span] = []
    for k in range(16):
        last = k == 15
        ours.vote(features(scribe, float(k), (1.0, 5.0 + k - 0.5 * last), still=not last))
        spans.extend(p.span for p in ours._rooms["den"].pieces if p.span not in spans)
    assert spans[0].start_s == 1.0
    assert spans[-1].end_s == 19.5
    assert [a.end_s for a in spans[:-1]] == [b.start_s for b in spans[1:]]
    assert max(s.end_s - s.start_s for s in spans) <= 5.0
    assert scribe.decoded == len(spans)


def test_two_stretches_are_two_decodings_and_the_emergency_is_what_counts():
    scribe = Scribe("살려주세요", "밥 먹자")
    vote = voter(scribe).vote(features(scribe, 0.0, (0.5, 1.5), (3.0, 4.0)))
    assert scribe.decoded == 2
    assert vote.emergency is True
    assert vote.spoken == Span(0.5, 1.5)


def test_a_stretch_in_company_is_encoded_by_itself():
    scribe = Scribe()
    voter(scribe).vote(features(scribe, 10.0, (10.5, 11.5), (13.0, 14.0)))
    assert (scribe.shared, scribe.own) == (0, 2)
    loud = [np.flatnonzero(samples) for samples in scribe.heard]
    assert all(len(samples) == 80_000 for samples in scribe.heard)
    assert [np.ptp(places) / 16_000 for places in loud] == pytest.approx([1.4, 1.4], abs=0.01)


def test_another_whisper_never_sees_the_shared_encoding():
    scribe = Scribe("살려주세요")
    voter(scribe, shares=False).vote(features(scribe, 0.0, (2.0, 3.5)))
    assert (scribe.shared, scribe.own) == (0, 1)


def test_a_longer_context_is_padded():
    scribe = Scribe()
    scribe.max_frames = 3000
    voter(scribe, shares=False, context_s=10.0).vote(features(scribe, 0.0, (2.0, 3.5)))
    assert len(scribe.heard[0]) == 160_000


def test_a_context_longer_than_the_model_takes_is_cut_to_it():
    scribe = Scribe()
    voter(scribe, shares=False, context_s=10.0).vote(features(scribe, 0.0, (2.0, 3.5)))
    assert len(scribe.heard[0]) == 80_000


def test_doubted_words_are_an_abstention_without_text():
    scribe = Scribe("MBC 뉴스 이덕영입니다")
    vote = voter(scribe).vote(features(scribe, 0.0, (1.0, 4.0)))
    assert vote.reason is VoteReason.UNSURE
    assert vote.transcript is None
    assert vote.spoken == Span(1.0, 4.0)


@pytest.mark.parametrize("mean_logprob", [-1.5, math.nan])
def test_unlikely_words_are_an_abstention(mean_logprob):
    scribe = Scribe("살려주세요", mean_logprob=mean_logprob)
    vote = voter(scribe).vote(features(scribe, 0.0, (1.0, 4.0)))
    assert vote.reason is VoteReason.UNSURE
    assert not vote.distress


def test_a_call_that_the_decoder_is_not_sure_of_is_only_a_vote():
    scribe = Scribe("살려주세요", mean_logprob=-0.5)
    vote = voter(scribe).vote(features(scribe, 0.0, (1.0, 4.0)))
    assert vote.emergency is True
    assert not vote.distress


def test_harmless_words_are_a_no():
    scribe = Scribe("불 좀 꺼 주세요")
    vote = voter(scribe).vote(features(scribe, 0.0, (1.0, 3.0)))
    assert vote.emergency is False
    assert vote.category is Category.INDOOR
    assert not vote.distress


def test_jamo_are_put_together_to_syllables():
    scribe = Scribe("사\u11af려주세요")
    vote = voter(scribe).vote(features(scribe, 0.0, (1.0, 3.0)))
    assert vote.transcript == "살려주세요"


def test_extra_phrases_are_calls_for_help():
    scribe = Scribe("파인애플 피자")
    ours = TranscriptVoter(
        scribe,
        Lexicon.load(("파인애플 피자",)),
        None,
        TranscriptConfig.model_validate({}),
        WindowConfig.model_validate({}),
        shares_encoding=True,
    )
    assert ours.vote(features(scribe, 0.0, (1.0, 3.0))).distress


def test_rooms_do_not_share_what_was_said():
    scribe = Scribe("살려주세요", "밥 먹자")
    ours = voter(scribe)
    assert ours.vote(features(scribe, 0.0, (1.0, 3.0), room="bath")).emergency is True
    assert ours.vote(features(scribe, 0.0, (1.0, 3.0), room="den")).emergency is False


def test_a_stream_that_begins_anew_is_heard_anew():
    scribe = Scribe("살려주세요", "밥 먹자")
    ours = voter(scribe)
    ours.vote(features(scribe, 7.0, (8.0, 9.0)))
    assert ours.vote(features(scribe, 0.0, (1.0, 2.0))).emergency is False
    assert scribe.decoded == 2


def test_the_next_short_recording_does_not_inherit_the_words_of_the_last():
    scribe = Scribe("살려주세요", "밥 먹자")
    ours = voter(scribe)
    assert ours.vote(features(scribe, 0.0, (1.0, 3.0))).emergency is True
    assert ours.vote(features(scribe, 0.0, (1.0, 3.0))).emergency is False
    assert scribe.decoded == 2


def test_state_stays_small():
    scribe = Scribe()
    ours = voter(scribe)
    for k in range(40):
        ours.vote(features(scribe, float(k), (k + 1.0, k + 1.5)))
    assert len(ours._rooms["den"].pieces) <= 5
