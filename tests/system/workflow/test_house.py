"""The house: dry runs of every scale, lint, bad configuration."""

import re

import pytest
import yaml

from scripts.recover import PREFIX
from tests.system.workflow.copies import ROOT, copy_repository, job_counts, output, shell, snakemake

QUIET = ("--quiet", "host")


@pytest.mark.slow
def test_a_clone_and_a_run_may_lie_anywhere(tmp_path):
    """Braces and spaces in both paths, another --directory; PYTHONPATH of the user is extended."""
    clone = copy_repository(tmp_path / "a {clone} here")
    modules, seen = tmp_path / "modules", tmp_path / "seen"
    modules.mkdir()
    customize = f"import sys\nopen({str(seen)!r}, 'a').write(' '.join(sys.orig_argv) + chr(10))\n"
    (modules / "sitecustomize.py").write_text(customize)
    target = "results/tiny/data/boolq/report.json"
    for words in ([], ["--directory", "else {where}"]):
        seen.unlink(missing_ok=True)
        process = snakemake(clone, "-c1", *words, "--", target, PYTHONPATH=str(modules))
        assert process.returncode == 0, output(process)[-3000:]
        assert "-m scripts.data" in seen.read_text()
    assert (clone / "else {where}" / target).is_file()


def test_slurm_profile_picks_the_paper():
    """`--profile slurm -n`: nine teachers, and for Table 1 45 students a seed."""
    process = snakemake(ROOT, "--profile", "slurm", "-n", *QUIET, "--", "table1")
    counts = job_counts(process)
    assert process.returncode == 0, output(process)[-3000:]
    assert (counts["teacher"], counts["table1_cell"]) == (9, 120)
    assert (counts["student_labels"], counts["student_knowledge"]) == (9, 36)
    assert "results/tiny" not in output(process)


def test_slurm_profile_asks_for_site_and_warning():
    """Account, partition and constraint where they are set; a signal for jobs of hours alone."""
    record = "results/{}/teacher/{}/csqa/record.json"
    command = ("--profile", "slurm", "-n", "--forceall", *QUIET, "--")  # also after `make demo`
    site = {"SLURM_ACCOUNT": "me", "SLURM_PARTITION": "gpu", "SLURM_CONSTRAINT": "a100|h100"}
    asked = output(snakemake(ROOT, *command, record.format("paper", "llama1"), **site))
    for words in ("slurm_account=me", "slurm_partition=gpu", "constraint=a100|h100"):
        assert words in asked
    assert "--open-mode=append --signal=TERM@1800" in asked
    asked = output(snakemake(ROOT, *command, record.format("tiny", "alder")))
    assert "--open-mode=append" in asked
    assert not re.search("slurm_account|slurm_partition|constraint|--signal", asked)


def test_retries_stand_in_the_profile_alone():
    """`retries:` in a rule is used up inside one Slurm job, with the same memory each time."""
    for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]:
        assert not re.search(r"^\s*retries\s*:", path.read_text(), flags=re.M), path
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    assert profile["retries"] >= 1 and profile["slurm-status-command"] == "squeue"
    assert profile["slurm-jobname-prefix"] + "_" == PREFIX


@pytest.mark.parametrize(
    "line",
    [
        "snakemake --lint",
        "snakefmt --check Snakefile rules",
        "ruff check .",
        "ruff format --check .",
    ],
)
def test_linters_are_clean(line):
    process = shell(ROOT, line)
    assert process.returncode == 0, output(process)[-3000:]


@pytest.mark.parametrize(
    ("change", "named"),
    [("scale=huge", "scale"), ("scales={'tiny': {'knowledge': {'k': 0}}}", "knowledge.k")],
)
def test_bad_configuration_is_one_line(change, named):
    """One line that names the key, exit code non-zero, no traceback."""
    process = snakemake(ROOT, "-n", "-c1", *QUIET, "--config", change)
    lines = [line for line in output(process).splitlines() if line.startswith("error: ")]
    assert process.returncode != 0
    assert len(lines) == 1
    assert named in lines[0]
    assert "Traceback" not in output(process)
