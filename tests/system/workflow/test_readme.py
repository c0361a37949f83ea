"""Every command of the README runs as written, in a copy with reduced scales."""

import re

import pytest

from tests.system.workflow.copies import ROOT, SMOKE, output, shell

# Not run here: the first two run this test, faults and ablations take half an hour, the others need
# the hub, a cluster or a quiet machine.
ONLY_PLANNED = {
    "make test": "make -n test",
    "make slow": "make -n slow",
    "make faults": "make -n faults",
    "make smoke": "make -n smoke",
    "make ablations": "make -n ablations",
    "make bench": "make -n bench",
    'make bench BENCH="--only student"': "make -n bench",
    "snakemake --profile slurm": "snakemake --profile slurm -n",
    "snakemake -c8 --resources gpu=1 --config scale=small": "snakemake -n --config scale=small",
}
NAMED = {
    "table1": "results/tiny/tables/table1.csv",
    "figures": "results/tiny/figures/figure2.pdf",
    "claims": "results/tiny/claims.json",
}


def readme_commands():
    """Command lines of the README: fenced blocks, table cells and running text."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`((?:make|snakemake|python) [^`]+)`", text)
    starts = ("make ", "snakemake ", "python ", "FIRST_DATA_MIRROR=")
    return sorted({line for line in lines if line.startswith(starts) and "..." not in line})


@pytest.mark.parametrize("line", [line for line in readme_commands() if "smoke" not in line])
def test_command(tiny_run, line):
    """It succeeds, and remakes the file that it names."""
    target = NAMED.get(line.split()[-1], line.split()[-1])
    made = tiny_run / target
    planned = line in ONLY_PLANNED or "-n" in line.split()
    if "verify" in line:  # it makes nothing, and needs all results
        assert shell(tiny_run, "make demo").returncode == 0
    elif made.is_file() and not planned:
        made.unlink()
    process = shell(tiny_run, ONLY_PLANNED.get(line, line))
    assert process.returncode == 0, output(process)[-3000:]
    assert made.is_file() or planned or not target.startswith("results/")


@pytest.mark.parametrize("line", [line for line in readme_commands() if "smoke" in line])
def test_command_on_real_rows(smoke_run, line):
    """The same for the smoke scale, whose data are the real ones."""
    target = smoke_run / line.split()[-1]
    if target.is_file():
        target.unlink()
    prefix = "" if line in ONLY_PLANNED or line == SMOKE else "FIRST_DATA_MIRROR=/path/to/mirror "
    process = shell(smoke_run, prefix + ONLY_PLANNED.get(line, line))
    assert process.returncode == 0, output(process)[-3000:]
    assert "/" not in line.split()[-1] or target.is_file()


def test_the_readme_has_them():
    """The two commands, one cell, the real datasets and the cluster run are there."""
    found = readme_commands()
    assert {"make demo", "make test", SMOKE, "snakemake --profile slurm -n"} <= set(found)
    assert any("cells/alder/first_ts" in line for line in found)


def test_a_model_of_ones_own(tiny_run):
    """The page's first entry and its command, without running the jobs."""
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    entry = re.search(r"^```yaml\n(scales:.*?)^```", page, flags=re.M | re.S)[1]
    command = re.search(r"^```\n(snakemake .*?)^```", page, flags=re.M | re.S)[1]
    (tiny_run / "mine.yaml").write_text(entry)
    try:
        process = shell(tiny_run, f"{command.strip()} -n")
    finally:
        (tiny_run / "mine.yaml").unlink()
    assert process.returncode == 0, output(process)[-3000:]
    assert "results/small/models/pythia-410m/record.json" in output(process)
