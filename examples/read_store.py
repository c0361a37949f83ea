"""A knowledge store, read with safetensors and numpy alone: `read_store.py FOLDER`.

Such as results/tiny/knowledge/alder/csqa/train; docs/reading-the-store.md lists the arrays.
"""

import sys

import numpy as np
from safetensors.numpy import load_file

folder = sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)
store = load_file(f"{folder}/knowledge.safetensors")
p = np.exp(store["log_probs"].astype(np.float64))  # (N, k), most probable first
tail = np.exp(store["log_tail"].astype(np.float64))  # (N,), of all other tokens together
right = np.mean(store["gold_rank"] == 0)
rows, (positions, k) = len(store["offsets"]) - 1, p.shape
print(f"{rows} rows, {positions} positions, top {k} of the vocabulary")
print(f"top 1: {p[:, 0].mean():.4f} of the probability, right {right:.4f}")
print(f"top {k}: {p.sum(1).mean():.4f} of the probability, the others {tail.mean():.4f}")

first, end = store["offsets"][:2]  # positions of the first row
for position in range(first, end):
    ids, own = store["ids"][position, :5], p[position, :5]
    print("  ".join(f"{i} {share:.3f}" for i, share in zip(ids, own)))
