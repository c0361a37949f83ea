"""A dataset of one's own: the page's files and commands, and a cell of Table 1 for each entry."""

import json
import os
import subprocess

import pyarrow.parquet as pq
import pytest
import yaml

from tests import tiny_models as tiny
from tests.dataset_files import MAKERS, PAGE, page_files
from tests.docs import blocks
from tests.system.workflow.copies import copy_repository, job_counts, output, shell, snakemake

CELL = "results/small/tables/table1/cells/random/first_ts/in_domain-{}.json"


def models(folder) -> dict:
    """Two random models, {name: entry}; their tokenizer has bytes and the prompts' words."""
    content = json.loads((tiny.tokenizer_folder() / "tokenizer.json").read_text())
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    for word in ("\u0120negative", "\u0120positive"):  # a space in bytes of GPT-2
        for end in range(2, len(word) + 1):
            vocabulary.setdefault(word[:end], len(vocabulary))
            merges.append([word[: end - 1], word[end - 1]])
    for seed, name in enumerate(("random-teacher", "random-student")):
        tiny.random_llama(seed, len(vocabulary)).save_pretrained(folder / name)
        (folder / name / "tokenizer.json").write_text(json.dumps(content))
        config = (tiny.tokenizer_folder() / "tokenizer_config.json").read_bytes()
        (folder / name / "tokenizer_config.json").write_bytes(config)
    return {name: {"folder": str(folder / name)} for name in ("random-teacher", "random-student")}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository and a file that lets scale `small` train random models briefly."""
    folder = copy_repository(tmp_path_factory.mktemp("datasets") / "first")
    for line in ("git init -q", "git add .", "git -c user.name=n -c user.email=e commit -qm x"):
        subprocess.run(line.split(), cwd=folder, check=True)
    training = {"epochs": 1, "batch_size": 8, "micro_batch_size": 8}
    training |= {"gradient_checkpointing": False}
    scale = {
        "models": models(folder.parent),
        "families": {"random": {"teacher": "random-teacher", "student": "random-student"}},
        "dtype": "float32",
        "teacher": {"training": {**training, "offload_optimizer": False}},
        "student": {"training": training},
    }
    (folder / "random.yaml").write_text(yaml.safe_dump({"scales": {"small": scale}}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MAKERS if name != "questions"])
def test_a_cell(copy, name):
    """Files touched: mine.yaml. The cell's accuracy is recounted from candidates and answers."""
    MAKERS[name](copy.parent / "mirror")
    own = page_files()[name].replace("rows: {train: 8000}", "rows: {train: 40}")
    (copy / "mine.yaml").write_text(own)
    words = ("-c2", "--resources", "gpu=1", "--configfile", "mine.yaml", "random.yaml")
    mirror = {"FIRST_DATA_MIRROR": str(copy.parent / "mirror")}
    cell = CELL.format(name)
    process = snakemake(copy, *words, "--", cell, warm=True, **mirror)
    assert process.returncode == 0, output(process)[-3000:]
    accuracy = json.loads((copy / cell).read_text())["accuracy"]["value"]
    assert accuracy == pytest.approx(recounted(copy / "results/small", "random", name))
    changed = subprocess.run(["git", "status", "--short"], cwd=copy, capture_output=True, text=True)
    files = {line.split()[-1] for line in changed.stdout.splitlines()} - {"random.yaml"}
    assert files == {"mine.yaml"}


def recounted(results, family: str, name: str) -> float:
    """Accuracy in percent, from candidates and answers, of the first student of FIRST."""
    rows = pq.read_table(results / f"data/{name}/test.parquet").to_pylist()
    path, *_ = sorted((results / f"evaluation/{family}/{name}").rglob("predictions.parquet"))
    found = pq.read_table(path).to_pylist()
    assert [own["id"] for own in found] == [row["id"] for row in rows]
    right = 0
    for row, own in zip(rows, found, strict=True):
        pairs = zip(own["candidate_log_probs"], row["candidates"], strict=True)
        right += max(pairs)[1] == row["answer"]
    return 100 * right / len(rows)


