"""One encoding serves head and decoder, and the length that CTranslate2 misreads is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from homeguard.domain import ModelError
from homeguard.mel import log_mel
from homeguard.voting.registry import bundled_dir
from homeguard.voting.whisper import Decoded, Whisper
from tests.fakes import noise
from tests.voting.tiny_models import tiny_whisper


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def whisper(directory):
    return Whisper(directory)


def test_an_encoding_has_half_the_frames_and_cannot_be_changed(whisper):
    encoding = whisper.hear(noise(5.0))
    assert encoding.array.shape == (250, 16)
    assert encoding.array.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        encoding.array[0, 0] = 0.0


def test_the_decoder_reads_the_encoding_twice_alike(whisper):
    encoding = whisper.hear(noise(5.0))
    first = whisper.decode(encoding, "ko", max_tokens=5)
    assert whisper.decode(encoding, "ko", max_tokens=5) == first
    assert len(first.tokens) <= 5
    assert first.mean_logprob < 0.0
    assert 0.0 <= first.no_speech <= 1.0


def test_it_writes_in_the_likelier_language_when_asked_to_choose(whisper):
    encoding = whisper.hear(noise(5.0))
    both = [whisper.decode(encoding, language, max_tokens=8) for language in ("ko", "en")]
    chosen = whisper.decode(encoding, max_tokens=8)
    assert chosen == max(both, key=lambda decoded: decoded.mean_logprob)


@pytest.mark.parametrize("frames", [159, 160])
def test_the_length_whose_encoding_looks_like_a_mel_is_refused(whisper, frames):
    with pytest.raises(ValueError, match="taken for a mel"):
        whisper.encode(np.zeros((80, frames), np.float32))


@pytest.mark.parametrize("frames", [158, 161])
def test_its_neighbours_are_heard(whisper, frames):
    encoding = whisper.encode(log_mel(noise(frames / 100)))
    assert whisper.decode(encoding, "ko", max_tokens=3)


@pytest.mark.parametrize("shape", [(80, 501), (80, 0), (128, 500)])
def test_a_shape_that_it_does_not_take_is_refused(whisper, shape):
    with pytest.raises(ValueError, match="takes 80 bands, 1 to 500 frames"):
        whisper.encode(np.zeros(shape, np.float32))


def test_a_whisper_of_128_bands_makes_its_own_mel(tmp_path):
    whisper = Whisper(tiny_whisper(tmp_path, n_mels=128))
    assert whisper.hear(noise(5.0)).array.shape == (250, 16)
    with pytest.raises(ValueError, match="taken for a mel"):
        whisper.encode(np.zeros((128, 256), np.float32))


def test_a_model_says_how_much_it_hears(whisper):
    assert whisper.max_s == 5.0


@pytest.mark.parametrize("lost", ["model.bin", "tokenizer.json", "vocabulary.json"])
def test_a_directory_without_a_whisper_is_named(tmp_path, lost):
    (tiny_whisper(tmp_path) / lost).unlink()
    with pytest.raises(ModelError, match=str(tmp_path)):
        Whisper(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    tiny_whisper(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("<|notimestamps|>", "<|other|>"))
    with pytest.raises(ModelError, match="not Whisper's"):
        Whisper(tmp_path)


@pytest.mark.models
def test_bytes_that_make_no_letter_are_in_neither_text_nor_words(monkeypatch):
    whisper = Whisper(bundled_dir() / "whisper-home")
    encoding = whisper.hear(noise(5.0))
    tokens = [t for word in ("살려줘", " 불이야") for t in whisper._tokenizer.encode(word).ids]
    broken = [t for t in range(8000) if whisper._tokenizer.decode([t]) == "\ufffd"][:2]
    written = (*tokens, *broken)
    assert "\ufffd" in whisper._written(written)
    decoded = Decoded("", "ko", written, -0.1, 0.0)
    assert [word for word, _ in whisper.words(encoding, decoded)] == ["살려줘", "불이야"]
    result = SimpleNamespace(sequences_ids=[list(written)], scores=[-0.1], no_speech_prob=0.0)
    monkeypatch.setattr(whisper, "_model", SimpleNamespace(generate=lambda *_, **__: [result]))
    assert whisper.decode(encoding, "ko").text == "살려줘 불이야"
