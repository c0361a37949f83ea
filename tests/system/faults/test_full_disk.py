"""A full disk at every stage: one line that names the file, nothing that looks finished.

After space is freed the same command ends in the bytes of an undisturbed run.
"""

from __future__ import annotations

import re
import shutil

import pytest

from tests.system.faults import WHOLE, tried
from tests.system.faults.disks import PAGE, small_disk
from tests.system.faults.jobs import jobs, one_of_each
from tests.system.faults.runs import undisturbed
from tests.system.workflow.copies import digests, output

FIGURES = ["figure2", "figure3", "figure5", "figure6"]
RULES = [
    *["benchmark_data", "pretraining_data", "tokenizer", "pretrained_model", "base_model", "pair"],
    *["teacher", "knowledge", "temperature", "student_labels", "evaluation", "table1_cell"],
    *["table1_files", "table2", "claims_files", "data_report", *FIGURES],
]
ROOM = "free some space there, or have the limit raised, and run the same command again"
LINE = r"error: {}: {}\S*: " + ROOM
NO_SPACE = LINE.format("No space left on device", "results/tiny/")
SHARES = (0, 0.1, 0.25, 0.5, 0.75, 0.95) if WHOLE else (0, 0.5)  # of what the job writes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run that nobody disturbed."""
    return undisturbed(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def reference(whole):
    """{file: sha256} of the undisturbed run."""
    return digests(whole)


@pytest.fixture(scope="module")
def folder(whole, tmp_path_factory):
    """A finished run of which results/ will lie on a small disk."""
    return shutil.copytree(whole, tmp_path_factory.mktemp("full") / "first", symlinks=True)


@pytest.fixture(scope="module")
def steps(folder):
    """One job of each rule, by rule."""
    return {job.rule: job for job in one_of_each(jobs(folder))}


@pytest.fixture(scope="module")
def disk(folder, steps):
    """The small disk, with all results on it."""
    with small_disk(folder, folder / "results", "size=4m") as disk:
        yield disk


def seen(disk) -> dict[str, str]:
    """{file: sha256} of what is on the disk, and nothing half-written among it."""
    found = digests(disk.copy)
    left = [name for name in found if ".part" in name or ".saving-" in name]
    assert left == []
    return {name: sha for name, sha in found.items() if "/.state/" not in name}


def test_every_rule_is_here(steps):
    """A new rule has to be tried too."""
    assert set(steps) == set(RULES)


@pytest.mark.parametrize("rule", RULES if WHOLE else [r for r in RULES if r not in FIGURES[1:]])
def test_results_on_a_full_disk(disk, steps, reference, rule):
    """Each stage with no room at all and with room for a part of what it writes."""
    job = steps[rule]
    files = job.files()
    need = sum(-(-(job.folder / file).stat().st_size // PAGE) * PAGE for file in files)
    for share in SHARES:
        for file in files:
            (disk.copy / file).unlink()
        with disk.filled(int(share * need)):
            process = disk.run(job.line)
        log = (job.folder / job.log).read_text()
        assert process.returncode == 2, log
        assert output(process) == "", output(process)
        told = [line for line in log.splitlines() if "rror" in line or "Traceback" in line]
        assert len(told) == 1 and re.match(NO_SPACE, told[0]), log
        found = seen(disk)
        assert found == {name: reference[name] for name in found}
        assert not {f for f in files if f.name in ("record.json", "manifest.json")} & set(found)
        process = disk.run(job.line)
        assert process.returncode == 0, (job.folder / job.log).read_text()
        assert seen(disk) == reference
    tried(f"full disk: {rule}", len(SHARES), len(SHARES), 0, told[0])


@pytest.mark.parametrize("rule", ["pretrained_model", "teacher", "student_labels", "knowledge"])
def test_state_on_a_full_disk(disk, steps, reference, rule):
    """A job that cannot save its state ends; what it saved before is whole."""
    job = steps[rule]
    for file in job.files():
        (disk.copy / file).unlink()
    with disk.filled(PAGE):
        process = disk.run(job.line, FIRST_CHECKPOINT_MINUTES="0")
    last = (job.folder / job.log).read_text().splitlines()[-1]
    assert process.returncode == 2
    assert re.match(LINE.format("No space left on device", r"results/tiny/\.state/"), last), last
    assert disk.run(job.line, FIRST_CHECKPOINT_MINUTES="0").returncode == 0
    assert seen(disk) == reference
    tried(f"full disk: state of {rule}", 1, 1, 0, last)


@pytest.mark.parametrize("rule", ["tokenizer", "teacher", "evaluation", "table1_cell", "figure6"])
@pytest.mark.skipif(not WHOLE, reason="a limit is not carried to the warm server: cold jobs")
def test_limit_of_a_files_size(disk, steps, reference, rule):
    """`ulimit -f`, as a quota would: the same line, with its own reason."""
    job = steps[rule]
    for file in job.files():
        (disk.copy / file).unlink()
    process = disk.run(f"ulimit -f 1; {job.line}", FIRST_WARM_SOCKET="")
    last = (job.folder / job.log).read_text().splitlines()[-1]
    assert process.returncode == 2
    assert re.match(LINE.format("File too large", "results/tiny/"), last), last
    assert disk.run(job.line).returncode == 0
    assert seen(disk) == reference
    tried(f"limit of a file's size: {rule}", 1, 1, 0, last)


TARGETS = [
    "results/tiny/models/tokenizers/world/tokenizer.json",
    "results/tiny/data/csqa/report.json",
]
RUN = f"snakemake --profile profiles/local --cores 2 -- {' '.join(TARGETS)}"


@pytest.mark.parametrize(
    ("place", "fill", "leave"),
    [
        ("results", "filled", 4 * PAGE),
        (".", "filled", 120 * PAGE),
        *((".", "filled", pages * PAGE) for pages in ((0, 20, 60, 90, 110) if WHOLE else ())),
        *((".", "filled_with_files", files) for files in ((0, 20, 60) if WHOLE else ())),
    ],
)
def test_a_run_on_a_full_disk(whole, tmp_path, reference, place, fill, leave):
    """Snakemake's own files and the logs too: no traceback; with room, the same command goes on."""
    ignore = shutil.ignore_patterns("results", "logs", ".snakemake", "benchmarks", "__pycache__")
    folder = shutil.copytree(whole, tmp_path / "first", symlinks=True, ignore=ignore)
    (folder / "results").mkdir()
    with small_disk(folder, folder / place, "size=24m,nr_inodes=1000") as disk:
        with getattr(disk, fill)(leave):
            process = disk.run(RUN)
        said = output(process)
        assert process.returncode == 1, said[-3000:]
        assert "Traceback" not in said, said[-3000:]
        last = said.splitlines()[-1]
        line = r"error: (\S+ \S+ )?No space left on device: \S+: " + ROOM
        assert re.fullmatch(line, last), said[-3000:]
        found = seen(disk)
        assert found == {name: reference[name] for name in found}
        process = disk.run(RUN)
        assert process.returncode == 0, output(process)[-3000:]
        found = seen(disk)
        assert set(TARGETS) <= set(found)
        assert found == {name: reference[name] for name in found}
    tried(f"full disk under a run: {place}, {fill} {leave}", 1, 1, 0, last)
