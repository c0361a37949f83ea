"""A pruned model: which layers it has, their bits, and what it computes, by every architecture."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.models.checkpoints import RECORD, WEIGHTS, verify_checkpoint
from first_distill.models.sources.pruning import (
    kept_layers,
    prune_checkpoint,
    shortened,
    stored_dtype,
)
from first_distill.models.structure import decoder_layers
from first_distill.provenance import records
from tests import families
from tests import tiny_models as tiny

LAYERS, KEPT = 6, [0, 2, 5]  # round(2.5) is 2
# A layer's number in the names of the decoder's tensors; Gemma 3's vision tower has layers too.
NUMBER = re.compile(r"((?:^|\.)(?:layers|h)\.)(\d+)(?=\.)")


def recorded(folder):
    """A folder of transformers' own as a checkpoint with a record."""
    records.write(folder / RECORD, {"kind": "test"}, [path.name for path in folder.iterdir()])
    return folder


@pytest.fixture(scope="module", params=families.FAMILIES)
def pair(request, tmp_path_factory):
    """(name, a deep model of an architecture, what is pruned from it)."""
    root = tmp_path_factory.mktemp(request.param)
    source = recorded(shutil.copytree(families.model(request.param, layers=LAYERS), root / "deep"))
    prune_checkpoint(source, len(KEPT), root / "pruned")
    return request.param, source, root / "pruned"


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


def renumbered(name: str) -> str | None:
    """What a tensor is called in the pruned model; None for one of a dropped layer."""
    found = None if name.startswith("vision_tower") else NUMBER.search(name)
    if found is None:
        return name
    index = int(found[2])
    return NUMBER.sub(rf"\g<1>{KEPT.index(index)}", name) if index in KEPT else None


def bits(tensors: dict) -> dict:
    return {
        n: (t.dtype, t.shape, t.flatten().view(torch.uint8).tolist()) for n, t in tensors.items()
    }


@pytest.mark.parametrize(
    ("layers", "wanted", "kept"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (32, 16, [0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31]),
        (28, 4, [0, 9, 18, 27]),
        (24, 2, [0, 23]),
        (3, 2, [0, 2]),
        (5, 4, [0, 1, 3, 4]),
        (6, 6, [0, 1, 2, 3, 4, 5]),
        (2, 2, [0, 1]),
    ],
)
def test_kept_layers(layers, wanted, kept):
    assert kept_layers(layers, wanted) == kept


def test_layers_are_distinct_and_evenly_spaced():
    """However many: from the first to the last, with steps that differ by one at most."""
    for layers in range(2, 100):
        for wanted in range(2, layers + 1):
            kept = kept_layers(layers, wanted)
            steps = [after - before for before, after in zip(kept, kept[1:], strict=False)]
            assert (kept[0], kept[-1], len(kept)) == (0, layers - 1, wanted)
            assert min(steps) >= 1 and max(steps) - min(steps) <= 1


def test_bits_are_the_sources(pair):
    """Every tensor of the files themselves: the kept layers under their new numbers, the rest."""
    _, source, pruned = pair
    tensors = load_file(source / WEIGHTS)
    expected = {renumbered(name): tensor for name, tensor in tensors.items()}
    dropped = expected.pop(None)
    assert dropped is not None and len(expected) < len(tensors)
    assert bits(load_file(pruned / WEIGHTS)) == bits(expected)


