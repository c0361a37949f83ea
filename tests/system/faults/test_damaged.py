"""Damaged files: what a later stage reads is verified before it is used, and named.

Each file gets flipped bits, is cut short, emptied, swapped with its like of another seed, method or
family, and deleted. Then the real command of a stage that reads it runs.
"""

import importlib
import random
import shlex
import shutil
from pathlib import Path

import pytest

from first_distill.errors import UserError
from first_distill.provenance.lineage import Lineage
from tests.system.faults import WHOLE, tried
from tests.system.faults.jobs import jobs
from tests.system.faults.runs import Run, undisturbed
from tests.system.faults.small import small_copy

FLIPS = 20 if WHOLE else 3
FAMILIES = ("alder", "birch") if WHOLE else ("alder",)
R = "results/tiny"
TEST = f"{R}/data/csqa/test.parquet"
STUDENT = f"{R}/student/alder/csqa/first_ts/seed1234"
ANSWERS = f"{R}/evaluation/alder/csqa/first_ts/seed1234"
TRAIN, VALIDATION = (f"{R}/knowledge/alder/csqa/{split}" for split in ("train", "validation"))
SEARCH = f"{R}/temperature/alder/csqa"
CELL = f"{R}/tables/table1/cells/alder/{{}}/in_domain-csqa.json"
CHECKPOINT = ("model.safetensors", "config.json", "tokenizer.json", "record.json")
DATA, WORLD = f"{R}/data/csqa", f"{R}/models/tokenizers/world"
BASE = f"{R}/models/pretrained/alder-student"
LABELS = f"{R}/student/alder/csqa/finetune/seed1234"
DISTILLED = ANSWERS.replace("first_ts", "distill")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "record.json")
# kind, folder, its files, the words that pick the command that reads them
READERS = [
    ("prepared data", DATA, ("train.parquet", "report.json"), ("scripts.teacher",)),
    ("prepared data", DATA, ("test.parquet",), ("scripts.evaluation", TEST)),
    ("prepared data", DATA, ("test.parquet",), ("table2",)),
    ("prepared data", DATA, ("report.json",), ("data-report",)),
    ("tokenizer", WORLD, TOKENIZER, ("pretrain", BASE)),
    ("tokenizer", f"{R}/models/alder-student", ("tokenizer.json", "record.json"), ("pair",)),
    ("checkpoint", BASE, CHECKPOINT, ("copy",)),
    ("checkpoint", f"{R}/models/alder-student", CHECKPOINT, ("scripts.student", "finetune")),
    ("checkpoint", f"{R}/teacher/alder/csqa", CHECKPOINT, ("scripts.knowledge",)),
    ("checkpoint", STUDENT, CHECKPOINT, ("scripts.evaluation", "first_ts")),
    ("post-hoc temperature", LABELS, ("validation.json",), ("scripts.evaluation", "finetune")),
    (
        "post-hoc temperature",
        f"{R}/teacher/alder/csqa",
        ("validation.json",),
        ("scripts.knowledge",),
    ),
    ("pair of models", f"{R}/models/pairs/alder", ("csqa.json",), ("scripts.student", "distill")),
    ("store", TRAIN, ("knowledge.safetensors",), ("scripts.student", "distill")),
    ("store", TRAIN, ("knowledge.safetensors",), ("figure2",)),
    ("manifest", TRAIN, ("manifest.json",), ("scripts.student", "distill")),
    ("store", VALIDATION, ("knowledge.safetensors",), ("scripts.temperature",)),
    ("manifest", VALIDATION, ("manifest.json",), ("scripts.temperature",)),
    ("selected temperature", SEARCH, ("selected.json",), ("scripts.student", "first_ts")),
    ("selected temperature", SEARCH, ("selected.json",), ("cell", CELL.format("first_ts"))),
    ("search curve", SEARCH, ("coarse.csv", "refined.csv"), ("claims",)),
    ("search curve", SEARCH, ("coarse.csv", "refined.csv", "selected.json"), ("figure6",)),
    ("predictions", ANSWERS, ("predictions.parquet",), ("cell", CELL.format("first_ts"))),
    ("predictions", ANSWERS, ("predictions.parquet",), ("figure5",)),
    ("predictions", DISTILLED, ("ranks.parquet", "metrics.json"), ("figure3",)),
    ("metrics", ANSWERS, ("metrics.json",), ("cell", CELL.format("first_ts"))),
    ("metrics", ANSWERS, ("metrics.json",), ("claims",)),
    ("metrics", DISTILLED, ("metrics.json", "predictions.parquet"), ("posthoc",)),
    ("cell", str(Path(CELL.format("first_ts")).parent), ("in_domain-csqa.json",), ("table1",)),
    ("table", f"{R}/tables", ("table1.csv", "table1.record.json"), ("claims",)),
    ("table", f"{R}/tables", ("table1.csv", "table1.record.json"), ("show",)),
    ("table", f"{R}/tables", ("table1.csv", "table1.record.json"), ("meters",)),
    ("figure's data", f"{R}/figures", ("figure2.csv", "figure3.record.json"), ("claims",)),
]
SHOW = ["scripts.artifacts", "show", "--table1", f"{R}/tables/table1.csv"]
LIKES = {  # what a file is swapped with: its like of another ...
    "/data/csqa/": "/data/obqa/",
    "/models/tokenizers/world/": "/models/alder-teacher/",
    "/models/alder-student/": "/models/alder-teacher/",
    "/models/pretrained/alder-student/": "/models/pretrained/alder-teacher/",
    "/teacher/alder/csqa/": "/models/alder-teacher/",
    "/finetune/seed1234/": "/distill/seed1234/",
    "/seed1234/": "/seed1235/",
    "/csqa/train/": "/csqa/validation/",
    "/csqa/validation/": "/csqa/train/",
    "/cells/alder/first_ts/": "/cells/alder/distill/",
    "table1.": "table2.",
    "figure2.": "figure3.",
    "figure3.": "figure2.",
    "coarse.": "refined.",
    "refined.": "coarse.",
    f"{SEARCH}/selected.json": f"{ANSWERS}/metrics.json",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished small run, with a second seed of one student, and its real commands."""
    folder = tmp_path_factory.mktemp("damaged") / "first"
    if WHOLE:
        small_copy(folder, FAMILIES)
    else:
        whole = undisturbed(tmp_path_factory.getbasetemp())
        shutil.copytree(whole, folder, symlinks=True)
    run = Run(folder, "all", f"{ANSWERS.replace('1234', '1235')}/metrics.json")
    assert run.wait() == 0, run.log()[-3000:]
    found = [shlex.split(job.line)[2:-2] for job in jobs(folder)] + [SHOW]
    assert len(found) >= 40
    return folder, found


def reader(found: list[list[str]], words: tuple[str, ...], file: Path) -> list[str]:
    """The first command that has all of these words; rather one of this file, or of its folder."""
    fitting = [line for line in found if all(word in line for word in words)]
    for name in (str(file), str(file.parent)):
        fitting = [line for line in fitting if any(name in word for word in line)] or fitting
    return fitting[0]


def message(line: list[str], out: Path) -> str | None:
    """The line that the user of a command gets; None where it succeeds. It writes to `out`."""
    words = line[1:]
    for i, word in enumerate(words):
        if word in ("--output-dir", "--output", "--output-prefix", "--state-dir"):
            words[i + 1] = str(out / word.strip("-"))
    try:
        importlib.import_module(line[0]).main(words)
    except UserError as error:
        return str(error)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return None


def like(path: Path) -> Path:
    """The file that is put in this one's place: of another family where there is one."""
    other = Path(str(path).replace("/alder", "/birch"))
    if other != path and other.is_file():
        return other
    for mine, others in LIKES.items():
        other = Path(str(path).replace(mine, others))
        if other != path and other.is_file():
            return other
    return Path(f"{R}/claims.json")


def damages(path: Path, rng: random.Random, flips: int = FLIPS):
    """(what was done, the bytes) of each damage to a file; None for no file at all."""
    content = path.read_bytes()
    for _ in range(flips):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        yield "flipped bit", bytes(flipped)
    yield "cut short", content[: rng.randrange(1, len(content))]
    yield "last byte gone", content[:-1]
    yield "emptied", b""
    if like(path).read_bytes() != content:  # one tokenizer may serve two models
        yield "swapped", like(path).read_bytes()
    yield "deleted", None


def test_every_damage_is_named_before_use(finished, tmp_path, monkeypatch, capfd):
    """Each file, each damage: the command that reads it ends in one line that names it."""
    folder, found = finished
    monkeypatch.chdir(folder)
    rng = random.Random(5)
    counts: dict[str, list[int]] = {}
    silent, examples = [], {}
    for kind, place, names, words in READERS:
        line = reader(found, words, Path(place) / names[0])
        assert message(line, tmp_path / "out") is None, line  # undamaged, it runs
        for path in (Path(place) / name for name in names):
            content = path.read_bytes()
            for damage, bad in damages(path, rng):
                path.unlink()
                if bad is not None:
                    path.write_bytes(bad)
                heard = message(line, tmp_path / "out")
                path.write_bytes(content)
                tally = counts.setdefault(f"{kind}, {damage}", [0, 0])
                tally[0] += 1
                named = heard and (str(path) in heard or f"{path.parent}: it has no" in heard)
                # A record and its files vouch for each other: either may be the one named.
                named = named or (heard and str(path.parent) in heard)
                if named and "\n" not in heard:
                    tally[1] += 1
                    examples.setdefault(f"{kind}, {damage}", heard)
                else:
                    silent.append((str(path), damage, words, heard))
    capfd.readouterr()
    for what, (count, detected) in counts.items():
        tried(f"damaged {what}", count, detected, count - detected, examples.get(what, "nothing"))
    assert not silent, "\n".join(map(str, silent))


def test_the_verifier_finds_each_damage(finished, monkeypatch):
    """A flipped bit in any file of the results, or any file swapped or deleted, is reported."""
    folder, _ = finished
    monkeypatch.chdir(folder)

    def reported() -> set[str]:
        lineage = Lineage(R)
        problems = [p for record in lineage.records.values() for p in record.problems]
        unknown = {name for name in lineage.present if name not in lineage.owner}
        return unknown | {file for _, file, _ in problems}

    assert reported() == set()
    rng = random.Random(6)
    files = sorted(path for path in Path(R).rglob("*") if path.is_file())
    chosen, count = files if WHOLE else rng.sample(files, 12), 0
    for path in chosen:
        content = path.read_bytes()
        for damage, bad in damages(path, rng, flips=3):
            if damage in ("flipped bit", "deleted", "swapped"):
                path.unlink()
                if bad is not None:
                    path.write_bytes(bad)
                about, count = reported(), count + 1
                path.write_bytes(content)
                # A record and its files vouch for each other: either may be the one named.
                assert path.parent in {(Path(R) / name).parent for name in about}, (path, damage)
    tried("any file of finished results: verify", count, count, 0, "altered: …")
