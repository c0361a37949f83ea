"""The code fingerprint: what can change a number changes it, and nothing else does."""

import os
import re
import subprocess
import sys

import pytest

from first_distill.provenance import fingerprint as module
from tests import tiny_models as tiny

ROOMS = "first_distill"
CODE = (f"{ROOMS}/**/*.py", "scripts/*.py")


def prints() -> dict[str, str]:
    """Fingerprints of all stages, as a new process sees them."""
    module.module.cache_clear()
    return {stage: module.fingerprint(stage) for stage in module.STAGES}


def code(repository, *where: str) -> list:
    """Files of a copy's code."""
    return [path for pattern in where or CODE for path in repository.glob(pattern)]


def edit(repository, pattern: str, replacement: str, *where: str) -> None:
    """Replace a regular expression in the files of a copy; it must be there."""
    found = 0
    for path in code(repository, *where):
        text, count = re.subn(pattern, replacement, path.read_text())
        path.write_text(text)
        found += count
    assert found, pattern


def rename(repository, old: str, new: str) -> None:
    """Move a module, as `training.losses`, and rewrite the imports of it."""
    first = repository / ROOMS
    target = first.joinpath(*new.split(".")).with_suffix(".py")
    target.parent.mkdir(exist_ok=True)
    first.joinpath(*old.split(".")).with_suffix(".py").rename(target)
    (base, name), (package, other) = old.rsplit(".", 1), new.rsplit(".", 1)
    alone = rf"from first_distill\.{base} import {name}( as \w+)?\n"
    for path in code(repository):
        text = path.read_text().replace(f"distill.{old} import", f"distill.{new} import")
        found = re.search(alone, text)
        alias = found[1] or f" as {name}" if found else ""
        line = f"from first_distill.{package} import {other}{alias}\n"
        path.write_text(re.sub(alone, line, text))


def test_sixteen_digits_of_the_real_tree():
    own = prints()
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in own.values())
    assert len(set(own.values())) == len(own)
    assert all(module._definitions(path) for paths in module.STAGES.values() for path in paths)
    code = "from first_distill.provenance.fingerprint import fingerprint as f; print(f('student'))"
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    other = subprocess.check_output(
        [sys.executable, "-OO", "-c", code], cwd=tiny.REPOSITORY, env=environment, text=True
    )
    assert other.strip() == own["student"]


