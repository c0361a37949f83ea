"""lm-eval on a folder of a model, as its users call it, on the questions of one of our tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

TASK = """task: exam
dataset_path: json
dataset_kwargs: {{data_files: {{test: {questions}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: prompt
doc_to_target: gold
doc_to_choice: candidates
target_delimiter: ""
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


def samples(folder: Path, model: Path, rows: list[dict]) -> Path:
    """The samples_exam_*.jsonl that `lm_eval --log_samples` writes below `folder`, made here."""
    questions = folder / "questions.jsonl"
    lines = [
        {**{n: row[n] for n in ("prompt", "candidates")}, "gold": row["candidates"].index(answer)}
        for row in rows
        for answer in [row["answer"]]
    ]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "exam.yaml").write_text(TASK.format(questions=questions))
    line = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={model}"]
    line += ["--tasks", "exam", "--include_path", str(folder), "--device", "cpu"]
    line += ["--batch_size", "16", "--log_samples", "--output_path", str(folder / "out")]
    environment = {**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        line, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = folder.glob("out/*/samples_exam_*.jsonl")
    return found


def log_likelihoods(path: Path) -> list[list[float]]:
    """What lm-eval logged of each question's candidates, in the order of the questions."""
    logged = sorted(map(json.loads, path.read_text().splitlines()), key=lambda own: own["doc_id"])
    return [[float(answer[0]) for answer in own["filtered_resps"]] for own in logged]
