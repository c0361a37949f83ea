"""Knowledge matching: stored knowledge to targets, joined to student rows by content hash."""

from __future__ import annotations

import argparse

import numpy as np

from scripts.first.batching import Batch
from scripts.first.encoding import EncodedRow
from scripts.first.errors import UserError
from scripts.first.head import InChunks
from scripts.first.losses import knowledge_matching_loss, matching_of
from scripts.first.recalibration import recalibrate
from scripts.first.store import KnowledgeStore
from scripts.first.tokenizer import TextTokenizer


def recalibrated_targets(
    store: KnowledgeStore, k: int, recalibration: str, settings: dict, ts_positions: str = "all"
) -> np.ndarray:
    """(N, k) float32 targets q for every stored position (paper section 4.2).

    `ts_positions: answer_only` recalibrates the first position of each row and gives all others
    the A.1 normalisation.
    """
    probabilities = store.probabilities(k)
    targets = recalibrate(probabilities, recalibration, **settings)
    if ts_positions == "answer_only" and recalibration != "none":
        plain = recalibrate(probabilities, "none")
        targets = np.where(store.answer_positions()[:, None], targets, plain)
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
    if store.ids.size and int(store.ids.max()) >= outputs:
        raise UserError(
            f"the teacher's vocabulary exceeds the student's: {arguments.knowledge}: it holds id "
            f"{int(store.ids.max())}, {arguments.model} has {outputs} outputs: pair other models"
        )


class MatchingLoss:
    """losses(logits, batch) of Eq. 5 for a student's training rows.

    logits (N, V) at the batch's supervised positions; returns (N,). Rows join to the store by their
    content hash: shuffling, another order or a missing row can never misalign them.
    """

    def __init__(
        self,
        encoded: list[EncodedRow],
        store: KnowledgeStore,
        targets: np.ndarray,
        student_side: str,
        c: float | None,
    ):
        self.store, self.targets = store, targets
        self.student_side, self.c = student_side, c
        self.head_mass = -np.expm1(np.minimum(store.log_tail.astype(np.float64), 0.0))
        self.rows = np.asarray([self._find(row) for row in encoded])

    def _find(self, row: EncodedRow) -> int:
        try:
            index = self.store.row_index(row.row_hash)
        except KeyError:
            raise UserError(
                f"row {row.row_id} is not in the knowledge store: the store was made from another "
                "corpus, tokenizer or block length: extract it again"
            ) from None
        stored = int(self.store.offsets[index + 1] - self.store.offsets[index])
        if stored != len(row.labels):
            raise UserError(
                f"row {row.row_id}: the knowledge store has {stored} positions for it, the "
                f"student {len(row.labels)}: extract it again"
            )
        return index

    def __call__(self, logits, batch: Batch):
        ids, target, mass = self._targets(batch, logits.device)
        return knowledge_matching_loss(
            logits, ids, target, self.student_side, c=self._c(), head_mass=mass
        )

    def in_chunks(self, batch: Batch, device) -> InChunks:
        """The same loss for logits that are never all there."""
        ids, target, mass = self._targets(batch, device)

        def loss(statistics, span):
            part = None if mass is None else mass[span]
            return matching_of(
                statistics, target[span], self.student_side, c=self._c(), head_mass=part
            )

        return InChunks(ids, loss)

    def _c(self) -> float | None:
        return self.c if self.student_side == "softmax_same_c" else None

    def _targets(self, batch: Batch, device):
        """ids (N, k), target (N, k) and, for `tail_bucket`, head mass (N,) of a batch's rows."""
        import torch

        offsets = self.store.offsets
        positions = np.concatenate(
            [np.arange(offsets[r], offsets[r + 1]) for r in self.rows[batch.rows]]
        )
        k = self.targets.shape[1]

        def to(array, dtype):
            return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

        return (
            to(self.store.ids[positions, :k].astype(np.int64), torch.int64),
            to(self.targets[positions], torch.float32),
            to(self._mass(positions, k), torch.float32),
        )

    def _mass(self, positions: np.ndarray, k: int) -> np.ndarray:
        """Probability of the k ids: 1 - tail, less what is stored beyond k."""
        beyond = np.exp(self.store.arrays["log_probs"][positions, k:].astype(np.float64)).sum(1)
        return np.clip(self.head_mass[positions] - beyond, 0.0, 1.0)
