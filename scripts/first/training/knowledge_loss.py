"""Knowledge matching: a teacher's stored top k becomes targets, joined to rows by content hash."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from scripts.first.calibration.recalibration import recalibrate
from scripts.first.errors import UserError
from scripts.first.knowledge.store import KnowledgeStore
from scripts.first.models.encoding import EncodedRow
from scripts.first.models.tokenizer import TextTokenizer
from scripts.first.training.losses import KnowledgeTargets


@dataclass(frozen=True)
class KnowledgeLoss:
    """Eq. 5 against the re-calibrated teacher (paper, section 4.2), averaged over a step's rows.

    k: tokens of a position that are matched. recalibration: `none` (A.1), `label_smoothing` (Eq. 3)
    or `prob_softmax` (Eq. 4), with its `settings` (delta and space, or c). student_side: see
    `losses.KnowledgeTargets`. ts_positions `answer_only` re-calibrates the first position of each
    row and gives all others the A.1 normalisation.
    """

    store: KnowledgeStore
    k: int
    recalibration: str = "none"
    settings: dict = field(default_factory=dict)
    student_side: str = "full_vocab"
    ts_positions: str = "all"

    def __post_init__(self) -> None:
        """Raise UserError unless k tokens are stored."""
        self.store.check_k(self.k)

    def check(self, rows: list[EncodedRow], tokenizer: TextTokenizer, outputs: int) -> None:
        """Raise UserError unless the store fits the student's rows, tokenizer and `outputs`."""
        if self.store.manifest.get("vocabulary") != tokenizer.vocabulary_sha256():
            raise UserError(
                "teacher and student have different vocabularies: --knowledge and --model: "
                "use models of one family"
            )
        largest = int(self.store.arrays["ids"].max(initial=0))
        if largest >= outputs:
            raise UserError(
                f"the teacher's vocabulary exceeds the student's: --knowledge has id "
                f"{largest}, --model has {outputs} outputs: use models of one family"
            )
        self._stored_rows(rows)

    def divisor(self, rows: list[EncodedRow]) -> int:
        """A step's loss is the mean over its rows, as in the authors' code."""
        return len(rows)

    def targets(self, rows: list[EncodedRow], device) -> KnowledgeTargets:
        """Targets at the N supervised positions of some rows, row after row.

        They are made for each batch, so that memory does not grow with the store.
        """
        known = self.store.rows(self._stored_rows(rows))
        p = np.exp(known["log_probs"][:, : self.k].astype(np.float64))
        q = recalibrate(p, self.recalibration, **self.settings)
        if self.ts_positions == "answer_only":
            counts = [len(row.labels) for row in rows]
            first = np.cumsum(counts) - counts
            answers, q = q[first], recalibrate(p, "none")
            q[first] = answers
        mass = None
        if self.student_side == "tail_bucket":  # 1 - tail, less what is stored beyond k
            beyond = np.exp(known["log_probs"][:, self.k :].astype(np.float64)).sum(axis=1)
            mass = -np.expm1(np.minimum(known["log_tail"].astype(np.float64), 0.0)) - beyond
            mass = torch.from_numpy(np.clip(mass, 0.0, 1.0).astype(np.float32)).to(device)
        ids = torch.from_numpy(known["ids"][:, : self.k].astype(np.int64)).to(device)
        q = torch.from_numpy(q.astype(np.float32)).to(device)
        return KnowledgeTargets(ids, q, self.student_side, self.settings.get("c"), mass)

    def _stored_rows(self, rows: list[EncodedRow]) -> np.ndarray:
        """Indices of rows in the store, by content hash: never by order.

        Raises UserError where a row is missing or has another number of positions.
        """
        indices, offsets = [], self.store.offsets
        for row in rows:
            index = self.store.row_by_hash.get(row.row_hash)
            if index is None or offsets[index + 1] - offsets[index] != len(row.labels):
                raise UserError(
                    f"row {row.row_id} is not in the knowledge store: it was made from another "
                    "corpus, tokenizer, block length or BOS: extract it again"
                )
            indices.append(index)
        return np.asarray(indices)
