"""CommonsenseQA in miniature: official rows, and a mirror of them; the shipped entries."""

import json
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from first_distill.config.datasets import entry_for
from first_distill.config.load import load, own_files
from first_distill.data import sources, tables

REPO, FILE = "tau/commonsense_qa", "{}-00000-of-00001.parquet"


@cache
def _configuration() -> dict:
    return load(own_files())


def entry(name: str = "csqa", /, **changes) -> dict:
    """A shipped entry of `datasets` as stage data gets it, with other keys; None removes one."""
    found = json.loads(json.dumps(entry_for(name, _configuration(), {"validation_share": 0.1})))
    return {key: own for key, own in {**found, **changes}.items() if own is not None}


def question(i: int, key: str = "B") -> dict:
    """One official row."""
    choices = {"label": list("ABCDE"), "text": list("vwxyz")}
    row = {"id": f"q{i}", "question": f"why {i}?", "question_concept": "why"}
    return {**row, "choices": choices, "answerKey": key}


def splits() -> dict[str, list[dict]]:
    """40 training, 10 validation and 5 unlabelled test rows."""
    numbers = {"train": range(40), "validation": range(40, 50), "test": range(50, 55)}
    return {s: [question(i, "" if s == "test" else "B") for i in n] for s, n in numbers.items()}


def write_split(place: Path, split: str, rows: list[dict]) -> None:
    """Write the parquet file of a split."""
    pq.write_table(pa.Table.from_pylist(rows), place / FILE.format(split))


def make_mirror(folder: Path, changed: dict[str, list[dict]] | None = None) -> Path:
    """A mirror at `folder`, some splits `changed`; returns the dataset's folder of tables."""
    place = folder / REPO / "data"
    place.mkdir(parents=True)
    for split, rows in {**splits(), **(changed or {})}.items():
        write_split(place, split, rows)
    return place


# The official split of train, validation and test, and further keys.
LAYOUTS = {
    "own splits": ("train", "validation", "test", {}),
    "validation of train": ("train", "train", "validation", {}),
    "all of train": ("train", "train", "train", {"test_share": 0.25}),
    "test of validation": ("train", "validation", "validation", {"test_share": 0.4}),
    "train and test of train": ("train", "validation", "train", {"test_share": 0.25}),
}


def official(**changes) -> sources.Official:
    """CommonsenseQA's training and validation split, some `changes`, and others beside them."""
    rows = {**splits(), **changes}
    unused = {} if "test" in changes else {"test": (len(rows.pop("test")), 0)}
    return sources.Official(rows, {"kind": "world"}, unused)


def build(official: sources.Official, seed: int = 1234, **changes):
    """Tables and report of CommonsenseQA's entry, with other keys."""
    return tables.build("csqa", entry("csqa", **changes), official, seed)
