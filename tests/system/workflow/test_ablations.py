"""Ablations through the workflow: what one needs is built, and nothing else."""

import json
import shlex

import pytest

from first_distill.config.load import load, own_files
from tests.short import short
from tests.system.workflow.copies import ROOT, job_counts, output, snakemake

DRY = ("-n", "-c1", "--quiet", "host", "--forceall")
CONFIG = load(own_files())
SEEDS = len(CONFIG["scales"]["tiny"]["student"]["seeds"])


def planned(*words: str):
    """(jobs by rule, less what any model needs; text) of a dry run."""
    process = snakemake(ROOT, *DRY, *words)
    assert process.returncode == 0, output(process)[-3000:]
    return job_counts(process), output(process)


def test_methods_share_one_teacher_and_one_extraction():
    counts, text = planned("--", "results/tiny/ablations/k.md")
    assert counts == {
        "benchmark_data": 1,
        "base_model": 2,
        "pair": 1,
        "teacher": 1,
        "knowledge": 2,
        "temperature": 1,
        "student_labels": SEEDS,
        "student_knowledge": 8 * SEEDS,
        "evaluation": 9 * SEEDS,
        "ablation": 1,
    }
    assert "results/tiny-" not in text


@pytest.mark.slow
def test_a_variant_has_a_teacher_of_its_own():
    counts, text = planned("-p", "--", "results/tiny/ablations/eos.csv")
    kinds = ("benchmark_data", "teacher", "temperature", "pair")
    assert [counts[name] for name in kinds] == [2, 2, 2, 2]
    assert counts["student_knowledge"] == 4 * SEEDS and counts["student_labels"] == 2 * SEEDS
    for scale, eos in (("tiny", "--append-eos"), ("tiny-no_eos", "--no-append-eos")):
        own = text.partition(f"log: logs/{scale}/teacher/alder/csqa.log")[2]
        assert f" {eos} " in own.partition("--output-dir")[0]


@pytest.mark.slow
def test_a_leaking_c_and_samples_need_no_other_teacher():
    counts, text = planned("--", "results/tiny/ablations/alpaca_c.md")
    assert (counts["teacher"], counts["knowledge"]) == (1, 2)
    assert (counts["knowledge_of_task"], counts["temperature_on_task"]) == (1, 1)
    assert "results/tiny/temperature/alder/alpaca/on-csqa/selected.json" in text
    counts, text = planned("--", "results/tiny/ablations/sampled.md")
    assert (counts["teacher"], counts["knowledge_sampled"]) == (1, 2)
    assert "results/tiny/knowledge/alder/csqa/sampled-50/train/manifest.json" in text


@pytest.mark.slow
def test_a_cell_of_a_variant_is_a_cell():
    target = "tables/table1/cells/alder/distill/in_domain-csqa.json"
    counts, text = planned("--", f"results/tiny-as_run/{target}")
    assert counts["table1_cell"] == 1 and "results/tiny/" not in text


@pytest.mark.slow
def test_a_variant_has_the_pretrained_models_of_its_scale():
    (model, *_) = CONFIG["scales"]["smoke"]["models"]
    _, text = planned("--", f"results/smoke-share_25/models/{model}/record.json")
    assert f"results/smoke/models/pretrained/{model}/record.json" in text
    assert "results/smoke-share_25/models/pretrained" not in text


@pytest.mark.slow
def test_a_page_is_told_what_it_compares():
    """Searches of c of the scale and its variant, and of which scale each teacher is."""
    _, text = planned("-p", "--", "results/tiny/ablations/teacher_seed.md")
    own = text.partition("scripts.artifacts ablation")[2].partition("--entry")[2]
    entry = json.loads(shlex.split(own.partition("--metrics")[0])[0])
    found = [(p.get("teacher"), p.get("recipe"), p.get("c")) for p in entry["points"]]
    for scale in ("tiny", "tiny-teacher_seed_2001", "tiny-teacher_seed_2002"):
        folder = f"results/{scale}/temperature/alder"
        c = {corpus: [f"{folder}/{corpus}/selected.json"] for corpus in ("csqa", "boolq", "alpaca")}
        assert (scale, "tiny", None) in found and (scale, "tiny", c) in found
    assert found[-1] == (None, None, None)  # the line of fine-tuned students


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("results/tiny/ablations/kk.md", "no ablation 'kk': did you mean 'k'?"),
        ("results/tiny/ablations/zzz.md", "no ablation 'zzz': one of student_side, label_smoot"),
        ("results/pocket/ablations/alpaca_c.md", "alpaca_c: scale pocket has none of its columns"),
    ],
)
def test_another_ablation_is_one_line(target, said):
    process = snakemake(ROOT, *DRY, "--", target)
    (line,) = [line for line in output(process).splitlines() if line.startswith("error: ")]
    assert process.returncode != 0 and said in line and "Traceback" not in output(process)


@pytest.mark.parametrize("scale", short(["tiny", "paper"], "tiny"))
def test_without_being_asked_nothing_of_ablations_is_built(scale):
    _, text = planned("--config", f"scale={scale}", "--", "all")
    methods = {*CONFIG["methods"]} - {*CONFIG["table1"]["methods"]}
    shown = {*CONFIG["scales"][scale]["figures"]["figure6_methods"]}
    for method in methods - shown - {"finetune", "first_ts"}:
        assert f"/{method}/" not in text
    assert f"results/{scale}-" not in text


@pytest.mark.parametrize("scale", short(CONFIG["scales"], "tiny"))
def test_every_scale_has_its_ablations(scale):
    """One command at any scale; those of columns that a scale does not have are left out."""
    counts, _ = planned("--config", f"scale={scale}", "--", "ablations")
    foreign = "out_of_domain" in CONFIG["scales"][scale]["settings"]
    asked = [entry.get("columns") for entry in CONFIG["ablations"].values()]
    assert counts["ablation"] == len(asked) - (0 if foreign else asked.count("out_of_domain"))
    assert counts["ablations_page"] == 1


@pytest.mark.slow
def test_a_whole_ablation(tiny_run):
    """With a variant; nothing is left to do then."""
    target = "results/tiny/ablations/eos.md"
    process = snakemake(tiny_run, "-c2", "--", target, warm=True)
    assert process.returncode == 0, output(process)[-3000:]
    text = (tiny_run / target).read_text()
    assert "# End of sequence" in text and "FIRST, none" in text
    assert (tiny_run / "results/tiny/ablations/eos.png").stat().st_size > 1000
    assert "Nothing to be done" in output(snakemake(tiny_run, "-n", "-c1", "--", target))


def test_more_tokens_than_are_stored_is_one_line():
    words = ("--config", "scales={'tiny': {'knowledge': {'stored_k': 20}}}", "--")
    process = snakemake(ROOT, *DRY, *words, "results/tiny/ablations/k.md")
    lines = [line for line in output(process).splitlines() if line.startswith("error: ")]
    assert process.returncode != 0 and len(lines) == 1, output(process)[-3000:]
    assert "methods.distill_k50.k: 50: scale tiny stores 20" in lines[0] or "k100" in lines[0]
    assert "raise knowledge.stored_k" in lines[0] and "Traceback" not in output(process)
