"""What both sound voters' trainings ask beside the 19 categories."""

from __future__ import annotations

import torch
from torch import Tensor

from homeguard.labels import Category


def alarm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of emergency or not: of the summed probabilities of either side's categories.

    `logits` (b, 19), `labels` (b,). A mistake among emergencies costs nothing here.
    """
    dangerous = torch.tensor([category.is_emergency for category in Category], device=labels.device)
    log_probs = logits.log_softmax(dim=1)
    calm = log_probs[:, ~dangerous].logsumexp(dim=1)
    alarm = log_probs[:, dangerous].logsumexp(dim=1)
    return -torch.where(dangerous[labels], alarm, calm).mean()
