"""On a cluster with accounting: the account of the environment, and what sacct has of the jobs."""

import pytest

from tests.system.slurm.accounting import ACCOUNT
from tests.system.slurm.runs import Run, change, remove, until
from tests.system.workflow.copies import digests

pytestmark = pytest.mark.slow

STUDENT = "results/tiny/student/alder/csqa/finetune/seed1234/model.safetensors"
EVALUATION = "results/tiny/evaluation/alder/csqa/distill/seed1234/metrics.json"


def test_accounting_has_what_the_configuration_asks(accounted, tiny_run, finished):
    """Account, GPUs, CPUs, memory and time of each job; one that is out of memory, with more."""
    change(finished, "resources.student.mem_mb", 500)
    change(finished, "resources.evaluation", {"threads": 1, "gpu": 1, "mem_mb": 900, "runtime": 7})
    remove(finished, STUDENT, EVALUATION)
    run = Run(accounted, finished, STUDENT, EVALUATION, SLURM_ACCOUNT=ACCOUNT)
    assert run.finish() == 0, run.log()[-4000:]
    fields = "JobID,Account,State,Comment,ReqTRES,Timelimit,ReqMem"

    def recorded():
        rows = accounted.sacct(fields)
        return rows if all(row["State"] != "RUNNING" for row in rows) else None

    rows = until(recorded, "accounting has the ends of all jobs", 60)
    assert {row["Account"] for row in rows} == {ACCOUNT}
    (one,) = [row for row in rows if "rule_evaluation" in row["Comment"]]
    assert (one["State"], one["Timelimit"], one["ReqMem"]) == ("COMPLETED", "00:07:00", "900M")
    assert {"cpu=1", "gres/gpu=1", "mem=900M"} <= set(one["ReqTRES"].split(","))
    students = [row for row in rows if "rule_student" in row["Comment"]]
    assert [r["ReqMem"] for r in students] == ["500M", "750M", "1000M"][: len(students)]
    assert len(students) > 1 and students[-1]["State"] == "COMPLETED"
    assert not any("gres/gpu" in row["ReqTRES"] for row in students)
    assert digests(finished) == digests(tiny_run)
