"""Results keep their identity when code changes that computes no number, and only then."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from tests.engineering.test_fingerprint import edit, rename
from tests.system.workflow.copies import environment, job_counts, output, snakemake

DRY = ("-n", "--cores", "1", "--", "all")


def verify(folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "scripts.verify", "results/tiny"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_finished_run_after_edits(tiny_run, tmp_path):
    """Rewording, renaming and an edit of runtime leave nothing to do; another loss does."""
    folder = shutil.copytree(tiny_run, tmp_path / "first", symlinks=True)
    edit(folder, r'UserError\(\s*f?"', 'UserError("Reworded: ')
    rename(folder, "training.losses", "training.objectives")
    for path in (folder / "scripts/first/runtime").glob("*.py"):
        path.write_text(path.read_text() + "\n\nLIMIT = 3\n")
    process = snakemake(folder, *DRY)
    assert process.returncode == 0 and "Nothing to be done" in output(process), output(process)
    process = verify(folder)
    assert process.returncode == 0 and "sound: " in output(process), output(process)

    edit(folder, r"torch\.xlogy\(target, target\) -", "torch.xlogy(target, target) +")
    jobs = job_counts(snakemake(folder, *DRY))
    assert {"student", "evaluation", "cell", "table1"} <= jobs.keys()
    assert not {"teacher", "knowledge", "temperature", "base_model"} & jobs.keys()
    process = verify(folder)
    assert process.returncode == 1 and re.search("stale: student/.*other code", process.stdout)
