"""The memory formula against what torch really keeps, allocates and resides in."""

import json

import numpy as np
import pytest

from benchmarks.plan_memory import CONFIGURATIONS, formula, measured
from first_distill.models.batching import CACHED, inference_batches
from first_distill.models.encoding import encode_prompts
from first_distill.plan.architecture import SHIPPED, from_config
from first_distill.plan.memory import (
    LOSS_COPIES,
    READING_COPIES,
    Batch,
    Training,
    kept_of_layer,
    pinned,
    training_host,
    training_memory,
)
from tests import tiny_models as tiny

SHAPE = {
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_attention_heads": 8,
}


def thirty() -> object:
    """The 33B teacher's architecture."""
    return from_config(json.loads((SHIPPED / "huggyllama--llama-30b.json").read_text()), "shipped")


def kept_by_torch(config: dict, form: str, batch: Batch) -> int:
    """Bytes of distinct storages that autograd saves in a forward pass, parameters left out."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    kind = torch.bfloat16 if form == "sharded" else torch.float32
    settings = {k: v for k, v in config.items() if k != "model_type"}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **settings), dtype=kind)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    mask = torch.ones(batch.rows, batch.length, dtype=torch.long)
    mask[0, -3:] = 0
    ids = torch.randint(3, 300, mask.shape)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=form == "autocast", cache_enabled=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        output = model(input_ids=ids, attention_mask=mask, logits_to_keep=1, use_cache=False)
    assert output.logits.requires_grad
    return sum(storage.nbytes() for storage in saved.values())


@pytest.mark.parametrize("key_value_heads", [8, 2])
@pytest.mark.parametrize("form", ["float32", "autocast", "sharded"])
def test_a_layer_keeps_what_torch_saves(form, key_value_heads):
    """The difference of two and one layers; under autocast less its cached weights."""
    batch = Batch(4, 96, 4)
    sizes = {}
    for layers in (1, 3):
        config = {**SHAPE, "num_hidden_layers": layers, "num_key_value_heads": key_value_heads}
        sizes[layers] = kept_by_torch(config, form, batch)
    model = from_config(config, "test")
    dtype = "float32" if form == "float32" else "bfloat16"
    training = Training(dtype, processes=2 if form == "sharded" else 1)
    expected = kept_of_layer(model, batch, training)
    if form == "autocast":
        expected += 2 * model.layer_parameters
    assert (sizes[3] - sizes[1]) / 2 == pytest.approx(expected, rel=0.03)


def peak_of(work) -> int:
    """Largest sum of live bytes that torch's allocator reports while `work` runs."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    events = found.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = largest = 0
    for _, size in changes:
        now += size
        largest = max(largest, now)
    return largest


@pytest.fixture
def head():
    """(logits(), size of one float32 copy, N, V) behind a narrow output head in bfloat16."""
    import torch

    torch.manual_seed(0)
    n, vocabulary = 200, 16000
    weight = torch.randn(vocabulary, 8).bfloat16().requires_grad_()
    state = torch.randn(n, 8).bfloat16()

    def logits():
        return torch.nn.functional.linear(state, weight).reshape(n, -1).float()

    return logits, 4 * n * vocabulary, n, vocabulary


@pytest.mark.parametrize("loss", list(LOSS_COPIES))
def test_copies_of_the_logits_at_the_loss(head, loss):
    import torch

    from first_distill.training.losses import KnowledgeTargets

    logits, copy, n, vocabulary = head
    labels = torch.randint(0, vocabulary, (n,))
    ids = torch.stack([torch.randperm(vocabulary)[:5] for _ in range(n)])
    target = torch.full((n, 5), 0.2)
    side = "tail_bucket" if "tail_bucket" in loss else "full_vocab"
    mass = torch.full((n,), 0.9)

    def step():
        if loss == "labels":
            values = torch.nn.functional.cross_entropy(logits(), labels, reduction="none")
        else:
            values = KnowledgeTargets(ids, target, side, head_mass=mass).loss(logits())
        values.sum().backward()

    assert peak_of(step) == pytest.approx(LOSS_COPIES[loss] * copy, rel=0.03)


