"""Commands of README, CONTRIBUTING and docs, in copies with reduced scales: see tests/docs.py."""

import re
import subprocess
import sys

import pytest

from tests import docs
from tests.short import short
from tests.system.workflow.copies import ROOT, SMOKE, environment, output, shell

# What a command makes, where that is not its last word.
MADE = {
    "snakemake -c2 table1": "results/tiny/tables/table1.csv",
    "snakemake -c2 figures": "results/tiny/figures/figure2.pdf",
    "snakemake -c2 claims": "results/tiny/claims.json",
    "make publish SCALE=tiny": "docs/results/tiny/table1.md",
    "python -m first_distill.config.reference": "config/README.md",
}
LINES = dict.fromkeys([*docs.RUN, *docs.PLANNED.values()])
SHOWN = [line for block in docs.blocks("README.md") for line in block.splitlines()]
README = [line for line in (docs.PLANNED.get(line, line) for line in SHOWN) if line in LINES]
EXAMPLES = {"own.yaml": "docs/ablations.md", "seed910.yaml": "docs/tiny-world.md"}


@pytest.fixture(scope="module")
def run(tiny_run):
    """A finished run, with the files of one's own that pages show whole."""
    for name, page in EXAMPLES.items():
        (tiny_run / name).write_text(docs.blocks(page, "yaml")[-1], encoding="utf-8")
    return tiny_run


@pytest.mark.parametrize("line", short(LINES, *README))
def test_command(run, line):
    """It succeeds, and remakes the file that it names."""
    target = MADE.get(line, line.split()[-1])
    made = run / target
    planned = {"-n", "--help"} & {*line.split()}
    if "verify" in line:  # it makes nothing, and needs all results
        assert shell(run, "make demo").returncode == 0
    elif made.is_file() and not planned and not target.startswith("tests/"):
        made.unlink()
    process = shell(run, line)
    assert process.returncode == 0, output(process)[-3000:]
    assert planned or made.is_file() or not target.startswith("results/")


@pytest.mark.slow
def test_on_real_rows(smoke_run):
    """The smoke scale, whose data are the real ones, made once more from what is there."""
    process = shell(smoke_run, SMOKE)
    assert process.returncode == 0, output(process)[-3000:]
    assert (smoke_run / "results/smoke/tables/table1.csv").is_file()


def test_the_readme_has_them():
    """The two commands, one cell, the real datasets and the cluster run are there."""
    found = {line for line, pages in docs.commands().items() if "README.md" in pages}
    assert {"make demo", "make test", SMOKE, "snakemake --profile slurm -n --quiet rules"} <= found
    assert any("cells/alder/first_ts" in line for line in found)


def test_the_picture():
    """Arrows of docs/architecture.md are the edges of the rule graph, one node a stage."""
    (picture,) = docs.blocks("docs/architecture.md", "mermaid")
    line = "snakemake --rulegraph --config scale=tiny"
    graph = output(shell(ROOT, line))
    stages = {"all": "all"}
    for path in (ROOT / "rules").glob("*.smk"):
        stage = "artifacts" if path.stem in ("figures", "cards") else path.stem
        for rule in re.findall(r"^(?:use rule \w+ as|rule) (\w+)", path.read_text(), flags=re.M):
            stages[rule] = stage
    rules = dict(re.findall(r'(\d+)\[label = "(\w+)"', graph))
    pairs = {(rules[a], rules[b]) for a, b in re.findall(r"(\d+) -> (\d+)", graph)}
    edges = {(stages[a], stages[b]) for a, b in pairs if stages[a] != stages[b] and b != "all"}
    assert set(re.findall(r"^ +(\w+) --> (\w+)$", picture, flags=re.M)) == edges
    named = set(re.findall(r"^ +(\w+)\[", picture, flags=re.M))
    assert named == {stage for pair in edges for stage in pair}


@pytest.mark.parametrize("block", docs.blocks("docs/reading-the-store.md", "python"))
def test_the_store_is_read_in_three_lines(run, block):
    """Each block by itself, in an interpreter that this repository's code is not in the path of."""
    variables = environment(run)
    del variables["PYTHONPATH"]
    process = subprocess.run(
        [sys.executable, "-P", "-c", block],
        cwd=run,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, output(process)
