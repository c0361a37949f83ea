"""A full disk: a job fails with one line that names the file, and no file looks finished."""

import os
import shutil
import subprocess

import pytest

from tests.short import short
from tests.system.faults import WHOLE, tried
from tests.system.faults.jobs import jobs
from tests.system.faults.runs import surroundings, undisturbed
from tests.system.workflow.copies import digests

# The job's folder becomes a file system of one page; what the job leaves there is listed.
LINE = """mount -t tmpfs -o size=4k small "$1" && cd "$PWD" || exit 99
eval "$2"; status=$?; echo "status $status"; cd "$1" && find . -type f -exec sha256sum {} +"""
RULES = ["benchmark_data", "teacher", "knowledge", "student_knowledge", "evaluation"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run."""
    whole = undisturbed(tmp_path_factory.getbasetemp())
    return shutil.copytree(whole, tmp_path_factory.mktemp("full") / "first", symlinks=True)


@pytest.mark.parametrize("rule", short(RULES if WHOLE else RULES[:2], "benchmark_data"))
def test_a_full_disk(folder, rule):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        assert not os.environ.get("FIRST_REQUIRE_SLURM"), "mounts must be possible here"
        pytest.skip("no mounts are possible here (unshare -m)")
    job = next(job for job in jobs(folder) if job.rule == rule)
    output, before = job.files()[0].parent, digests(folder)
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", LINE, "bash", str(output), job.line],
        cwd=folder,
        env=surroundings(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    status, *left = done.stdout.splitlines()
    last = (folder / job.log).read_text().splitlines()[-1]
    assert status == "status 2", (done.stdout, done.stderr, last)
    assert last.startswith(f"error: No space left on device: {output}/"), last
    found = {f"{output}/{line[68:]}": line[:64] for line in left if not line[68:].startswith(".")}
    assert found.items() <= before.items() <= digests(folder).items()
    assert not [n for n in found if n.endswith(("record.json", "manifest.json", "metrics.json"))]
    tried(f"full disk: {rule}", 1, 1, 0, last)