# What a stage's numbers rest on, in a small repository: one function for all that is to see.
SMALL = {
    "__init__": '"""A package."""',
    "entry": '''
        """An entry."""
        from scripts import words
        from scripts.core import step as move
        def main(argv: list[str]) -> int:
            """Run."""
            text = "no rows" if argv else "no words"
            if not argv:
                raise UserError(f"{text}: {argv}")
            print("starting", len(argv))
            return move(argv) + len(words.PROMPT)
        if __name__ == "__main__":
            main([])
    ''',
    "core": '''
        import math
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import numpy
        RATE = 0.5
        math.e = 2
        math.e = 3
        class Row:
            """A row."""
            kind: str = "plain"
            if RATE:
                size = 1
        def step(rows: "numpy.ndarray", scale: float = 2.0):
            assert rows, "no rows"
            global SEEN
            SEEN = 1
            return _half(len(rows)) * math.ceil(scale) + (Row.kind == "plain")
        def _half(n):
            first = factor = 1.0
            return RATE * n * factor
        def unused():
            return 3
    ''',
    "words": 'PROMPT = "Q: "\nOTHER = 1\n',
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository of four modules; a function that edits it and returns both fingerprints."""
    (tmp_path / "scripts").mkdir()
    for name, text in SMALL.items():
        text = re.sub(r"(?m)^ {8}", "", text).strip() + "\n"
        (tmp_path / f"scripts/{name}.py").write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "STAGES", {"entry": ["scripts.entry.main"]})

    def change(old: str, new: str) -> tuple[str, str]:
        before = prints()["entry"]
        edit(tmp_path, re.escape(old), new.replace("\\", r"\\"), "scripts/*.py")
        return before, prints()["entry"]

    yield change
    module.module.cache_clear()


SAME = [
    ('"no rows" if', '"not one row" if'),
    ('f"{text}: {argv}"', 'f"{text}, {len(argv)} given"'),
    ('"starting"', '"off we go"'),
    ('assert rows, "no rows"', 'assert rows, "empty"'),
    ('"""Run."""', '"""Start.\n\n    At once.\n    """'),
    ('    """A row."""\n', ""),
    ("RATE = 0.5\n", "RATE: float = 0.5  # of what\n\n\n"),
    ("scale: float = 2.0", "scale: int = 2.0"),
    ("kind: str =", "kind ="),
    ("    import numpy\n", "    import pandas\n    import torch\n"),
    ("_half", "_halved"),
    ("return 3", "return 4"),  # nobody calls it
    ("OTHER = 1", "OTHER = 2"),
    ("import math\n", "import os\nimport math\n"),
    ("    main([])", "    main([1])"),
    ("    return RATE * n", "    why = 'it is half'\n    return RATE * n"),
    ("    return RATE * n", "    a = 'half'\n    b = f'it is {a}'\n    return RATE * n"),
    ("def unused", "@math.prod\ndef unused"),
    ("from scripts.core import", "from .core import"),
    ("from scripts import words", "from . import words"),
]
OTHER = [
    ("RATE = 0.5", "RATE = 0.25"),
    ("RATE * n", "RATE + n"),
    ("scale: float = 2.0", "scale: float = 3.0"),
    ('"Q: "', '"Question: "'),
    ('kind: str = "plain"', 'kind: str = "rich"'),
    ('kind: str = "plain"', "kind: str = ''"),
    ('kind: str = "plain"', "kind: str = None"),
    ("(len(rows))", "(len(rows) - 1)"),
    ("import math\n", "import cmath as math\n"),  # another function under one name
    ("if not argv", "if argv"),
    ("import step as move", "import unused as move"),
    ("words.PROMPT", "words.OTHER"),
    ('print("starting", len(argv))', 'print("starting", argv.pop())'),
    ("OTHER = 1", "OTHER = 1\nprint(OTHER)"),  # an import runs it
    ("OTHER = 1", "OTHER = 1\nvars()['PROMPT'] = 'A: '"),
    ("OTHER = 1", "OTHER = 1\nPROMPT.kind, OTHER = 1, 1"),
    ("OTHER = 1", "OTHER = 1\ndel vars()['PROMPT']"),
    ("OTHER = 1", "OTHER = 1\nOTHER += 1"),
    ("math.e = 2\nmath.e = 3", "math.e = 3\nmath.e = 2"),
    ("def unused", "@_half\ndef unused"),  # it may register the function
    ("def unused", "@math.prod(RATE)\nclass Unused:\n    pass\ndef unused"),
    ("factor = 1.0", "factor = 2.0"),
    ("SEEN = 1", "SEEN = 2"),
    ("size = 1", "size = 2"),
    ("    return RATE * n", "    why = 'it is half'\n    return len(why) * n"),
]


@pytest.mark.parametrize(("old", "new"), [*SAME, *OTHER])
def test_only_what_can_change_a_number_counts(small, old, new):
    before, after = small(old, new)
    assert (before == after) == ((old, new) in SAME)


def test_functions_of_one_name_are_not_taken_for_each_other(small):
    """The bodies of two functions exchanged: the same texts, other numbers."""
    small("def unused", "def _half(n):\n    return 9\ndef unused")
    small("PROMPT =", "def _half(n):\n    return 8\nPROMPT =")
    _, before = small("len(words.PROMPT)", "words._half(1)")
    small("return 9", "return 7")
    small("return 8", "return 9")
    _, after = small("return 7", "return 8")
    assert before != after


def test_moves_change_nothing(repository):
    """A module renamed, one moved to another room, a function moved, services edited."""
    before = prints()
    rename(repository, "training.losses", "training.objectives")
    rename(repository, "calibration.recalibration", "knowledge.recalibrated")
    path = repository / ROOMS / "models/batching.py"
    head, found, tail = re.split(r"(?ms)^(def collate\(.*?\n)(?=def |class |\Z)", path.read_text())
    path.write_text("from first_distill.models.collating import collate\n" + head + tail)
    (path.parent / "collating.py").write_text(head + found + "\n\nLIMIT = 5\n")
    assert prints() == before
    for name in module.SERVICE:
        paths = [*(repository / ROOMS / name).glob("*.py"), repository / ROOMS / f"{name}.py"]
        for path in filter(type(paths[0]).is_file, paths):
            path.write_text(path.read_text() + "\n\nLIMIT = 3\nprint(LIMIT)\n")
    assert prints() == before


@pytest.mark.slow
def test_each_stage_has_its_own_code(repository):
    """An edit changes the stages that compute with it and no other one."""

    known = [prints()]

    def changed(pattern: str, replacement: str) -> set[str]:
        edit(repository, pattern, replacement, *CODE)
        known.append(prints())
        return {stage for stage, code in known[-1].items() if code != known[-2][stage]}

    loss = changed(r"torch\.xlogy\(q, q\) -", "torch.xlogy(q, q) +")  # Eq. 5
    assert loss == {"student"}
    bins = changed(r"return np\.searchsorted", "return 1 + np.searchsorted")  # the ECE
    assert {"evaluation", "cell", "figure5"} <= bins
    assert not bins & {"data", "base_model", "pair", "knowledge", "figure2"}
    assert {"table1", "figure6"} <= changed(r"%\.6f", "%.5f")  # digits of a CSV
    prompt = changed('"letter": a, ', '"letter": a.upper(), ')
    assert "data" in prompt and not prompt & {"teacher", "student", "knowledge", "evaluation"}
    assert changed(r"row\[name\] or None", "row[name]") == {"data"}  # of a CSV
    assert changed(r"return names\.index\(own\)", "return -1") == {"data"}
    assert {"data", "tokenizer"} <= changed('"meets visits', '"greets visits')
    assert changed(r'Split\("\(",', 'Split(")",') == {"tokenizer"}  # of the BPE
    assert changed("default=8192, help=.of the B", 'default=9, help="B') == {"tokenizer"}
    assert changed(r"\(len\(rows\)\)\[: arg", "(len(rows) + 1)[: arg") == {"pretrain"}
    eos = changed(r'default=True,\n(.*help="train on)', r"default=False,\n\1")
    assert "pretrain" in eos and not eos & {"tokenizer", "base_model"}
    assert changed('"pretrained_by", record', '"by", record') == {"base_model"}
    launched = changed('"--mixed_precision", "no"', '"--mixed_precision", "bf16"')
    assert launched == {"teacher", "student"}


@pytest.mark.parametrize("stage", ["student", "data", "figure3"])
def test_everything_that_is_imported_is_looked_at(stage):
    """Import the stage with Python itself; compare what was loaded."""
    code = f"""
import sys, importlib
from first_distill.provenance import fingerprint
names = {{m.name for m in fingerprint._imported(fingerprint.STAGES["{stage}"])}}
own = set(sys.modules)
importlib.import_module(fingerprint.STAGES["{stage}"][0].rpartition(".")[0])
loaded = {{n for n in set(sys.modules) - own - names if n.startswith(fingerprint.PACKAGES)}}
print(*(n for n in loaded if not hasattr(sys.modules[n], "__path__")))
"""
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=tiny.REPOSITORY, text=True)
    assert printed.strip() == ""
