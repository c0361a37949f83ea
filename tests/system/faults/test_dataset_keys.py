"""An entry of one's own that contradicts itself, its prompt or the tokenizer: one line each."""

import pytest
import yaml

from first_distill.config.load import load, own_files
from first_distill.errors import UserError
from tests import tiny_models as tiny
from tests.system.faults import WHOLE, tried
from tests.system.faults.forked import refusal, script
from tests.system.faults.test_dataset_entries import PROMPT, prepare, rows
from tests.system.workflow.copies import ROOT, output, snakemake

MINE = {
    "repo": "acme/questions",
    "splits": {"train": "train", "validation": "validation", "test": "test"},
    "fields": {"question": "question"},
    "choices": "choices",
    "answer": "answer",
    "prompt": "upper_letters",
}
WHERE = "config: datasets.mine"
CONFIGURATIONS = {  # changes of the entry: the line
    "a template with an unknown field": (
        {"prompt": {**PROMPT, "text": "{{ stem }} ("}},
        f"{WHERE}.prompt: its text has the unknown field 'stem': one of choices, question: see ",
    ),
    "a response with an unknown field": (
        {"prompt": {**PROMPT, "response": "{{ anwser }}"}},
        f"{WHERE}.prompt: its response has the unknown field 'anwser': one of answer, choices, "
        "question: see ",
    ),
    "a template that is none": (
        {"prompt": {**PROMPT, "text": "{% if %}"}},
        WHERE + ".prompt.text: '{% if %}': template, line 1: Expected an expression, got 'end of ",
    ),
    "no such prompt": (
        {"prompt": "uper_letters"},
        f"{WHERE}.prompt: 'uper_letters' is not in prompts: did you mean 'upper_letters'?: see ",
    ),
    "no answer": ({"answer": None}, f"{WHERE}: missing key answer: its prompt has candidates: "),
    "no choices": ({"choices": None}, f"{WHERE}: missing key choices: its prompt has letters as "),
    "labels for other words": (
        {"prompt": "sentiment", "fields": {"text": "q"}, "choices": None, "labels": [0, 1, 2]},
        f"{WHERE}.labels: 3 labels for 2 candidates of its prompt: see ",
    ),
    "a test that is part of a split": (
        {"splits": {"train": "train", "validation": "train", "test": "train"}},
        f"{WHERE}: missing key test_share: test is a part: see ",
    ),
    "a repository and a file": (
        {"path": "q.csv"},
        f"{WHERE}.path: has no effect beside repo acme/questions; leave one out or rename it: see ",
    ),
    "no rows to train on": (
        {"splits": {"test": "test"}},
        "config: scales.small.settings: mine: datasets.mine has no split train, validation: see ",
    ),
    "a misspelt key": ({"field": {}}, f"{WHERE}: unknown key 'field': did you mean 'fields'?"),
}


def configured(folder, changes: dict, column: str = "mine"):
    """A file with the entry, changed, and a column of scale `small`."""
    entry = {key: own for key, own in {**MINE, **changes}.items() if own is not None}
    small = {"settings": {"in_domain": {column: column}}}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"datasets": {"mine": entry}, "scales": {"small": small}}))
    return path


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_bad_configurations(tmp_path, name):
    changes, line = CONFIGURATIONS[name]
    with pytest.raises(UserError) as caught:
        load([*own_files(), configured(tmp_path, changes)])
    assert str(caught.value).startswith(line) and str(caught.value).isprintable()
    tried(f"snakemake -n, {name}", 1, 1, 0, str(caught.value))


@pytest.mark.parametrize("name", CONFIGURATIONS if WHOLE else [*CONFIGURATIONS][:1])
def test_snakemake_says_it(tmp_path, name):
    changes, line = CONFIGURATIONS[name]
    words = ("-n", "-c1", "--quiet", "host", "-s", str(ROOT / "Snakefile"), "--configfile")
    process = snakemake(tmp_path, *words, str(configured(tmp_path, changes)))
    assert process.returncode and "Traceback" not in output(process)
    assert output(process).strip().splitlines()[-1].startswith(f"error: {line}")


def test_a_column_of_no_dataset(tmp_path):
    """A misspelt name beside the entry; and a file that is not there, before any job."""
    with pytest.raises(UserError, match=r"config: scales.small.settings.in_domain.mina: .*'mine'"):
        load([*own_files(), configured(tmp_path, {}, "mina")])
    path = configured(tmp_path, {"repo": None, "path": "none.csv"})
    words = ("-n", "-c1", "--quiet", "host", "-s", str(ROOT / "Snakefile"), "--configfile")
    target = "results/small/data/mine/report.json"
    process = snakemake(tmp_path, *words, str(path), "--", target)
    line = "error: config: datasets.mine.path: none.csv: no such file or folder"
    assert process.returncode and line in output(process).splitlines()


def test_what_is_no_file_in_a_folder_of_tables(tmp_path):
    """A folder with the name of a table and a dangling link are passed over, not hashed."""
    folder = tmp_path / "q"
    for name in ("x.csv", "README.md"):
        (folder / name).mkdir(parents=True)
    (folder / "old.csv").symlink_to("gone.csv")
    (folder / "train.csv").write_text("question,answer\n")
    target = "results/small/data/mine/report.json"
    words = ("-n", "-c1", "--quiet", "host", "-s", str(ROOT / "Snakefile"), "--configfile")
    for path, status in (("q", 0), ("x" * 300, 1)):
        own = configured(tmp_path, {"repo": None, "path": path})
        process = snakemake(tmp_path, *words, str(own), "--", target)
        assert process.returncode == status and "Traceback" not in output(process)
    line = f"error: config: datasets.mine.path: {path}: no such file or folder"
    assert output(process).strip().splitlines()[-1] == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["no", "not"], "candidates 'no' and 'not' share their first token: row {}: id "),
        (["Yes", "Maybe"], "candidate 'Maybe' is 5 tokens: row {}: each must be one token after "),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_candidates_that_this_tokenizer_cannot_tell_apart(tmp_path, words, line, split):
    """The pair names the file, the row and the candidates before anything is trained."""
    prompt = {"text": "{{ question }}\n", "response": "{{ answer }}", "candidates": words}
    changes = {"prompt": prompt, "choices": None, "labels": ["B", "C"]}
    assert prepare(tmp_path, rows(), changes)[0] == 0
    own, good = tmp_path / f"out/{split}.parquet", tmp_path / "good.parquet"
    tiny.write_table(good, tiny.yes_no_rows(4))
    files = {"train": good, "test": good, split: own}
    command = f"pair --teacher {tiny.checkpoint('teacher', 7)} --student {tiny.checkpoint()} "
    command += f"--corpus {files['train']} --tests {files['test']} --k 5 --block-length 200"
    said = refusal(script(tmp_path, "models", f"{command} --output pair.json"))
    first = "train/000000" if split == "train" else "test/000000"
    assert said.startswith(f"error: {own}: {line.format(first)}"), said
    tried(f"pair: candidates {words}", 1, 1, 0, said)
