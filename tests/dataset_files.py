"""Small datasets in the schemas that their repositories on the hub have, written by pyarrow.

Each maker writes OWNER/NAME/files into a mirror and returns the rows that it wrote, {split: rows}.
Beside them lie what such repositories also have: other configurations, unlabelled splits, a card.
"""

import csv
import random
import re
import shutil
import string
import tempfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import ClassLabel, List, Value

from first_distill.config.datasets import entry_for
from first_distill.config.load import load, own_files

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "add-a-benchmark.md"
WORDS = "ash elm oak fir yew bay fig hop ivy rye tea nut pea leek kale corn moss fern reed rush"
TEXT, WHOLE = Value("string"), Value("int64")
Rows = list[dict]


def sentence(draw: random.Random, count: int = 6) -> str:
    """Some words."""
    return " ".join(draw.choices(WORDS.split(), k=count))


def write(path: Path, rows: Rows, features: dict) -> None:
    """One Parquet file with the metadata that `datasets` writes, ClassLabel names among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = datasets.Features(features).arrow_schema
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def write_split(folder: Path, split: str, rows: Rows, features: dict, shards: int = 1) -> None:
    """A split in `shards` files, as the hub names them."""
    for i in range(shards):
        part = rows[i * len(rows) // shards : (i + 1) * len(rows) // shards]
        write(folder / f"{split}-{i:05d}-of-{shards:05d}.parquet", part, features)


def card(folder: Path, configurations: dict[str, list[str]]) -> None:
    """README.md with the files of each configuration, {name: its splits}, as the hub has it."""
    lines = ["---", "configs:"]
    for name, splits in configurations.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def arc(mirror: Path) -> dict[str, Rows]:
    """allenai/ai2_arc: 3 to 5 choices, labelled by letters or by digits."""
    draw, folder = random.Random(1), mirror / "allenai/ai2_arc"
    features = {"id": TEXT, "question": TEXT, "answerKey": TEXT}
    features["choices"] = {"text": List(TEXT), "label": List(TEXT)}

    def rows(split: str, count: int) -> Rows:
        made = []
        for i in range(count):
            labels = list(draw.choice(("ABCDE", "12345"))[: draw.choice((3, 4, 4, 4, 5))])
            texts = [sentence(draw, 2) for _ in labels]
            own = {"id": f"{split}_{i}", "question": f"{sentence(draw)} {split} {i}?"}
            choices = {"text": texts, "label": labels}
            made.append({**own, "choices": choices, "answerKey": draw.choice(labels)})
        return made

    found = {"train": rows("train", 60), "validation": rows("validation", 40)}
    found["test"] = rows("test", 50)
    for split, own in found.items():
        write_split(folder / "ARC-Challenge", split, own, features, shards=3)
        write_split(folder / "ARC-Easy", split, rows(f"easy_{split}", 5), features)
    card(folder, dict.fromkeys(("ARC-Challenge", "ARC-Easy"), [*found]))
    return found


def mmlu(mirror: Path) -> dict[str, Rows]:
    """cais/mmlu: a list of four choices and a ClassLabel; two test questions stand elsewhere too.

    One in training, one in validation. The rows returned are those of configuration `all`.
    """
    draw, folder = random.Random(2), mirror / "cais/mmlu"
    features = {"question": TEXT, "subject": TEXT, "choices": List(TEXT)}
    features["answer"] = ClassLabel(names=list("ABCD"))

    def rows(split: str, count: int) -> Rows:
        subjects = [""] if split == "auxiliary_train" else ["anatomy", "virology"]
        return [
            {
                "question": f"{sentence(draw)} {split} {i}?",
                "subject": draw.choice(subjects),
                "choices": [sentence(draw, 2) for _ in range(4)],
                "answer": draw.randrange(4),
            }
            for i in range(count)
        ]

    sizes = {"auxiliary_train": 60, "test": 50, "validation": 40, "dev": 10}
    found = {split: rows(split, count) for split, count in sizes.items()}
    for i, split in ((7, "auxiliary_train"), (9, "validation")):
        found[split][i] = {**found["test"][i], "subject": found[split][i]["subject"]}
    for split, own in found.items():
        write_split(folder / "all", split, own, features, shards=1 + (split == "auxiliary_train"))
        if split != "auxiliary_train":
            part = [row for row in own if row["subject"] == "anatomy"]
            write_split(folder / "anatomy", split, part, features)
    nested = [{"train": {**row, "answer": int(row["answer"])}} for row in found["auxiliary_train"]]
    plain = {"train": {**features, "answer": WHOLE}}
    write_split(folder / "auxiliary_train", "train", nested, plain)
    splits = {"all": [*found], "anatomy": ["test", "validation", "dev"]}
    card(folder, splits | {"auxiliary_train": ["train"]})
    return found


def piqa(mirror: Path) -> dict[str, Rows]:
    """baber/piqa: a column each choice, an integer label, a test split whose labels are -1."""
    draw, folder = random.Random(3), mirror / "baber/piqa"
    features = {"goal": TEXT, "sol1": TEXT, "sol2": TEXT, "label": WHOLE}

    def rows(split: str, count: int) -> Rows:
        return [
            {
                "goal": f"{sentence(draw)} {split} {i}",
                "sol1": sentence(draw, 8),
                "sol2": sentence(draw, 8),
                "label": -1 if split == "test" else draw.randrange(2),
            }
            for i in range(count)
        ]

    found = {"train": rows("train", 60), "validation": rows("validation", 40)}
    found["test"] = rows("test", 45)
    for split, own in found.items():
        write(folder / f"piqa_{split}.parquet", own, features)
    return found


def boolq(mirror: Path) -> dict[str, Rows]:
    """aps/super_glue, configuration boolq: a passage, an int32 idx, ClassLabel False and True."""
    draw, folder = random.Random(4), mirror / "aps/super_glue"
    features = {"question": TEXT, "passage": TEXT, "idx": Value("int32")}
    features["label"] = ClassLabel(names=["False", "True"])

    def rows(split: str, count: int) -> Rows:
        return [
            {
                "question": f"is {sentence(draw, 4)} {split} {i}",
                "passage": f"{sentence(draw, 20).capitalize()}.\n{sentence(draw, 9)}.",
                "idx": i,
                "label": -1 if split == "test" else draw.randrange(2),
            }
            for i in range(count)
        ]

    found = {"train": rows("train", 60), "validation": rows("validation", 40)}
    found["test"] = rows("test", 45)
    other = {"premise": TEXT, "hypothesis": TEXT, "idx": Value("int32")}
    other["label"] = ClassLabel(names=["entailment", "contradiction", "neutral"])
    for split, own in found.items():
        write_split(folder / "boolq", split, own, features, shards=1 + (split == "train"))
        pairs = [{"premise": "a", "hypothesis": "b", "idx": i, "label": i % 3} for i in range(6)]
        write_split(folder / "cb", split, pairs, other)
    card(folder, dict.fromkeys(("boolq", "cb"), [*found]))
    return found


def reviews(mirror: Path) -> dict[str, Rows]:
    """cornell-movie-review-data/rotten_tomatoes: text, ClassLabel neg and pos; positive first."""
    draw, folder = random.Random(5), mirror / "cornell-movie-review-data/rotten_tomatoes"
    features = {"text": TEXT, "label": ClassLabel(names=["neg", "pos"])}
    found = {
        split: [
            {"text": f"{sentence(draw, 12)} ({split}, {i}) .", "label": int(i < count // 2)}
            for i in range(count)
        ]
        for split, count in (("train", 60), ("validation", 40), ("test", 50))
    }
    for split, own in found.items():
        write(folder / f"{split}.parquet", own, features)
    return found


def questions(folder: Path) -> dict[str, Rows]:
    """questions.csv, a file of one's own: four choices, an answer by letter; quotes and commas."""
    draw, names = random.Random(6), ["id", "question", "a", "b", "c", "d", "answer"]
    rows = []
    for i in range(60):
        stem = f'{sentence(draw)}, "{sentence(draw, 2)}" {i}?'
        texts = {name: f"{sentence(draw, 2)}, {i}" for name in "abcd"}
        answer = draw.choice(string.ascii_uppercase[:4])
        rows.append({"id": str(100 + i), "question": stem, **texts, "answer": answer})
    with open(folder / "questions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)
    return {"train": rows}


MAKERS = {"arc_challenge": arc, "mmlu": mmlu, "piqa": piqa, "superglue_boolq": boolq}
MAKERS |= {"reviews": reviews, "questions": questions}


def page_files() -> dict[str, str]:
    """{dataset: the content of mine.yaml that docs/ shows for it}."""
    text = PAGE.read_text("utf-8") + (DOCS / "dataset-examples.md").read_text("utf-8")
    blocks = re.findall(r"^```yaml\n(datasets:.*?)^```", text, re.M | re.S)
    return {next(iter(yaml.safe_load(block)["datasets"])): block for block in blocks}


def entry_of_page(name: str, of: str | None = None) -> dict:
    """What stage data gets of a page's entry, or of another one `of` the configuration with it."""
    folder = Path(tempfile.mkdtemp())
    (folder / "mine.yaml").write_text(page_files()[name])
    config = load([*own_files(), folder / "mine.yaml"])
    shutil.rmtree(folder)
    return entry_for(of or name, config, config["scales"]["small"]["data"])
