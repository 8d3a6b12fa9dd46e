"""A published Whisper as a start: what is read, what is cut, what stays the same."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402 - after the skip

from homeguard.training import tokens, vocabulary  # noqa: E402 - after the skip
from homeguard.training.published import Cut, PublishedError, load  # noqa: E402 - after the skip

pytestmark = [pytest.mark.lab, pytest.mark.filterwarnings("ignore")]

PUBLISHED_SPECIALS = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|ko|>", "<|su|>", "<|translate|>"),
    *("<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"),
)
TIMESTAMPS = 1501
WORDS = ("fire", "help", "불이야", "살려", "주세요", "zebra")


def byte_pieces(*words: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level vocabulary that knows these words whole, by merging from the left."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: number for number, piece in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for word in words:
        spelt = spell.pre_tokenize_str(f" {word}")[0][0]
        for left, right in zip(itertools.accumulate(spelt), spelt[1:], strict=False):
            if left + right not in vocab:
                vocab[left + right] = len(vocab)
                merges.append((left, right))
    return vocab, merges


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper in the transformers layout with a byte-level tokenizer."""
    folder = tmp_path_factory.mktemp("published")
    vocab, merges = byte_pieces(*WORDS)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(PUBLISHED_SPECIALS))
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(1)
    config = transformers.WhisperConfig(
        vocab_size=tokenizer.get_vocab_size() + TIMESTAMPS,
        d_model=64,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=1,
        decoder_attention_heads=1,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_all_texts_can_be_written_with_a_cut_vocabulary(published: Path) -> None:
    known = vocabulary.published(published, pieces=262)
    old = vocabulary.rows(published, known)
    assert len(old) == known.size
    assert known.size < 262 + 40 + tokens.TIMESTAMPS
    for text in ("불이야 살려 주세요", "zebra fire", "쀍 뀨"):
        assert known.text(known.ids(text)) == text
    assert known.text(known.prompt("ko")) == ""


def test_a_kept_piece_has_its_old_row(published: Path) -> None:
    known = vocabulary.published(published, pieces=10_000)
    old = vocabulary.rows(published, known)
    before = json.loads((published / "tokenizer.json").read_text(encoding="utf-8"))
    for piece, number in before["model"]["vocab"].items():
        now = known.tokenizer.token_to_id(piece)
        assert now is None or old[now] == number
    specials = {token["content"]: token["id"] for token in before["added_tokens"]}
    assert old[known.symbol(tokens.NO_SPEECH)] == specials["<|nocaptions|>"]
    assert old[-1] == specials["<|notimestamps|>"] + tokens.TIMESTAMPS


def test_a_written_vocabulary_is_read_again(published: Path, tmp_path: Path) -> None:
    known = vocabulary.published(published, pieces=262)
    known.write(tmp_path)
    again = vocabulary.read(tmp_path)
    assert again.leading_space
    assert again.ids("help 불이야") == known.ids("help 불이야")
    assert not vocabulary.letters().leading_space


def test_cutting_takes_nothing_of_the_encoder(published: Path) -> None:
    model, _ = load(published, Cut(pieces=262, decoder_layers=2))
    whole = transformers.WhisperForConditionalGeneration.from_pretrained(published)
    mel = torch.randn(1, 80, 3000)
    with torch.inference_mode():
        hidden = torch.nn.functional.gelu(whole.model.encoder.conv1(mel))
        places = whole.model.encoder.embed_positions.weight
        assert torch.equal(model.model.encoder.embed_positions.weight, places[:250])
        assert torch.equal(torch.nn.functional.gelu(model.model.encoder.conv1(mel)), hidden)
    kept = model.model.decoder.layers
    assert len(kept) == 2
    first, last = whole.model.decoder.layers[0], whole.model.decoder.layers[2]
    assert torch.equal(kept[0].fc1.weight, first.fc1.weight)
    assert torch.equal(kept[1].fc1.weight, last.fc1.weight)


@pytest.mark.parametrize(("quantization", "within"), [("float16", 2e-3), ("int8", 0.02)])
def test_a_ctranslate2_folder_starts_the_same_model(
    published: Path, tmp_path: Path, quantization: str, within: float
) -> None:
    from ctranslate2.converters import TransformersConverter  # noqa: PLC0415 - loaded only where it is needed

    tokens.write_tokenizer_config(published)
    folder = tmp_path / "ct2"
    converter = TransformersConverter(str(published), copy_files=["tokenizer.json"])
    converter.convert(str(folder), quantization=quantization)
    ours, _ = load(folder, Cut(pieces=262, decoder_layers=3))
    theirs, _ = load(published, Cut(pieces=262, decoder_layers=3))
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=within, rtol=within), name


def test_a_run_keeps_the_vocabulary_that_it_began_with(published: Path) -> None:
    first, began = load(published, Cut(pieces=262, decoder_layers=2))
    again, kept = load(published, Cut(pieces=300, decoder_layers=2), began)
    assert kept is began
    rows = [m.model.decoder.embed_tokens.weight for m in (first, again)]
    assert torch.equal(*rows)


def test_another_file_is_no_start(published: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((published / "tokenizer.json").read_bytes())
    (tmp_path / "model.bin").write_bytes(np.arange(99, dtype=np.int32).tobytes())
    with pytest.raises(PublishedError, match=r"CTranslate2|WhisperSpec"):
        load(tmp_path, Cut(pieces=262))