@pytest.mark.slow
def test_the_page(copy):
    """docs/add-a-benchmark.md from its CSV to its cell, and no other file touched."""
    MAKERS["questions"](copy)
    (copy / "mine.yaml").write_text(page_files()["questions"])
    lines = [line.strip() for b in blocks("docs/add-a-benchmark.md") for line in whole(b)]
    tables, show, cell, real, gpu = lines
    process = shell(copy, tables)
    assert process.returncode == 0, output(process)[-3000:]
    prompt = shell(copy, show).stdout
    assert prompt.startswith("Q: ") and prompt.endswith("\nA: The answer is (\n")
    _, cores, target, *own = cell.split()
    process = snakemake(copy, cores, *own, "--", target, warm=True)
    assert process.returncode == 0, output(process)[-3000:]
    found = json.loads((copy / target).read_text())
    first = recounted(copy / "results/pocket", "trial", "questions")
    assert found["accuracy"]["per_seed"][0] == pytest.approx(first) and found["n_seeds"] == 3
    counts = job_counts(shell(copy, f"{real} -n"))
    assert "benchmark_data" not in counts and counts["teacher"] == counts["table1_cell"] == 1
    small = page_files()["questions"].replace("  pocket:", "  small:")
    (copy / "mine.yaml").write_text(small)
    assert job_counts(shell(copy, f"{gpu} -n"))["benchmark_data"] == 1
    changed = subprocess.run(["git", "status", "--short"], cwd=copy, capture_output=True, text=True)
    files = {line.split()[-1] for line in changed.stdout.splitlines()} - {"random.yaml"}
    assert files == {"mine.yaml", "questions.csv"}


def whole(block: str) -> list[str]:
    """Command lines of a fenced block."""
    return block.replace("\\\n", " ").splitlines()


def test_a_mistake_is_one_line(copy):
    """A file that is no YAML: the plan names the line."""
    text = page_files()["questions"].replace("prompt: upper_letters", "prompt: {{ x }}: y")
    (copy / "mine.yaml").write_text(text)
    process = shell(copy, "python -m scripts.plan --scale pocket --configfile mine.yaml")
    (said,) = output(process).strip().splitlines()
    number = 1 + next(i for i, line in enumerate(text.splitlines()) if "{{" in line)
    assert process.returncode != 0 and "mine.yaml" in said and f"line {number}" in said


@pytest.mark.slow
def test_own_files_count_by_their_content(copy):
    """Changed ones are read again whatever their date, touched and other ones are not."""
    folder = copy / "rows"
    folder.mkdir()
    MAKERS["questions"](copy)
    text = (copy / "questions.csv").read_text()
    (folder / "train.csv").write_text(text)
    own = page_files()["questions"].replace("path: questions.csv", "path: rows")
    (copy / "mine.yaml").write_text(own)
    line = "snakemake -c1 results/pocket/data/questions/report.json --configfile mine.yaml"
    assert shell(copy, line).returncode == 0
    (folder / "train.csv").touch()
    (folder / ".DS_Store").write_text("x")
    assert "benchmark_data" not in job_counts(shell(copy, f"{line} -n"))
    (folder / "train.csv").write_text(text.replace("?", "!"))
    os.utime(folder / "train.csv", (1, 1))
    assert job_counts(shell(copy, f"{line} -n"))["benchmark_data"] == 1


def test_a_table_of_ones_own_columns(copy):
    """A copied scale with another name and other `settings`: nothing of the other datasets."""
    MAKERS["questions"](copy)
    own = yaml.safe_load(page_files()["questions"])
    small = yaml.safe_load((copy / "config/scales/small.yaml").read_text())["scales"]["small"]
    small["data"]["rows"] = {}
    own["scales"] = {"mine": {**small, "settings": own["scales"]["pocket"]["settings"]}}
    (copy / "yours.yaml").write_text(yaml.safe_dump(own))
    line = "snakemake -c8 table1 --configfile yours.yaml --config scale=mine -n"
    assert line.replace("yours", "mine").replace("scale=mine -n", "scale=NAME") in PAGE.read_text()
    counts = job_counts(shell(copy, line))
    assert (counts["benchmark_data"], counts["teacher"], "corpus_data" in counts) == (1, 2, False)