def test_it_computes_what_the_kept_layers_compute(pair):
    """The source with its dropped layers bridged: each keeps its own number and kind of attention.

    40 tokens: longer than the sliding window of the layers that have one.
    """
    name, source, pruned = pair
    whole, short = load(source), load(pruned)

    def bridge(_, inputs, output):
        return (inputs[0], *output[1:]) if isinstance(output, tuple) else inputs[0]

    layers = decoder_layers(whole)
    assert len(layers) == LAYERS
    for index in {*range(LAYERS)} - {*KEPT}:
        layers[index].register_forward_hook(bridge)
    ids = torch.randint(5, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = (model(ids).logits.log_softmax(-1) for model in (short, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # It would notice other layers, and another kind of attention in a layer.
    with torch.no_grad():
        assert (found - load(source)(ids).logits.log_softmax(-1)).abs().max() > 1e-3
        if name in ("gemma2", "gemma3", "gemma3-text"):
            text = short.config.get_text_config()
            text.layer_types = [*reversed(text.layer_types)]
            reloaded = AutoModelForCausalLM.from_pretrained(pruned, config=short.config).eval()
            assert (reloaded(ids).logits.log_softmax(-1) - expected).abs().max() > 1e-3


def test_configuration_tokenizer_and_record(pair):
    """The source's with fewer layers; what is listed by layer is cut in the same way."""
    name, source, pruned = pair
    texts = [(folder / "config.json").read_text() for folder in (source, pruned)]
    # Dropout is off in all training.
    before, after = (json.loads(re.sub(r'(drop\w*": )[\d.]+', r"\g<1>0", one)) for one in texts)
    part = before.get("text_config", before)
    if name == "gemma3":  # transformers notes the type of both models
        before["vision_config"]["dtype"] = part["dtype"] = "float32"
    part["n_layer" if name == "gpt2" else "num_hidden_layers"] = 3
    if "layer_types" in part:
        part["layer_types"] = [part["layer_types"][index] for index in KEPT]
    assert after == before
    kinds = {"gemma2": "ssf", "gemma3": "ssf", "gemma3-text": "ssf"}.get(name)
    assert not kinds or [kind[0] for kind in part["layer_types"]] == [*kinds]
    for file in ("tokenizer.json", "tokenizer.model"):
        if (source / file).is_file():
            assert (pruned / file).read_bytes() == (source / file).read_bytes()
    record = verify_checkpoint(pruned)[1]
    assert (record["kind"], record["layers"]) == ("pruned", KEPT)
    assert record["base"] == sha256_file(source / WEIGHTS)
    assert [*record["made_from"].values()] == [sha256_file(source / RECORD)]
    assert record["provenance"]["stage"] == "prune"


def test_ends_of_a_text_are_not_layers():
    """Gemma 3 and Llama 3 list several ids; there may be as many as layers."""
    config = AutoConfig.for_model("llama", num_hidden_layers=3, eos_token_id=[7, 8, 9])
    found, kept = shortened(config, 2, "here")
    assert (found.eos_token_id, found.num_hidden_layers, kept) == ([7, 8, 9], 2, [0, 2])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_weights_keep_their_type(tmp_path, name, dtype):
    """Whatever config.json says: here it names float32, as it was before they were converted."""
    source = shutil.copytree(families.model(name, layers=LAYERS), tmp_path / "deep")
    wanted = getattr(torch, dtype)
    tensors = {n: t.to(wanted) for n, t in load_file(source / WEIGHTS).items()}
    save_file(tensors, source / WEIGHTS, {"format": "pt"})
    prune_checkpoint(recorded(source), 3, tmp_path / "pruned")
    expected = {renumbered(n): t for n, t in tensors.items() if renumbered(n)}
    assert bits(load_file(tmp_path / "pruned" / WEIGHTS)) == bits(expected)
    named = re.findall(r'"dtype": "(\w+)"', (tmp_path / "pruned/config.json").read_text())
    assert {*named} == {dtype}


def test_weights_of_two_types_keep_their_values(tmp_path):
    """As norms in float32 beside matrices in bfloat16, in two shards."""
    source = shutil.copytree(families.model("llama", layers=LAYERS), tmp_path / "deep")
    made = AutoModelForCausalLM.from_pretrained(source)
    (source / WEIGHTS).unlink()
    for name, tensor in made.state_dict().items():
        tensor.copy_(tensor if "norm" in name else tensor.bfloat16())
    made.save_pretrained(source, max_shard_size="100KB")
    shards = sorted(source.glob("*.safetensors"))
    assert len(shards) > 1
    whole = {}
    for shard in shards:
        tensors = load_file(shard)
        whole |= tensors
        save_file(
            {n: t if "norm" in n else t.bfloat16() for n, t in tensors.items()},
            shard,
            {"format": "pt"},
        )
    prune_checkpoint(recorded(source), 3, tmp_path / "pruned")
    expected = {renumbered(n): t for n, t in whole.items() if renumbered(n)}
    assert bits(load_file(tmp_path / "pruned" / WEIGHTS)) == bits(expected)
    assert stored_dtype(source, verify_checkpoint(source)[1]) == "float32"


def test_a_head_of_its_own_stays(tmp_path):
    """The files decide, as in loading; what config.json ties may come with a head that differs."""
    source = shutil.copytree(families.model("qwen2", layers=LAYERS), tmp_path / "deep")
    tensors = load_file(source / WEIGHTS)
    assert "lm_head.weight" not in tensors
    head = tensors["model.embed_tokens.weight"].flip(0).contiguous()
    save_file({**tensors, "lm_head.weight": head}, source / WEIGHTS, {"format": "pt"})
    prune_checkpoint(recorded(source), 3, tmp_path / "pruned")
    found = load_file(tmp_path / "pruned" / WEIGHTS)
    assert torch.equal(found["lm_head.weight"], head)


def test_one_line_for_what_cannot_be_pruned(tmp_path):
    deep = tiny.checkpoint()
    line = rf"\Atoo few layers: {deep}: it has 2, 20 are to be kept: set layers to 2 or less\Z"
    with pytest.raises(UserError, match=line):
        prune_checkpoint(deep, 20, tmp_path / "pruned")
    with pytest.raises(UserError, match=r"\Amissing checkpoint: [^\n]*\Z"):
        prune_checkpoint(tmp_path / "none", 2, tmp_path / "pruned")
    # Which layers have experts follows from their numbers.
    mixed = {"num_experts": 4, "mlp_only_layers": [1], "moe_intermediate_size": 16}
    mixed |= {**families.GROUPED, "num_hidden_layers": 4, "shared_expert_intermediate_size": 16}
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2_moe", **mixed))
    made.save_pretrained(tmp_path / "mixed")
    line = r"\Acannot prune: .*/mixed: its layers are not of one kind: model.layers.1.mlp.[^\n]*\Z"
    with pytest.raises(UserError, match=line):
        prune_checkpoint(recorded(tmp_path / "mixed"), 2, tmp_path / "pruned")
    assert not (tmp_path / "pruned").exists()
