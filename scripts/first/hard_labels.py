"""Hard-label training of any model on a uniform table: pretraining, teacher, fine-tuned student."""

from __future__ import annotations

from pathlib import Path

from scripts.first.encoding import NO_LABEL, EncodedRow
from scripts.first.training import Settings, train


def train_on_labels(
    model,
    encoded: list[EncodedRow],
    settings: Settings,
    pad_id: int,
    label: str,
    state: Path | None = None,
) -> list[dict]:
    """Cross-entropy on the next token at supervised positions, mean over labelled positions."""
    return train(model, encoded, cross_entropy, "token_mean", settings, pad_id, label, state)


def cross_entropy(logits, batch):
    """(N,) fp32 cross-entropy; 0 where there is no label."""
    import torch
    from torch.nn.functional import cross_entropy as torch_cross_entropy

    labels = torch.from_numpy(batch.labels).to(logits.device)
    return torch_cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="none")
