"""Options of the programs: values that none can use are one line; defaults in the help."""

import importlib
import json
import subprocess
import sys

import pytest

from first_distill import cli
from first_distill.errors import UserError
from first_distill.training.finetune import random_model
from tests import tiny_models as tiny
from tests.questions import entry

DATA = "data --dataset csqa --output-dir OUT --entry"
TOKENIZER = "models tokenizer --kind world --output-dir OUT --world-settings"
PRETRAIN = "models pretrain --text ROWS --tokenizer MODEL --output-dir OUT --block-length 64"
PRETRAIN += " --epochs 1 --batch-size 2 --learning-rate 1e-3 --seed 1 --architecture"
PROGRAMS = "scripts.artifacts scripts.recover first_distill.config.reference benchmarks.plan_memory"
WORLD = '{"seed":1,"entities":9,"names":9,"rank":2,"popularity":0.5,"train_pairs":9,'
WORLD += '"test_pairs":9,"sizes":'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{DATA} ENTRY --world-settings 5", "not an object: '5': pass one JSON object"),
        (f'{DATA} ENTRY --world-settings {{"seed":NaN}}', "not an object"),
        (
            f'{DATA} ENTRY --world-settings {WORLD}{{"csqa":5}}}}',
            "world settings: csqa: 'int' object has no attribute",
        ),
        (f"{DATA} ENTRY --split-seed -1", "'-1' is not an integer of 0 or more"),
        (f"{DATA} csqa", "not an object: 'csqa': pass one JSON object"),
        (f"{DATA} {{}}", "splits of --entry is None, not an object: csqa: see config/README.md"),
        (f'{DATA} {{"splits":{{}},"fields":[]}}', "fields of --entry is [], not an object: csqa"),
        (
            f'{DATA} {{"splits":{{}},"fields":{{}},"prompt":"lower_letters"}}',
            "prompt of --entry is 'lower_letters', not an object with text and response: csqa",
        ),
        (f"{TOKENIZER} {{}}", "world settings: tokenizer: no 'seed': add it"),
        (f"{PRETRAIN} x", "not an object: 'x'"),
        (f'{PRETRAIN} {{"hidden_size":64,"num_key_value_heads":3}}', "no such Llama: --archit"),
        (f'{PRETRAIN} {{"hidden_size":65}}', "no such Llama"),
        (f'{PRETRAIN} {{"hidden_act":"none"}}', "no such Llama"),
        ("artifacts show --table FILE", "arguments are required: --table1"),
        ("plan --gpu-memory-gb 0", "'0' is not a number above 0"),
    ],
)
def test_an_unusable_value_is_one_line(tmp_path, capsys, line, message):
    rows = tiny.write_table(tmp_path / "rows.parquet", tiny.choice_rows(4))
    names = {"OUT": str(tmp_path), "ROWS": str(rows), "MODEL": str(tiny.checkpoint())}
    names["ENTRY"] = json.dumps(entry("csqa"))
    program, *words = [names.get(word, word) for word in line.split()]
    with pytest.raises((UserError, SystemExit)) as caught:
        importlib.import_module(f"scripts.{program}").main(words)
    assert message in f"{caught.value}{capsys.readouterr().err}"


def test_the_help_has_a_default_where_there_is_one():
    command = cli.parser("scripts.example", None).add_subparsers().add_parser("one")
    for name, default in (("a", None), ("b", []), ("c", 0)):
        command.add_argument(f"--{name}", default=default, help="text")
    assert command.format_help().count("(default: ") == command.format_help().count("0)") == 1


@pytest.mark.parametrize("module", PROGRAMS.split())
def test_help_without_docstrings(module):
    line = [sys.executable, "-OO", "-m", module, "--help"]
    done = subprocess.run(line, cwd=tiny.REPOSITORY, capture_output=True, text=True)
    assert done.stdout.startswith(f"usage: python -m {module} ") and not done.stderr


def test_a_lack_of_memory_is_no_wrong_setting():
    class Full:
        def keys(self):
            raise MemoryError

    with pytest.raises(MemoryError):
        random_model(Full(), tiny.tokenizer())
