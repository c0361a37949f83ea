"""Hard labels: cross-entropy on the next token, for base models, teachers and baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from scripts.first.models.encoding import NO_LABEL, EncodedRow
from scripts.first.models.tokenizer import TextTokenizer
from scripts.first.training.model import Statistics


class CrossEntropy:
    """Cross-entropy at supervised positions, averaged over a step's labelled positions."""

    def check(self, rows: list[EncodedRow], tokenizer: TextTokenizer, outputs: int) -> None:
        """Any rows will do."""

    def divisor(self, rows: list[EncodedRow]) -> int:
        """A step's loss is the mean over its labelled positions."""
        return max(1, sum(int((row.labels != NO_LABEL).sum()) for row in rows))

    def targets(self, rows: list[EncodedRow], device) -> LabelTargets:
        """The labels at the N supervised positions of some rows, row after row."""
        labels = np.concatenate([row.labels for row in rows]).astype(np.int64)
        return LabelTargets(torch.from_numpy(labels).to(device))


@dataclass(frozen=True)
class LabelTargets:
    """One label for each position, (N,) int64; NO_LABEL where there is none."""

    labels: torch.Tensor

    @property
    def ids(self) -> torch.Tensor:
        """(N, 1) ids at which the loss needs logits."""
        return self.labels.clamp(min=0)[:, None]

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        """(N,) cross-entropy of logits (N, V); 0 where there is no label."""
        return F.cross_entropy(logits, self.labels, ignore_index=NO_LABEL, reduction="none")

    def loss_of(self, statistics: Statistics, rows: slice) -> torch.Tensor:
        """(n,) the same for the positions in a slice."""
        values = statistics.normaliser - statistics.chosen[:, 0]
        return values.masked_fill(self.labels[rows] == NO_LABEL, 0.0)
