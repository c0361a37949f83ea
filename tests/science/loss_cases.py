"""Students, targets and random cases shared by the tests of the losses."""

from __future__ import annotations

import numpy as np
import torch

from scripts.first.calibration.recalibration import prob_softmax
from scripts.first.training.losses import knowledge_matching_loss

PT = np.array([0.95, 0.03, 0.01, 0.005, 0.003])
HEAD_MASS = 0.998
C = 0.28


def doubles(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def logits_of(head, vocabulary=12):
    """Logits (1, V) of a student with these five probabilities, the rest spread evenly."""
    tail = (1 - sum(head)) / (vocabulary - len(head))
    return doubles([[*head, *[tail] * (vocabulary - len(head))]]).log()


def arguments(side, n=1, mass=HEAD_MASS):
    if side == "softmax_same_c":
        return {"c": C}
    return {"head_mass": torch.full((n,), mass).double()} if side == "tail_bucket" else {}


def random_case(n=6, vocabulary=23, k=5, seed=0, scale=2.0):
    """Logits, ids, target (Eq. 4 of a random teacher) and the teacher's head mass."""
    g = torch.Generator().manual_seed(seed)
    teacher = (3 * torch.randn(n, vocabulary, generator=g, dtype=torch.float64)).softmax(-1)
    p, ids = teacher.topk(k)
    target = doubles(prob_softmax(p.numpy().clip(0, 1), C))
    logits = scale * torch.randn(n, vocabulary, generator=g, dtype=torch.float64)
    return logits, ids, target, p.sum(-1).clamp(max=1.0)


def loss_of(side, logits, ids, target, mass, **kwargs):
    extra = {"c": C} if side == "softmax_same_c" else {}
    return knowledge_matching_loss(logits, ids, target, side, head_mass=mass, **extra, **kwargs)


STUDENT = logits_of([0.60, 0.20, 0.10, 0.04, 0.02])
IDS = torch.arange(5)[None]
Q = doubles(prob_softmax(PT, C))[None]