def wide(positions: list[int]) -> tuple[object, int]:
    """A narrow bfloat16 model of 16,000 tokens; size of float32 logits at so many positions."""
    return tiny.random_llama(vocabulary=16000).bfloat16(), 4 * max(positions) * 16000


def most(encoded: list, max_tokens: int) -> list[int]:
    """Supervised positions of each inference batch; several, or the test would see only one."""
    lengths = np.asarray([len(row.input_ids) for row in encoded])
    batches = inference_batches(lengths, max_tokens)
    assert len(batches) > 2
    return [sum(len(encoded[i].labels) for i in batch) for batch in batches]


def extraction():
    from first_distill.knowledge.extraction import extract

    encoded = tiny.encode(tiny.choice_rows(300))
    model, copy = wide(most(encoded, 6000))
    # In bfloat16 too, before they are made float32; and the temporaries of a few rows.
    copy = 1.5 * copy + 24 * CACHED["cpu"]
    return lambda: extract(model, encoded, 5, tiny.EOS, 6000), copy


def evaluation():
    from first_distill.models.predictions import predict

    rows = tiny.choice_rows(600)
    model, copy = wide(most(encode_prompts(rows, tiny.tokenizer()), 12000))
    return lambda: predict(model, rows, tiny.tokenizer(), 12000), copy


def validation():
    from first_distill.training.validation import validate

    encoded = tiny.encode(tiny.instruction_rows(40))
    model, copy = wide(most(encoded, 600))
    return lambda: validate(model, encoded, "response", tiny.EOS, 600), copy


@pytest.mark.parametrize("stage", [extraction, evaluation, validation])
def test_copies_of_the_logits_without_gradients(stage):
    """The stages themselves, over several batches."""
    work, copy = stage()
    assert peak_of(work) == pytest.approx(READING_COPIES[stage.__name__] * copy, rel=0.1)


@pytest.mark.slow
def test_formula_against_resident_memory():
    """A real training in a process of its own, within 10 %; `check` measures all three."""
    logits = CONFIGURATIONS[2]
    assert formula(logits).total == pytest.approx(measured(logits), rel=0.1)


def test_states_of_the_teacher_on_eight_gpus():
    """16 bytes a parameter over 8 GPUs; gathered layers and root, the root's gradient reduced."""
    model, training = thirty(), Training("bfloat16", 8, checkpointing=True)
    memory = training_memory(model, Batch(1, 64, 3), training)
    assert memory.moment == "root"
    more = 2 * 3 * model.layer_parameters + (2 + 6) * model.root_parameters
    assert memory.total == pytest.approx(16 * 32_528_943_616 / 8 + more, rel=1e-4)
    assert memory.optimizer == 8 * 32_528_943_616 / 8


def test_offloading_leaves_no_state_on_the_gpu():
    model, batch = thirty(), Batch(4, 512, 1000)
    memory = training_memory(model, batch, Training("bfloat16", 8, True, True))
    assert memory.optimizer == 0
    layer, root = model.layer_parameters, model.root_parameters
    assert memory.weights == 2 * (3 * layer + root) + 2 * 4 * layer / 8
    assert memory.total < 20e9


def test_offloaded_shards_are_pinned_in_powers_of_two():
    """33B on eight GPUs: projections of 22 and 60 MB take 33.6 and 67.1; twice, with gradients."""
    model, training = thirty(), Training("bfloat16", 8, True, True)
    layer = 4 * 2**25 + 3 * 2**26 + 2 * 2**12
    shard = 60 * layer + 2 * 2**27 + 2**12
    assert pinned(model, 8) == shard
    held = 8 * 2 * shard + 8 * model.parameters
    assert training_host(model, training, 1, True) == 8 * 3.5e9 + held
    # Without a GPU nothing is pinned; weights and gradients are there all the same.
    assert training_host(model, training, 1, False) == 8 * 1e9 + 18 * model.parameters
