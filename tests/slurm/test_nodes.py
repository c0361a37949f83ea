"""One training job on two machines: the launch line of one, spread by srun."""

import json
import subprocess

from tests.slurm.runs import Run, change, remove
from tests.workflow.copies import environment, output, sha256_file

TEACHER = "results/tiny/teacher/alder/csqa"


def test_two_nodes_train_one_model(cluster, finished):
    """One process on each of two nodes gives the bytes of two processes on one."""
    folder = finished
    change(folder, "resources.teacher.nodes", 2)
    change(folder, "resources.teacher.processes", 1)
    remove(folder, f"{TEACHER}/record.json")
    run = Run(cluster, folder, f"{TEACHER}/record.json")
    log = folder / "logs/tiny/teacher/alder/csqa.log"
    assert run.finish() == 0, run.log()[-3000:] + log.read_text()[-3000:]
    (job,) = run.jobs("rule_teacher")
    assert (job["NumNodes"], job["NodeList"]) == ("2", "cpu[1-2]")
    assert json.loads((folder / TEACHER / "record.json").read_text())["processes"] == 2
    spread = sha256_file(folder / TEACHER / "model.safetensors")

    change(folder, "resources.teacher.nodes", 1)
    change(folder, "resources.teacher.processes", 2)
    remove(folder, f"{TEACHER}/record.json")
    local = subprocess.run(
        ["snakemake", "-c1", "--", f"{TEACHER}/record.json"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert local.returncode == 0, output(local)[-3000:]
    assert sha256_file(folder / TEACHER / "model.safetensors") == spread
