"""Hard labels: cross-entropy on the next token, for base models, teachers and baselines."""

from __future__ import annotations

import numpy as np
import torch

from scripts.first.models.encoding import NO_LABEL, EncodedRow
from scripts.first.models.tokenizer import TextTokenizer
from scripts.first.training.losses import LabelTargets


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
