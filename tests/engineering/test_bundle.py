"""The shipped base checkpoints load, are what their records say, and stay small."""

import pytest
import yaml

from first_distill.config.load import FOLDER
from first_distill.models.checkpoints import load_model, verify_checkpoint, weights_digest
from first_distill.models.tokenizer import load_tokenizer

ROOT = FOLDER.parent
SCALE = yaml.safe_load((FOLDER / "scales/tiny.yaml").read_text(encoding="utf-8"))["scales"]["tiny"]
MODELS = sorted(SCALE["models"])
LIMIT = 6_000_000


def test_six_models_below_the_limit():
    """Every configured model is shipped, all of them within 6 MB."""
    sizes = [p.stat().st_size for p in (ROOT / "resources/tiny").rglob("*") if p.is_file()]
    assert {p.name for p in (ROOT / "resources/tiny").iterdir()} == set(MODELS)
    assert sum(sizes) <= LIMIT


@pytest.mark.parametrize("name", MODELS)
def test_record_names_what_is_there(name):
    """Files hash to their record; the recipe's seed, rate and base are the configured ones."""
    folder = ROOT / SCALE["models"][name]["bundled"]
    record = verify_checkpoint(folder)[1]
    recipe = SCALE["models"][name]["pretrain"]
    assert record["settings"]["seed"] == recipe["seed"]
    assert record["settings"]["learning_rate"] == recipe["learning_rate"]
    if "start_from" in recipe:
        start = ROOT / SCALE["models"][recipe["start_from"]]["bundled"]
        assert record["base"] == weights_digest(verify_checkpoint(start)[1])


def test_families_share_a_vocabulary_and_differ():
    """One tokenizer for all, three different pretraining runs."""
    hashes = {load_tokenizer(ROOT / "resources/tiny" / name).sha256 for name in MODELS}
    assert len(hashes) == 1
    records = [verify_checkpoint(ROOT / "resources/tiny" / name)[1] for name in MODELS]
    assert len({weights_digest(record) for record in records}) == len(MODELS)


def test_a_model_loads_and_speaks():
    """Shipped weights load as a causal language model of the tokenizer's size."""
    import torch

    model = load_model(ROOT / "resources/tiny/alder-student", device="cpu")
    tokenizer = load_tokenizer(ROOT / "resources/tiny/alder-student")
    logits = model(torch.tensor([tokenizer.encode("A: The answer is (")])).logits
    assert logits.shape[-1] == tokenizer.vocabulary_size == model.config.vocab_size
    assert torch.isfinite(logits).all()
