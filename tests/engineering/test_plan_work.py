"""Operations against torch's own counter."""

import json

import numpy as np
import pytest

from first_distill.models.encoding import EncodedRow
from first_distill.plan import work
from first_distill.plan.architecture import from_config
from first_distill.plan.corpora import count
from tests import families


def encoded() -> list[EncodedRow]:
    """Rows of 30, 41 and 52 ids, the last 3, 4 and 5 supervised."""
    draw = np.random.default_rng(0)
    rows = []
    for n, positions in ((30, 3), (41, 4), (52, 5)):
        ids = draw.integers(5, 260, n).astype(np.int32)
        rows.append(EncodedRow(str(n), ids, n - positions + 1, ids[-positions:], bytes(16)))
    return rows


def counted_by_torch(folder, rows, backward: bool) -> int:
    """Operations of one pass over rows, one at a time, by torch's FlopCounterMode."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    options = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = AutoModelForCausalLM.from_pretrained(folder, **options)
    with FlopCounterMode(display=False) as counter:
        for row in rows:
            keep = torch.zeros(1, len(row.input_ids), dtype=torch.bool)
            keep[0, row.supervised_positions] = True
            ids = torch.tensor([row.input_ids.tolist()])
            output = model(input_ids=ids, logits_to_keep=keep, use_cache=False)
            if backward:
                output.logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "training"])
@pytest.mark.parametrize("name", families.FAMILIES)
def test_operations_are_those_that_torch_counts(name, backward):
    """Sliding windows save nothing, images are none, of four experts two are passed."""
    folder = families.model(name)
    rows, config = encoded(), json.loads((folder / "config.json").read_text())
    model, counts = from_config(config, name), count(rows)
    if backward:
        ours = work.training_flops(model, counts, 1, recompute=False)
    else:
        ours = sum(work.forward_flops(model, counts))
    # torch counts the rotary embedding's small product of positions and frequencies too.
    assert counted_by_torch(folder, rows, backward) == pytest.approx(ours, rel=2e-3)
