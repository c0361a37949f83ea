"""The plan counts the jobs that Snakemake would run."""

from collections import Counter

from first_distill.files import read_json
from scripts.plan import main
from tests.system.workflow.copies import ROOT, job_counts, output, snakemake


def test_jobs_are_those_of_the_workflow(tmp_path, monkeypatch):
    """Teachers, knowledge, temperatures, students, evaluations and fetched models of `all`."""
    words = ["-n", "-c1", "--forceall", "--quiet", "host", "--config", "scale=small"]
    process = snakemake(ROOT, *words)
    assert process.returncode == 0, output(process)[-3000:]
    monkeypatch.chdir(ROOT)
    assert main(["--scale", "small", "--json", str(tmp_path / "plan.json")]) == 0
    found = Counter()
    for row in read_json(tmp_path / "plan.json")["rows"]:
        found[row["rule"]] += row["jobs"]
    workflow = job_counts(process)
    assert dict(found) == {rule: workflow[rule] for rule in found}
