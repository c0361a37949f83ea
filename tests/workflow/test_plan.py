"""The plan counts the jobs that Snakemake would run."""

import subprocess
import sys
from collections import Counter

import pytest

from scripts.first.files import read_json
from tests.workflow.copies import ROOT, environment, job_counts, output, snakemake


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_jobs_are_those_of_the_workflow(scale, tmp_path):
    """Teachers, knowledge, temperatures, students, evaluations and fetched models of `all`."""
    words = ["-n", "-c1", "--forceall", "--quiet", "host", "--config", f"scale={scale}"]
    process = snakemake(ROOT, *words)
    assert process.returncode == 0, output(process)[-3000:]
    planned = [sys.executable, "-m", "scripts.plan", "--scale", scale, "--json"]
    subprocess.run(
        [*planned, str(tmp_path / "plan.json")], cwd=ROOT, env=environment(ROOT), check=True
    )
    found = Counter()
    for row in read_json(tmp_path / "plan.json")["rows"]:
        found["base_model" if row["rule"] == "models" else row["rule"]] += row["jobs"]
    workflow = job_counts(process)
    assert dict(found) == {rule: workflow[rule] for rule in found}
