"""Token counts: by brute force, from prepared data, and those that the repository ships."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.token_counts import counted, prepared_rows
from scripts.first.config.load import load, own_files
from scripts.first.errors import UserError
from scripts.first.files import read_json, write_json
from scripts.first.plan.corpora import SHIPPED, count, counts_of, encoded_split
from scripts.first.provenance import records
from tests import tiny_models as tiny
from tests.science.test_tokenizer import LLAMA, SHARED, needs_llama

ENCODING = {"block_length": 512, "append_eos": True}


def test_counts_are_those_of_the_rows():
    encoded = tiny.encode(tiny.instruction_rows(9))
    lengths = [len(row.input_ids) for row in encoded]
    positions = sorted((len(row.labels) for row in encoded), reverse=True)
    found = count(encoded)
    assert (found.rows, found.tokens, found.longest) == (9, sum(lengths), max(lengths))
    assert found.squares == sum(n * n for n in lengths)
    assert found.positions == sum(positions)
    assert found.crowded[:4] == tuple(sum(positions[:n]) for n in (1, 2, 4, 8))
    assert set(found.crowded[4:]) == {sum(positions)}


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 60), st.randoms(use_true_random=False))
def test_no_batch_has_more_positions_than_promised(n, size, draw):
    encoded = tiny.encode(tiny.instruction_rows(n, seed=draw.randint(0, 99)))
    chosen = draw.sample(encoded, min(size, n))
    assert sum(len(row.labels) for row in chosen) <= count(encoded).positions_of(size)


def test_a_subset_has_its_share():
    whole = count(tiny.encode(tiny.choice_rows(10)))
    half = whole.scaled(5)
    assert (half.rows, half.positions, half.longest) == (5, 15, whole.longest)
    assert abs(half.tokens - whole.tokens / 2) <= 1
    assert whole.scaled(None) == whole.scaled(20) == whole


def test_shipped_counts_agree_with_what_is_known_of_the_datasets():
    """CommonsenseQA 9,741 rows of 3 positions, BoolQ 9,427 of 2, Alpaca 52,002; 90 to 10."""
    table = read_json(SHIPPED)["llama"]["corpora"]
    for corpus, rows, positions in (("csqa", 9741, 3), ("boolq", 9427, 2)):
        parts = [table[corpus][split] for split in ("train", "validation")]
        assert sum(part["rows"] for part in parts) == rows
        assert all(part["positions"] == positions * part["rows"] for part in parts)
        assert parts[0]["rows"] == int(0.9 * rows)
    alpaca = [table["alpaca"][split] for split in ("train", "validation")]
    assert 52_000 <= sum(part["rows"] for part in alpaca) <= 52_002  # over-long prompts are dropped
    assert [table[name]["test"]["rows"] for name in ("csqa", "boolq", "obqa")] == [1221, 3270, 500]
    for splits in table.values():
        for split, part in splits.items():
            assert split == "test" or part["longest"] <= 512


@needs_llama
def test_shipped_counts_can_be_made_again():
    """One corpus with the real tokenizer: the same numbers, to the digit."""
    from scripts.first.models.tokenizer import load_tokenizer

    data = load(own_files())["scales"]["paper"]["data"]
    tables = prepared_rows({**data, "source": "mirror"}, ["csqa"], str(SHARED / "hub"))
    shipped = read_json(SHIPPED)["llama"]
    tokenizer = load_tokenizer(LLAMA)
    found = json.loads(json.dumps(counted(tables, tokenizer, ENCODING)))
    assert found["csqa"] == shipped["corpora"]["csqa"]
    assert tokenizer.sha256 == shipped["tokenizer_sha256"]


@pytest.fixture
def prepared(tmp_path):
    """Results of scale paper in which one split of CommonsenseQA is prepared."""
    rows = tiny.choice_rows(12)
    tiny.write_table(tmp_path / "paper/data/csqa/train.parquet", rows)
    records.write(tmp_path / "paper/data/csqa/report.json", {}, ["train.parquet"])
    return tmp_path, rows


def test_prepared_data_are_counted_with_the_familys_tokenizer(prepared):
    results, rows = prepared
    shutil.copytree(tiny.checkpoint(), results / "paper/models/llama1-7b")
    config = load(own_files())["scales"]["paper"]
    found = counts_of("paper", "llama1", "csqa", "train", config, results)
    expected = count(encoded_split(rows, "train", tiny.tokenizer(), ENCODING))
    assert asdict(found) == {**asdict(expected), "source": found.source}
    assert "with the tokenizer of llama1-7b" in found.source


@pytest.mark.parametrize("kind", ["hub", "mirror"])
def test_a_fetched_models_tokenizer_lies_elsewhere(prepared, kind, tmp_path, monkeypatch):
    """Records of the hub and of mirrors name no path; without the files it was not fetched."""
    results, rows = prepared
    config = load(own_files())["scales"]["paper"]
    hub = config["models"]["llama1-7b"]["hub"]
    cache, mirror = tmp_path / "cache", tmp_path / "mirror"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("FIRST_MODEL_MIRROR", str(mirror))
    kept = f"models--{hub['repo'].replace('/', '--')}/snapshots/{hub['revision']}"
    files = cache / kept if kind == "hub" else mirror / hub["repo"]
    shutil.copytree(tiny.checkpoint(), files, ignore=shutil.ignore_patterns("record.json"))
    names = dict.fromkeys(path.name for path in files.iterdir())
    record = {"kind": kind, "repo": hub["repo"], "commit": hub["revision"], "files": names}
    write_json(results / "paper/models/llama1-7b/record.json", record)
    found = counts_of("paper", "llama1", "csqa", "train", config, results)
    assert found.rows == len(rows) and found.source.endswith("csqa with the tokenizer of llama1-7b")
    shutil.rmtree(files)
    assert counts_of("paper", "llama1", "csqa", "train", config, results).source == "llama"


def test_without_a_tokenizer_the_shipped_counts_stand_in(prepared):
    config = load(own_files())["scales"]["paper"]
    found = counts_of("paper", "llama1", "csqa", "train", config, prepared[0])
    assert (found.rows, found.source) == (8766, "llama")
    other = counts_of("paper", "openllama", "csqa", "train", config, prepared[0])
    assert other.source == "llama, not the tokenizer of openllama-7b"


def test_limits_of_a_scale_are_kept(tmp_path):
    config = load(own_files())["scales"]["small"]
    found = counts_of("small", "smollm2", "alpaca", "train", config, tmp_path)
    assert found.rows == 10000 and "not the tokenizer of smollm2-360m" in found.source


def test_another_block_length_has_no_counts(tmp_path):
    config = load(own_files())["scales"]["paper"]
    config["encoding"]["block_length"] = 300
    with pytest.raises(UserError, match="no token counts.*300.*prepare the data"):
        counts_of("paper", "llama1", "csqa", "train", config, tmp_path)
