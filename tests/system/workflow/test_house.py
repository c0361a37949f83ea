"""The house: dry runs of every scale, lint, bad configuration."""

import re
import subprocess
import sys

import pytest
import yaml

from scripts.recover import PREFIX
from tests.system.workflow.copies import (
    ROOT,
    copy_repository,
    environment,
    job_counts,
    output,
    snakemake,
)

QUIET = ("--quiet", "host")


@pytest.mark.parametrize("scale", ["tiny", "smoke", "small", "paper"])
def test_every_scale_resolves(scale):
    """The whole DAG of each scale resolves without anything built."""
    process = snakemake(ROOT, "-n", "-c1", "--forceall", *QUIET, "--config", f"scale={scale}")
    assert process.returncode == 0, output(process)[-3000:]
    assert job_counts(process)["all"] == 1


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
    """`--profile slurm -n`: nine teachers, and for Table 1 36 students a seed."""
    process = snakemake(ROOT, "--profile", "slurm", "-n", *QUIET, "--", "table1")
    counts = job_counts(process)
    assert process.returncode == 0, output(process)[-3000:]
    assert (counts["teacher"], counts["table1_cell"]) == (9, 96)
    assert (counts["student_labels"], counts["student_knowledge"]) == (9, 27)
    assert "results/tiny" not in output(process)


def test_slurm_profile_takes_the_site_from_the_environment():
    """Account, partition and constraint where they are set, and no word of them where not."""
    cell = "results/paper/teacher/llama1/csqa/record.json"
    command = ("--profile", "slurm", "-n", *QUIET, "--", cell)
    site = {"SLURM_ACCOUNT": "me", "SLURM_PARTITION": "gpu", "SLURM_CONSTRAINT": "a100|h100"}
    asked = output(snakemake(ROOT, *command, **site))
    for words in ("slurm_account=me", "slurm_partition=gpu", "constraint=a100|h100"):
        assert words in asked
    nothing = output(snakemake(ROOT, *command))
    assert not re.search("slurm_account|slurm_partition|constraint", nothing)


def test_long_jobs_are_warned_before_their_time_is_up():
    """By what they ask for: a day's training half an hour, tiny's minutes not at all."""
    record = "results/{}/teacher/{}/csqa/record.json"
    asked = [
        output(snakemake(ROOT, "--profile", "slurm", "-n", *QUIET, "--", record.format(*names)))
        for names in (("paper", "llama1"), ("tiny", "alder"))
    ]
    assert "--open-mode=append --signal=TERM@1800" in asked[0]
    assert "--open-mode=append" in asked[1] and "--signal" not in asked[1]


def test_retries_stand_in_the_profile_alone():
    """`retries:` in a rule is used up inside one Slurm job, with the same memory each time."""
    for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]:
        assert not re.search(r"^\s*retries\s*:", path.read_text(), flags=re.M), path
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    assert profile["retries"] >= 1 and profile["slurm-status-command"] == "squeue"
    assert profile["slurm-jobname-prefix"] + "_" == PREFIX


@pytest.mark.parametrize(
    "command",
    [
        ["snakemake", "--lint"],
        ["snakefmt", "--check", "Snakefile", "rules"],
        [sys.executable, "-m", "ruff", "check", "."],
        [sys.executable, "-m", "ruff", "format", "--check", "."],
    ],
    ids=["lint", "snakefmt", "ruff", "ruff-format"],
)
def test_linters_are_clean(command):
    """No finding of any linter."""
    process = subprocess.run(
        command, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, output(process)[-3000:]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("scale=huge", "scale"),
        ("scales={'tiny': {'knowledge': {'k': 0}}}", "knowledge.k"),
        ("table1={'methods': ['nothing']}", "nothing"),
    ],
)
def test_bad_configuration_is_one_line(change, named):
    """One line that names the key, exit code non-zero, no traceback."""
    process = snakemake(ROOT, "-n", "-c1", *QUIET, "--config", change)
    lines = [line for line in output(process).splitlines() if line.startswith("error: ")]
    assert process.returncode != 0
    assert len(lines) == 1
    assert named in lines[0]
    assert "Traceback" not in output(process)
