"""Token counts: by brute force, from prepared data, and those that the repository ships."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.token_counts import counted, prepared_rows
from first_distill.config.load import load, own_files
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.plan.corpora import SHIPPED, count, counts_of, encoded_split
from first_distill.plan.scale import Scale
from first_distill.provenance import records
from tests import tiny_models as tiny
from tests.science.test_tokenizer import LLAMA, SHARED, needs_llama

ENCODING = {"block_length": 512, "append_eos": True}


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 60), st.randoms(use_true_random=False))
def test_no_batch_has_more_positions_than_promised(n, size, draw):
    encoded = tiny.encode(tiny.instruction_rows(n, seed=draw.randint(0, 99)))
    chosen = draw.sample(encoded, min(size, n))
    assert sum(len(row.labels) for row in chosen) <= count(encoded).positions_of(size)


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
    from first_distill.models.tokenizer import load_tokenizer

    tables = prepared_rows(load(own_files()), "paper", ["csqa"], str(SHARED / "hub"))
    shipped = read_json(SHIPPED)["llama"]
    tokenizer = load_tokenizer(LLAMA)
    found = json.loads(json.dumps(counted(tables, tokenizer, ENCODING)))
    assert found["csqa"] == shipped["corpora"]["csqa"]
    assert tokenizer.sha256 == shipped["tokenizer_sha256"]


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """Scale paper in a folder without results."""
    monkeypatch.chdir(tmp_path)
    return Scale("paper", load(own_files())["scales"]["paper"], {})


def test_prepared_data_are_counted_with_the_familys_tokenizer(paper):
    rows = tiny.choice_rows(12)
    tiny.write_table(paper.folder("data", "csqa", "train.parquet"), rows)
    records.write(paper.folder("data", "csqa", "report.json"), {}, ["train.parquet"])
    shutil.copytree(tiny.checkpoint(), paper.folder("models", "llama1-7b"))
    found = counts_of(paper, "llama1", "csqa", "train")
    assert found == count(encoded_split(rows, "train", tiny.tokenizer(), ENCODING))
    assert "with the tokenizer of llama1-7b" in paper.sources["tokens of llama1/csqa"]
    paper.settings["families"]["llama1"]["bos"] = "never"
    counts_of.cache_clear()
    assert counts_of(paper, "llama1", "csqa", "train").tokens == found.tokens - len(rows)


def test_another_block_length_has_no_counts(paper):
    paper.settings["encoding"]["block_length"] = 300
    advice = "no token counts.*300.*run snakemake -c2 .*/llama1-7b/record.json .*/csqa/report.json"
    with pytest.raises(UserError, match=advice):
        counts_of(paper, "llama1", "csqa", "train")


@pytest.mark.parametrize("asked", [4_680, 10**6])
def test_subsets_are_counted_in_proportion(paper, asked):
    """A tenth of Alpaca has a tenth of the tokens, and possibly its longest rows."""
    whole = read_json(SHIPPED)["llama"]["corpora"]["alpaca"]["train"]
    paper.datasets["alpaca"] = {"rows": {"train": asked}}
    found = counts_of(paper, "llama1", "alpaca", "train")
    share = min(1, asked / whole["rows"])
    assert found.rows == min(asked, whole["rows"])
    for name in ("tokens", "squares", "positions"):
        assert getattr(found, name) == pytest.approx(share * whole[name], abs=1)
    for name in ("longest", "crowded", "density"):
        assert getattr(found, name) == whole[name]
    assert counts_of(paper, "llama1", "alpaca", "validation").rows > 5000
