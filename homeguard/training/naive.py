"""The pipeline as one would first write it, for the benchmark: what ours is compared with.

Three voters, three passes over 30 s in float32: transformers' Whisper encoder under a head, the
same Whisper again for its text, the published CNN table in torch. Random weights: cost only.
"""

from __future__ import annotations

import sys

import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from homeguard.benchmark.shapes import PUBLISHED, SPECIALS, VOCABULARY
from homeguard.labels import Category
from homeguard.mel import Float32, log_mel
from homeguard.training.networks import S0Cnn


class Naive:
    """A Whisper of a published shape and a CNN, in torch on one thread."""

    def __init__(self, shape: str, tokens: int) -> None:
        """`shape`: tiny, base or small; `tokens`: how many the decoder writes, greedily."""
        torch.set_num_threads(1)
        torch.manual_seed(7)
        self._whisper = _whisper(shape, tokens).eval()
        self._head = torch.nn.Linear(PUBLISHED[shape].d_model, len(Category)).eval()
        self._cnn = S0Cnn().eval()

    @torch.inference_mode()
    def judge(self, samples: Float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The three voters' outcome for 30 s of samples; the log-mel is made once."""
        mel = torch.from_numpy(log_mel(samples))[None]
        encoding = self._whisper.get_encoder()(mel).last_hidden_state
        said = self._head(encoding.mean(dim=1))
        text = self._whisper.generate(
            mel,
            decoder_input_ids=torch.tensor([_prompt()]),
        )
        return said, text, self._cnn(mel[None])


def _whisper(shape: str, tokens: int) -> WhisperForConditionalGeneration:
    size, end = PUBLISHED[shape], SPECIALS["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=size.n_mels,
        d_model=size.d_model,
        encoder_layers=size.layers,
        decoder_layers=size.layers,
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=4 * size.d_model,
        decoder_ffn_dim=4 * size.d_model,
        max_source_positions=size.frames,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=SPECIALS["<|startoftranscript|>"],
    )
    whisper = WhisperForConditionalGeneration(config)
    whisper.generation_config = GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=SPECIALS["<|startoftranscript|>"],
        no_timestamps_token_id=SPECIALS["<|notimestamps|>"],
        is_multilingual=False,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        num_beams=1,
        do_sample=False,
    )
    return whisper


def _prompt() -> list[int]:
    names = ("<|startoftranscript|>", "<|ko|>", "<|transcribe|>", "<|notimestamps|>")
    return [SPECIALS[name] for name in names]


if __name__ == "__main__":
    import numpy as np

    from homeguard.benchmark.memory import resident_mib
    from homeguard.benchmark.sounds import SAMPLE_RATE, speech

    pipeline = Naive(sys.argv[1], 12)
    pipeline.judge(np.resize(speech(), 30 * SAMPLE_RATE))
    sys.stdout.write(f"{resident_mib():.1f}\n")
