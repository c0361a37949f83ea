"""Students of a finished run, as others take them: a card, a tokenizer, the same numbers."""

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

from first_distill.data.rows import read_rows
from first_distill.files import read_json, read_parquet
from first_distill.models.tokenizer import load_tokenizer
from tests import exams
from tests.system.workflow.copies import digests, job_counts, output, shell, snakemake

RUN = "alder/csqa/first_ts/seed1234"
DRY = ("-n", "-c1", "--quiet", "host", "--", "all")
CARD = f"results/tiny/student/{RUN}/README.md"


def test_every_student_has_a_card(tiny_run):
    """With the metrics of its evaluation; verification knows them."""
    students = tiny_run / "results/tiny/student"
    folders = {path.parent for path in students.rglob("record.json")}
    assert {path.parent for path in students.rglob("README.md")} == folders and len(folders) > 20
    for folder in folders:
        card = ModelCard.load(folder / "README.md")
        run = folder.relative_to(students)
        metrics = read_json(tiny_run / "results/tiny/evaluation" / run / "metrics.json")
        found = [own.metric_value for own in card.data.eval_results if own.metric_type == "ece"]
        own = [own["ece"] for own in metrics["benchmarks"].values()]
        assert found == pytest.approx(own, abs=1e-4)
    process = shell(tiny_run, "python -m scripts.verify results/tiny")
    assert process.returncode == 0 and "that no valid record names" not in output(process)


def test_a_student_loads_as_it_is(tiny_run):
    """By transformers alone, with the tokenizer that its training had; it generates."""
    folder = tiny_run / "results/tiny/student" / RUN
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    row = read_rows(tiny_run / "results/tiny/data/csqa/test.parquet")[0]
    inputs = tokenizer(row["prompt"], return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == load_tokenizer(folder).encode(row["prompt"])
    torch.manual_seed(0)
    inputs.pop("token_type_ids", None)
    made = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert made.shape[1] > inputs["input_ids"].shape[1]
    assert tokenizer.decode(made[0, inputs["input_ids"].shape[1] :])


@pytest.mark.slow
def test_lm_eval_scores_it_as_our_evaluation_does(tiny_run, tmp_path):
    pytest.importorskip("lm_eval")
    results = tiny_run / "results/tiny"
    questions = results / "data/csqa/test.parquet"
    path = exams.samples(tmp_path, results / "student" / RUN, questions)
    table = read_parquet(results / "evaluation" / RUN / "predictions.parquet").to_pylist()
    ours = [own["candidate_log_probs"] for own in table if own["benchmark"] == "csqa"]
    np.testing.assert_allclose(exams.log_likelihoods(path), ours, atol=1e-4)


@pytest.mark.slow
def test_a_card_is_remade_alone(tiny_run):
    """Where it is gone, or its template has other words."""
    (tiny_run / CARD).unlink()
    assert job_counts(snakemake(tiny_run, *DRY)) == {"model_card": 1, "all": 1}
    process = snakemake(tiny_run, "-c1", "--", CARD)
    assert process.returncode == 0, output(process)[-3000:]
    template = tiny_run / "first_distill/reporting/cards/card.md.j2"
    text = template.read_text()
    template.write_text(text.replace("## Limits", "## Limitations"))
    assert job_counts(snakemake(tiny_run, *DRY)).keys() == {"model_card", "all"}
    template.write_text(text)
    assert "Nothing to be done" in output(snakemake(tiny_run, *DRY))


@pytest.mark.slow
def test_a_student_is_trained_again_beside_its_card(tiny_run):
    """The card is neither in the way nor lost, and comes out the same."""
    before, record = digests(tiny_run), f"results/tiny/student/{RUN}/record.json"
    process = snakemake(tiny_run, "-c2", "-p", "-R", record, "--", CARD)
    assert process.returncode == 0, output(process)[-3000:]
    assert {"student_knowledge", "model_card"} <= job_counts(process).keys()
    assert digests(tiny_run) == before
    assert shell(tiny_run, "python -m scripts.verify results/tiny").returncode == 0
