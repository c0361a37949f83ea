"""Extraction in several jobs through the workflow: the store that one job made."""

import re
import shutil

import pytest

from tests.system.workflow.copies import job_counts, output, snakemake

pytestmark = pytest.mark.slow

FOLDER = "results/tiny/knowledge/alder/csqa/train"
NAMES = ("knowledge.safetensors", "manifest.json")
DRY = ("-n", "-c1", "--quiet", "host")


@pytest.fixture(scope="module")
def shared(tiny_run, tmp_path_factory):
    """A copy of the finished run, whose extractions are to be shared by three jobs."""
    copy = tmp_path_factory.mktemp("shared") / "first"
    shutil.copytree(tiny_run, copy, symlinks=True)
    set_jobs(copy, 3)
    return copy


def set_jobs(folder, jobs, scale="tiny"):
    """Set knowledge.jobs of a scale."""
    path = folder / f"config/scales/{scale}.yaml"
    line = r"( knowledge: {k: \d+, stored_k: \d+)[^}]*}"
    text, n = re.subn(line, rf"\1, jobs: {jobs}}}", path.read_text())
    assert n == 1
    path.write_text(text)


def test_three_jobs_make_the_store_of_one(tiny_run, shared):
    """Three parts, one merge, the same bytes; parts, state and empty folders are gone."""
    target = f"{FOLDER}/manifest.json"
    counts = job_counts(snakemake(shared, *DRY, "--", target))
    assert counts == {"knowledge_part": 3, "knowledge_merge": 1}
    for name in NAMES:
        (shared / FOLDER / name).unlink()
    process = snakemake(shared, "-c2", "--", target, warm=True)
    assert process.returncode == 0, output(process)[-3000:]
    for name in NAMES:
        assert (shared / FOLDER / name).read_bytes() == (tiny_run / FOLDER / name).read_bytes()
    assert sorted(path.name for path in (shared / FOLDER).iterdir()) == sorted(NAMES)
    assert not (shared / "results/tiny/.state").exists()
    assert "Nothing to be done" in output(snakemake(shared, *DRY, "--", target))


@pytest.mark.parametrize(
    ("jobs", "change", "remade"),
    [
        (1, ("", ""), {"knowledge": 1}),
        (3, ("stored_k: 100", "stored_k: 101"), {"knowledge_part": 3, "knowledge_merge": 1}),
        (3, ("dtype: float32", "dtype: bfloat16"), {"knowledge_part": 3, "knowledge_merge": 1}),
    ],
)
def test_merged_parts_are_not_reused_for_other_settings(shared, jobs, change, remade):
    """Parts are gone after the merge; the merge itself sees every option of the extraction."""
    config = shared / "config/scales/tiny.yaml"
    text = config.read_text()
    set_jobs(shared, jobs)
    config.write_text(config.read_text().replace(*change))
    counts = job_counts(snakemake(shared, *DRY, "--", f"{FOLDER}/manifest.json"))
    config.write_text(text)
    assert {name: counts.get(name) for name in remade} == remade
    assert not {"knowledge", "knowledge_part", "knowledge_merge"} & set(counts) - set(remade)
