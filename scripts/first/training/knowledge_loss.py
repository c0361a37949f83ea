"""Knowledge matching: stored knowledge to targets, joined to student rows by content hash."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np

from scripts.first.calibration.recalibration import recalibrate
from scripts.first.errors import UserError
from scripts.first.knowledge.store import KnowledgeStore
from scripts.first.models.batching import Batch
from scripts.first.models.encoding import EncodedRow
from scripts.first.models.head import InChunks
from scripts.first.models.tokenizer import TextTokenizer
from scripts.first.training.losses import check_targets, knowledge_matching_loss, matching_of


@dataclass(frozen=True)
class Recalibration:
    """How a teacher's k most probable tokens become targets (paper section 4.2).

    `ts_positions: answer_only` recalibrates the first position of each row and gives all others
    the A.1 normalisation.
    """

    k: int
    name: str = "none"
    settings: dict = field(default_factory=dict)
    ts_positions: str = "all"

    def targets(self, log_probs: np.ndarray, first: np.ndarray) -> np.ndarray:
        """(N, k) float32 targets q of stored log_probs (N, at least k).

        first: positions among the N that are the first of their rows.
        """
        probabilities = np.exp(log_probs[:, : self.k].astype(np.float64))
        targets = recalibrate(probabilities, self.name, **self.settings)
        if self.ts_positions == "answer_only" and self.name != "none":
            plain = recalibrate(probabilities, "none")
            plain[first] = targets[first]
            targets = plain
        return targets.astype(np.float32)


def check_store(store: KnowledgeStore, tokenizer: TextTokenizer, arguments: argparse.Namespace):
    """Refuse knowledge of another vocabulary; ids are matched directly."""
    if "vocabulary" not in store.manifest:
        raise UserError(
            f"incomplete manifest: {arguments.knowledge}: it names no vocabulary: extract again"
        )
    if store.manifest["vocabulary"] != tokenizer.vocabulary_sha256():
        raise UserError(
            f"teacher and student have different vocabularies: {arguments.knowledge}: its "
            f"teacher's tokens are not those of {arguments.model}: pair models of one family"
        )


def check_outputs(store: KnowledgeStore, outputs: int, arguments: argparse.Namespace) -> None:
    """Refuse ids that the student cannot say: a teacher's head may exceed the shared tokenizer."""
    if store.largest_id >= outputs:
        raise UserError(
            f"the teacher's vocabulary exceeds the student's: {arguments.knowledge}: it holds id "
            f"{store.largest_id}, {arguments.model} has {outputs} outputs: pair other models"
        )


class MatchingLoss:
    """losses(logits, batch) of Eq. 5 for a student's training rows.

    logits (N, V) at the batch's supervised positions; returns (N,). Rows join to the store by their
    content hash: shuffling, another order or a missing row can never misalign them. Targets are
    made for each batch, so that memory does not grow with the store.
    """

    def __init__(
        self,
        encoded: list[EncodedRow],
        store: KnowledgeStore,
        recalibration: Recalibration,
        student_side: str,
        c: float | None,
    ):
        store.check_k(recalibration.k)
        self.store, self.recalibration = store, recalibration
        self.student_side, self.c = student_side, c
        hashes = np.frombuffer(b"".join(row.row_hash for row in encoded), np.uint8)
        self.rows = store.rows_of(hashes.reshape(-1, 16))
        for row, index in zip(encoded, self.rows.tolist(), strict=True):
            self._check(row, index)

    def _check(self, row: EncodedRow, index: int) -> None:
        if index < 0:
            raise UserError(
                f"row {row.row_id} is not in the knowledge store: the store was made from another "
                "corpus, tokenizer or block length: extract it again"
            )
        stored = int(self.store.offsets[index + 1] - self.store.offsets[index])
        if stored != len(row.labels):
            raise UserError(
                f"row {row.row_id}: the knowledge store has {stored} positions for it, the "
                f"student {len(row.labels)}: extract it again"
            )

    def targets_for(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Token ids (N, k) int64, targets (N, k) float32 and, for `tail_bucket`, mass (N,) float32.

        N counts the batch's supervised positions, row after row; the mass is the teacher's on the
        k ids.
        """
        known, k = self.store.rows(self.rows[batch.rows]), self.recalibration.k
        first = np.cumsum(batch.counts) - batch.counts
        targets = self.recalibration.targets(known["log_probs"], first)
        mass = _head_mass(known, k) if self.student_side == "tail_bucket" else None
        return known["ids"][:, :k].astype(np.int64), targets, mass

    def __call__(self, logits, batch: Batch):
        ids, target, mass = self._targets(batch, logits.device, logits.shape[-1])
        side, c = self.student_side, self._c()
        return knowledge_matching_loss(logits, ids, target, side, c=c, head_mass=mass, check=False)

    def in_chunks(self, batch: Batch, device, outputs: int) -> InChunks:
        """The same loss for logits that are never all there."""
        ids, target, mass = self._targets(batch, device, outputs)

        def loss(statistics, span):
            part = None if mass is None else mass[span]
            return matching_of(
                statistics, target[span], self.student_side, c=self._c(), head_mass=part
            )

        return InChunks(ids, loss)

    def _c(self) -> float | None:
        return self.c if self.student_side == "softmax_same_c" else None

    def _targets(self, batch: Batch, device, outputs: int):
        """What `targets_for` gives, checked, as tensors where the logits are."""
        import torch

        ids, target, mass = self.targets_for(batch)
        check_targets(ids, target, outputs)
        return (
            None if array is None else torch.from_numpy(array).to(device)
            for array in (ids, target, mass)
        )


def _head_mass(known: dict[str, np.ndarray], k: int) -> np.ndarray:
    """Probability of the k ids, (N,) float32: 1 - tail, less what is stored beyond k."""
    mass = -np.expm1(np.minimum(known["log_tail"].astype(np.float64), 0.0))
    beyond = np.exp(known["log_probs"][:, k:].astype(np.float64)).sum(1)
    return np.clip(mass - beyond, 0.0, 1.0).astype(np.float32)
