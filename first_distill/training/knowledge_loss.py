"""Knowledge matching: a teacher's stored top k becomes targets, joined to rows by content hash."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from first_distill.calibration.recalibration import recalibrate
from first_distill.errors import UserError
from first_distill.knowledge.store import Arrays, KnowledgeStore
from first_distill.models.encoding import EncodedRow
from first_distill.models.tokenizer import TextTokenizer
from first_distill.training.losses import KnowledgeTargets


@dataclass(frozen=True)
class KnowledgeLoss:
    """Eq. 5 against the re-calibrated teacher (paper, section 4.2), averaged over a step's rows.

    k: tokens of a position that are matched. recalibration: `none` (A.1), `label_smoothing`
    (Eq. 3), `prob_softmax` (Eq. 4), `logit_temperature` (softmax(z / T)) or `sampled`, with its
    `settings`: delta and space, c, or the store's own t or draws. student_side: see
    `losses.KnowledgeTargets`; what `tail_bucket` leaves for the tail is the teacher's, at T with
    `logit_temperature`. ts_positions `answer_only` re-calibrates the first position of each row and
    gives all others the A.1 normalisation.
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
        largest = int(self.store.arrays["ids"][:, : self.k].max(initial=0))
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
        target = self._recalibrated(known, self.recalibration, **self.settings)
        if self.ts_positions == "answer_only":
            counts = [len(row.labels) for row in rows]
            first = np.cumsum(counts) - counts
            others = self._recalibrated(known, "none")
            for own, other in zip(target, others, strict=True):
                other[first] = own[first]
            target = others
        ids = torch.from_numpy(known["ids"][:, : self.k].astype(np.int64)).to(device)
        q, *mass = (torch.from_numpy(own.astype(np.float32)).to(device) for own in target)
        return KnowledgeTargets(ids, q, self.student_side, self.settings.get("c"), *mass)

    def _recalibrated(self, known: Arrays, name: str, **settings) -> list[np.ndarray]:
        """q (N, k) and, where the student's side is `tail_bucket`, the head's mass (N,)."""
        stored = self.store.k if self.student_side == "tail_bucket" else self.k
        p = np.exp(known["log_probs"][:, :stored].astype(np.float64))
        q = recalibrate(p[:, : self.k], name, **settings)
        if self.student_side != "tail_bucket":
            return [q]
        if name == "logit_temperature":  # all that is stored shares what the tail at T leaves
            share = recalibrate(p, name, **settings)[:, : self.k].sum(axis=1)
            return [q, -np.expm1(known["log_tail_t"].astype(np.float64)) * share]
        mass = -np.expm1(np.minimum(known["log_tail"].astype(np.float64), 0.0))
        return [q, np.clip(mass - p[:, self.k :].sum(axis=1), 0.0, 1.0)]

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
