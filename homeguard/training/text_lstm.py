"""The source's network for text, as a comparison in the lab: embedding and LSTM. It does not ship.

Source: S1, morphemes -> embedding of 100 -> LSTM of 128, 12 tokens. No morpheme analyser is needed
here: a Korean word is taken as its first two syllables and what follows, an English one whole.
"""

# ruff: noqa: PLR2004  (the numbers are the recipe)
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from homeguard.text import normalise
from homeguard.training.text import Judge, with_copies
from homeguard.training.text_lines import LABELS, Line

TOKENS = 12
_PAD, _UNKNOWN = 0, 1
_EPOCHS = 6
_BATCH = 256


class LstmClassifier(nn.Module):
    """Scores by LABELS of token ids, shape (batch, TOKENS) -> (batch, labels)."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, 100, padding_idx=_PAD)
        self.lstm = nn.LSTM(100, 128, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(128, len(LABELS))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Sentences are padded in front: the last state has read them whole."""
        _, (state, _) = self.lstm(self.drop(self.embedding(ids)))
        scores: torch.Tensor = self.out(self.drop(state[-1]))
        return scores


def fit_lstm(lines: Sequence[Line], copies: int, rates: tuple[float, float], seed: int) -> Judge:
    """Fit on the lines and corrupted copies, as the shipped classifier is."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    learned = with_copies(lines, copies, rates, rng)
    counts = Counter(token for line in learned for token in tokens_of(line.text))
    known = sorted(token for token, count in counts.items() if count >= 3)
    ids = {token: place for place, token in enumerate(known, start=2)}
    inputs = _ids([line.text for line in learned], ids)
    targets = torch.tensor([line.label for line in learned])
    model = LstmClassifier(len(ids) + 2)
    seen = torch.bincount(targets, minlength=len(LABELS)).float().clamp(min=1.0)
    mass = seen.sqrt()
    mass[0] = mass[1:].sum()
    criterion = nn.CrossEntropyLoss(weight=mass / seen)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(_EPOCHS):
        for batch in torch.from_numpy(rng.permutation(len(learned))).split(_BATCH):
            optimiser.zero_grad()
            criterion(model(inputs[batch]), targets[batch]).backward()
            optimiser.step()
    model.eval()

    def judge(texts: Sequence[str]) -> NDArray[np.float64]:
        with torch.inference_mode():
            shares = model(_ids(texts, ids)).softmax(dim=1)
        return 1.0 - shares[:, 0].double().numpy()

    return judge


def tokens_of(text: str) -> list[str]:
    """The pieces a sentence is read as."""
    found: list[str] = []
    for word in normalise(text).split():
        if "가" <= word[0] <= "힣" and len(word) > 2:
            found += [word[:2], f"+{word[2:]}"]
        else:
            found.append(word)
    return found


def _ids(texts: Sequence[str], ids: dict[str, int]) -> torch.Tensor:
    rows = np.full((len(texts), TOKENS), _PAD, np.int64)
    for row, text in zip(rows, texts, strict=True):
        found = [ids.get(token, _UNKNOWN) for token in tokens_of(text)][:TOKENS]
        if found:
            row[-len(found) :] = found
    return torch.from_numpy(rows)
