"""CommonsenseQA in miniature: official rows, and a mirror of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

REPO, FILE = "tau/commonsense_qa", "{}-00000-of-00001.parquet"


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
