"""lm-eval on a folder of a model, as its users call it, on the questions of one of our tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "docs/library.md"


def samples(folder: Path, model: Path, questions: Path) -> Path:
    """The samples_exam_*.jsonl that lm-eval writes below `folder`, made by the task of the docs."""
    (task,) = re.findall(r"^```yaml\n(.*?)^```", LIBRARY.read_text(), flags=re.M | re.S)
    task = task.replace("results/tiny/data/csqa/test.parquet", str(questions))
    (folder / "exam.yaml").write_text(task)
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
