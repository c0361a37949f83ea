"""The plan as a user sees it: no flags where a scale fits, a flag for each thing that does not."""

from __future__ import annotations

import copy
import json
import math
import shutil
import subprocess
import sys
from argparse import Namespace
from functools import cache
from pathlib import Path

import pytest

from scripts.first.config.load import load, own_files
from scripts.first.files import write_json
from scripts.first.plan.jobs import jobs_of
from scripts.first.plan.planning import Machine, make_plan
from scripts.first.plan.printing import print_plan
from scripts.first.provenance import records
from scripts.plan import main
from tests import tiny_models as tiny

NOWHERE = Path("/nonexistent")
DEFAULTS = {
    "gpu_memory_gb": None,
    "gpu_tflops": None,
    "utilisation": 0.4,
    "gpu_reserve": 0.08,
    "disk_gb_per_s": 1.0,
    "host_gb_per_s": 20.0,
}


def plan(scale: str, change=None, **options) -> dict:
    """A plan in which nothing was fetched or prepared; `change` alters the scale's settings."""
    config = copy.deepcopy(_config())
    if change:
        change(config["scales"][scale])
    machine = Machine.of(config["scales"][scale], Namespace(**{**DEFAULTS, **options}))
    return make_plan(config, scale, machine, NOWHERE, jobs_of(scale))


@cache
def _config() -> dict:
    return load(own_files())


@pytest.fixture(autouse=True)
def nothing_fetched(tmp_path, monkeypatch):
    """An empty hub cache, for subprocesses too."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def flags(found: dict) -> list[str]:
    """`rule family what: flag` of each flag."""
    return [
        f"{r['rule']} {r['family']} {r['what']}: {f}" for r in found["rows"] for f in r["flags"]
    ]


@pytest.mark.parametrize("scale", ["paper", "small", "smoke", "tiny"])
def test_every_scale_fits_what_it_declares(scale):
    assert flags(plan(scale)) == []


def test_small_fits_one_24_gb_gpu_in_a_few_hours():
    found = plan("small")
    assert found["machine"]["gpu_memory_gb"] == 24
    assert max(row["gpu_gb"] for row in found["rows"]) < 20
    assert found["totals"]["gpu_hours"] < 8


def test_the_33b_does_not_fit_40_gb_gpus():
    found = flags(plan("paper", gpu_memory_gb=40))
    assert any(f.startswith("evaluation llama1 teacher: needs 65") for f in found)
    assert any(f.startswith("knowledge llama1 csqa: needs 6") for f in found)
    assert not any(" llama2 " in f for f in found)


def without_offloading(settings: dict) -> None:
    settings["teacher"]["training"]["offload_optimizer"] = False


def test_states_that_are_not_offloaded_are_flagged():
    """33B on eight 80 GB GPUs, 1.7B on one of 24."""
    found = flags(plan("paper", without_offloading))
    assert sum(f.startswith("teacher llama1") and "81.3 GB of each GPU" in f for f in found) == 3
    found = flags(plan("small", without_offloading))
    assert sum(f.startswith("teacher smollm2") for f in found) == 3


def test_host_memory_and_time_are_flagged():
    def change(settings):
        settings["resources"]["evaluation"]["mem_mb"] = 48000
        settings["resources"]["teacher"]["runtime"] = 20

    found = flags(plan("paper", change))
    assert any(f.startswith("evaluation llama1 teacher: needs mem_mb 68558, ") for f in found)
    assert any("teacher llama1 alpaca: needs" in f and "minutes, declared 20" in f for f in found)


def test_more_machines_share_the_states():
    def change(settings):
        without_offloading(settings)
        settings["resources"]["teacher"] |= {"nodes": 2, "gpu": 8}

    row = next(r for r in plan("paper", change)["rows"] if r["rule"] == "teacher")
    assert (row["gpus"], row["flags"]) == (16, [])
    assert row["optimizer_gb"] == pytest.approx(12 * 32.528943616 / 16)


@pytest.mark.parametrize("need", [{"gpu": 4}, {"gpu": 4, "processes": 4}])
def test_gpus_are_those_of_each_machine(need):
    """Two machines with four GPUs each: the states of eight, on each host half of them."""

    def change(settings):
        settings["resources"]["teacher"] |= {"nodes": 2, **need}

    one, two = (
        next(r for r in plan("paper", c)["rows"] if r["rule"] == "teacher") for c in (None, change)
    )
    same = ("gpus", "gpu_gb", "gpus_gb", "hours", "gpu_hours", "flags")
    assert [two[name] for name in same] == [one[name] for name in same]
    assert two["host_gb"] < 0.7 * one["host_gb"]


def test_gpus_without_a_process_are_flagged():
    def change(settings):
        settings["resources"]["teacher"] |= {"nodes": 2, "processes": 2}

    found = flags(plan("paper", change))
    assert any(f == "teacher llama1 csqa: 16 GPUs for 4 processes" for f in found)


def test_shared_extraction_is_merged_by_one_job():
    """The merge needs no GPU, and memory for the store that it writes."""

    def change(settings):
        settings["knowledge"]["jobs"] = 3
        settings["resources"]["knowledge"]["mem_mb"] = 1000

    whole, shared = plan("paper"), plan("paper", change)
    rows = {r["rule"]: r for p in (whole, shared) for r in p["rows"] if r["what"] == "alpaca"}
    one, part, merge = (rows["knowledge" + end] for end in ("", "_part", "_merge"))
    assert (one["jobs"], part["jobs"], merge["jobs"], merge["gpus"]) == (2, 6, 2, 0)
    assert shared["totals"]["flops"] == whole["totals"]["flops"]
    assert shared["totals"]["store_gb"] == whole["totals"]["store_gb"]
    assert one["host_gb"] == part["host_gb"] > merge["host_gb"] > one["store_gb"] / 2 + 1
    assert merge["flags"] == [f"needs mem_mb {math.ceil(merge['host_gb'] * 1e3)}, declared 1000"]


def test_numbers_of_one_row_by_hand():
    """The 33B teacher on CommonsenseQA: 3 epochs, 8 GPUs, checkpointing."""
    row = next(r for r in plan("paper")["rows"] if r["rule"] == "teacher" and r["what"] == "csqa")
    p, tokens, steps = 32_528_943_616, 3 * 564_239, 3 * 35
    assert (row["parameters"], row["jobs"], row["tokens"]) == (p, 1, tokens)
    assert row["state_gb"] == pytest.approx(2 * 12 * p / 1e9)
    assert row["checkpoint_gb"] == pytest.approx(2 * p / 1e9)
    # 8 operations a parameter and token; embeddings and most heads do not run, attention does.
    assert row["flops"] == pytest.approx(8 * (p - 2 * 32000 * 6656) * tokens, rel=0.03)
    # Validation (62,699 tokens) is one process's; a training below 30 minutes saves no state.
    validating = 2 * (p - 2 * 32000 * 6656) * 62_699
    arithmetic = ((row["flops"] - validating) / 8 + validating) / (989e12 * 0.4)
    seconds = arithmetic + 8 * p / 1e9 + steps * (12 + 40) * p / 8 / 20e9
    assert row["hours"] == pytest.approx(seconds / 3600, rel=1e-3)
    assert row["gpu_hours"] == pytest.approx(8 * row["hours"])


def test_saves_take_time():
    """Every 30 minutes 12 bytes a parameter are written and hashed at the disk's speed."""
    slow, fast = (
        next(r for r in plan("paper", disk_gb_per_s=d)["rows"] if r["what"] == "alpaca")
        for d in (1, 1e9)
    )
    p, saves = 32.528943616, int(fast["hours"] / 0.5)
    assert saves >= 2
    assert 3600 * (slow["hours"] - fast["hours"]) == pytest.approx(saves * 24 * p + 8 * p)


