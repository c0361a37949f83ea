"""Metrics with intervals of a multiple-choice task: `lm_eval_metrics.py samples_TASK_DATE.jsonl`.

lm-eval writes that file with `--log_samples --output_path FOLDER`.
"""

import json
import sys
from pathlib import Path

import numpy as np

from first_distill import Estimate, question_weights, score

path = Path(sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__))
samples = [json.loads(line) for line in path.read_text().splitlines()]
samples.sort(key=lambda sample: sample["doc_id"])
lists = [[float(answer[0]) for answer in sample["filtered_resps"]] for sample in samples]
log_probs = np.full((len(lists), max(map(len, lists))), -np.inf)  # of each choice
for row, own in zip(log_probs, lists):
    row[: len(own)] = own
correct = np.array([sample["acc"] for sample in samples])  # whether the likeliest is right
confidence = np.exp(log_probs.max(1))  # full-vocabulary probability of the answer that is given

task = path.name.removeprefix("samples_").rpartition("_")[0]
weights = question_weights(task, len(samples))  # models of one task are resampled together
for name, own in score(confidence, correct, weights).items():
    low = 0 if name in ("ece", "accuracy", "confidence") else -100
    found = Estimate([own]).summary(lowest=low)
    print("{} {value:.2f} [{low:.2f}, {high:.2f}]".format(name, **found))
