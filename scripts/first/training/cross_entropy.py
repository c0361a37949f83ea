"""Hard-label training of any model on a uniform table: pretraining, teacher, fine-tuned student."""

from __future__ import annotations

from pathlib import Path

from scripts.first.models.encoding import NO_LABEL, EncodedRow
from scripts.first.training.loop import Settings, train


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


class CrossEntropy:
    """losses(logits (N, V), batch) -> (N,) float32 cross-entropy; 0 where there is no label."""

    def __call__(self, logits, batch):
        from torch.nn.functional import cross_entropy as torch_cross_entropy

        labels = self._labels(batch, logits.device)
        return torch_cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="none")

    def in_chunks(self, batch, device, outputs: int):
        """The same for logits that are never all there: normaliser - logit of the label."""
        from scripts.first.models.head import InChunks

        labels = self._labels(batch, device)

        def loss(statistics, span):
            values = statistics.normaliser - statistics.chosen[:, 0]
            return values.masked_fill(labels[span] == NO_LABEL, 0.0)

        return InChunks(labels.clamp(min=0)[:, None], loss)

    def _labels(self, batch, device):
        import torch

        return torch.from_numpy(batch.labels).to(device)


cross_entropy = CrossEntropy()