def test_totals_and_columns_add_up():
    found = plan("small")
    for name in ("jobs", "tokens", "flops", "gpu_hours", "checkpoint_gb"):
        assert found["totals"][name] == pytest.approx(sum(row[name] for row in found["rows"]))
    for row in found["rows"]:
        parts = ("weights", "gradients", "optimizer", "activations", "logits")
        assert row["gpu_gb"] == pytest.approx(sum(row[f"{part}_gb"] for part in parts))


def test_utilisation_moves_hours_and_nothing_else():
    slow, fast = plan("small", utilisation=0.2), plan("small", utilisation=0.4)
    assert slow["totals"]["gpu_hours"] > fast["totals"]["gpu_hours"]
    assert slow["totals"]["flops"] == fast["totals"]["flops"]


def test_the_table_has_a_line_for_every_row(capsys):
    found = plan("paper", gpu_memory_gb=40)
    print_plan(found)
    printed = capsys.readouterr().out
    lines = [line.split()[:2] for line in printed.splitlines()]
    for row in found["rows"]:
        assert [row["rule"], row["family"]] in lines
    assert printed.count("\nFLAG ") == len(flags(found)) > 0
    assert "source of model llama1-33b: config/architectures/huggyllama--llama-30b.json" in printed
    assert "not the tokenizer of openllama-7b" in printed
    assert printed.strip().endswith(f"{len(flags(found))} flags")


def test_a_plan_of_what_was_fetched_and_prepared(tmp_path, capsys):
    """Scale small with a model in the hub cache, whose record names no path, and real rows."""
    student = _config()["scales"]["small"]["models"]["smollm2-360m"]["hub"]
    repository = "models--" + student["repo"].replace("/", "--")
    files = tmp_path / repository / "snapshots" / student["revision"]
    shutil.copytree(tiny.checkpoint(), files, ignore=shutil.ignore_patterns("record.json"))
    names = dict.fromkeys(path.name for path in files.iterdir())
    record = {"kind": "hub", "repo": student["repo"], "commit": student["revision"], "files": names}
    results = tmp_path / "results"
    write_json(results / "small/models/smollm2-360m/record.json", record)
    for split in ("train", "validation", "test"):
        tiny.write_table(results / f"small/data/csqa/{split}.parquet", tiny.choice_rows(12))
    files = [f"{split}.parquet" for split in ("train", "validation", "test")]
    records.write(results / "small/data/csqa/report.json", {}, files)
    assert main(["--scale", "small", "--results", str(results)]) == 0
    printed = capsys.readouterr().out
    assert f"source of model smollm2-360m: {results}/small/models/smollm2-360m" in printed


def run(*words: str):
    """The command line, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.plan", *words],
        cwd=tiny.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_flags_are_an_error_only_when_asked_for(tmp_path, capsys):
    words = ("--scale", "small", "--gpu-memory-gb", "8", "--json", str(tmp_path / "plan.json"))
    assert main(words) == 0
    assert flags(json.loads((tmp_path / "plan.json").read_text()))
    strict = run(*words, "--strict")
    assert strict.returncode == 2 and strict.stdout == capsys.readouterr().out
    assert strict.stderr.startswith("error: ") and strict.stderr.count("\n") == 1


def test_an_unknown_scale_is_one_line():
    process = run("--scale", "huge")
    assert process.returncode == 2
    assert process.stderr.startswith("error: --scale huge: no such scale")
