"""Students, targets and random cases shared by the tests of the losses."""

import numpy as np
import torch

from first_distill.calibration.recalibration import prob_softmax
from first_distill.training.losses import KnowledgeTargets

PT = np.array([0.95, 0.03, 0.01, 0.005, 0.003])
HEAD_MASS = 0.998
C = 0.28


def doubles(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def logits_of(head, vocabulary=12):
    """Logits (1, V) of a student with these five probabilities, the rest spread evenly."""
    tail = (1 - sum(head)) / (vocabulary - len(head))
    return doubles([[*head, *[tail] * (vocabulary - len(head))]]).log()


def random_case(n=6, vocabulary=23, k=5, seed=0, scale=2.0):
    """Logits, ids, target (Eq. 4 of a random teacher) and the teacher's head mass."""
    g = torch.Generator().manual_seed(seed)
    teacher = (3 * torch.randn(n, vocabulary, generator=g, dtype=torch.float64)).softmax(-1)
    p, ids = teacher.topk(k)
    target = doubles(prob_softmax(p.numpy().clip(0, 1), C))
    logits = scale * torch.randn(n, vocabulary, generator=g, dtype=torch.float64)
    return logits, ids, target, p.sum(-1).clamp(max=1.0)


def targets_of(side, ids, q, mass, eps=1e-6, c=C):
    """Targets of a student side, with the C and the head mass that some of them need."""
    return KnowledgeTargets(ids, q, side, c, mass, eps)


def loss_of(side, logits, ids, q, mass, **kwargs):
    return targets_of(side, ids, q, mass, **kwargs).loss(logits)


def worked(side, logits, q=None, **kwargs):
    """Loss (1,) of one student against the worked example's target."""
    mass = doubles([HEAD_MASS])
    return loss_of(side, logits, IDS, Q if q is None else q, mass, **kwargs)


STUDENT = logits_of([0.60, 0.20, 0.10, 0.04, 0.02])
IDS = torch.arange(5)[None]
Q = doubles(prob_softmax(PT, C))[None]
