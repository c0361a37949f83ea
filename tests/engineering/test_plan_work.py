"""Operations against torch's own counter, sizes against written files, jobs by hand."""

from __future__ import annotations

import pytest

from scripts.first.config.load import load, own_files
from scripts.first.plan import jobs, work
from scripts.first.plan.architecture import from_config
from scripts.first.plan.corpora import count
from tests import tiny_models as tiny

SHAPE = {
    "model_type": "llama",
    "vocab_size": 263,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


def counted_by_torch(encoded, backward: bool) -> int:
    """Operations of one pass over rows, one at a time, by torch's FlopCounterMode."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {k: v for k, v in SHAPE.items() if k != "model_type"}
    config = AutoConfig.for_model("llama", **settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter:
        for row in encoded:
            keep = torch.zeros(1, len(row.input_ids), dtype=torch.bool)
            keep[0, row.supervised_positions] = True
            ids = torch.tensor([row.input_ids.tolist()])
            output = model(input_ids=ids, logits_to_keep=keep, use_cache=False)
            if backward:
                output.logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "training"])
def test_operations_are_those_that_torch_counts(backward):
    encoded = tiny.encode(tiny.choice_rows(3))
    model, counts = from_config(SHAPE, "test"), count(encoded)
    if backward:
        ours = work.training_flops(model, counts, 1, checkpointing=False)
    else:
        ours = sum(work.forward_flops(model, counts))
    # torch counts the rotary embedding's small product of positions and frequencies too.
    assert counted_by_torch(encoded, backward) == pytest.approx(ours, rel=1e-3)


def test_checkpointing_runs_the_layers_once_more():
    model, counts = from_config(SHAPE, "test"), count(tiny.encode(tiny.choice_rows(3)))
    plain, recomputed = (work.training_flops(model, counts, 2, c) for c in (False, True))
    assert recomputed - plain == 2 * work.forward_flops(model, counts)[0]


def test_jobs_of_table_1_by_hand():
    """Four trained methods on three corpora; one evaluation a model, of untuned ones once."""
    found, methods = jobs.jobs_of("paper"), load(own_files())["methods"]
    # csqa and obqa are asked of one student trained on alpaca; finetune_ts is a student again.
    assert jobs.students(found, methods, "llama2").total() == 3 * 4
    each = {"csqa": 1, "boolq": 1, "alpaca": 1, "none": 1}
    roles = jobs.evaluations(found, methods, "llama2")
    assert roles == {"teacher": each, "student": {**dict.fromkeys(each, 5), "none": 1}}
