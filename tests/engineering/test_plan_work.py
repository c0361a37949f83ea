"""Operations against torch's own counter."""

import pytest

from scripts.first.plan import work
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
        ours = work.training_flops(model, counts, 1, recompute=False)
    else:
        ours = sum(work.forward_flops(model, counts))
    # torch counts the rotary embedding's small product of positions and frequencies too.
    assert counted_by_torch(encoded, backward) == pytest.approx(ours, rel=1e-3)
