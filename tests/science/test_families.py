"""Every architecture by every path against an independent computation.

What the stages write is compared with `independent`. The whole matrix, as a table:
`pytest -s -m "slow or not slow" tests/science/test_families.py`.
"""

import json
from functools import cache

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from first_distill.models.tokenizer import load_tokenizer
from tests import families
from tests import tiny_models as tiny
from tests.science import independent
from tests.science.family_stages import (
    HALVES,
    PATHS,
    SETTINGS,
    STORED,
    TEST,
    TRAIN,
    C,
    K,
    Run,
    run_all,
)

# Families that differ most, and paths; all others are slow.
REDUCED = {"qwen2", "gemma3", "gpt2", "mixtral", "plain", "bfloat16", "sharded"}
SLOW = [pytest.mark.slow]
CASES = [
    pytest.param(name, path, marks=[] if {name, path} <= REDUCED else SLOW)
    for name in families.FAMILIES
    for path in PATHS
]
# Largest differences, in float32 and in bfloat16.
# float32: its rounding, 6e-8 of a number, over the some 30 operations of three layers. A weight
# of about 1 takes four steps of at most 0.01; with eps = 1e-3 no gradient's rounding is blown up.
# bfloat16: 2e-3 of a number. Logits reach 8, where half its spacing is 0.016; layers add as much.
# Gradients are a few percent off, and a checkpoint's weights, rounded when they are written, as
# much of the movement again: their share says whether training was right. One weight that has next
# to no gradient may go anywhere within its steps, 0.02 together. Training changes log-probabilities
# by about 2, of which predictions afterwards have that share.
TOLERANCES = {
    "log-probs": (1e-5, 0.05),
    "store": (1e-5, 0.05),
    "loss": (1e-6, 5e-3),
    "weights": (3e-6, 0.02),
    "share": (1e-5, 0.1),
    "log-probs after": (1e-5, 0.2),
}
# With experts, in bfloat16: a token may go to another one, no small change. So three times as much,
# and of log-probabilities the largest differences of nine positions in ten.
EXPERTS, ROUTED = 3, 0.9
REPORT: dict[tuple[str, str], dict[str, str]] = {}


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """The stages of the families that were chosen; in the end, the table."""
    chosen: dict[str, list[str]] = {}
    for item in request.session.items:
        if item.path == request.path:
            chosen.setdefault(item.callspec.params["name"], []).append(item.callspec.params["path"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_MODEL_MIRROR", str(tiny.root()))
        yield run_all(tmp_path_factory.mktemp("families"), chosen)
    print("\n" + table())


def table() -> str:
    """REPORT as text."""
    columns = list(dict.fromkeys(key for found in REPORT.values() for key in found))
    lines = [["family", "path", *columns]]
    for names, found in REPORT.items():
        lines.append([*names, *(found.get(column, "") for column in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([w.ljust(n) for w, n in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


@cache
def rows(run: Run):
    """The training split, encoded independently."""
    return independent.encode(run.sources["student"], TRAIN)


@cache
def base(run: Run, which: str, half: bool = False):
    """A base model in float64, of weights that may be rounded to bfloat16 first."""
    dtype = torch.bfloat16 if half else torch.float64
    return independent.load(run.sources[which], dtype).double()


@cache
def trained(run: Run, kind: str):
    """(model, losses) of training on labels, `teacher`, or of matching, `student`."""
    loss, model = independent.cross_entropy, independent.load(run.sources["student"])
    if kind == "student":  # the store is compared for itself
        arrays = load_file(run.folder / "store-plain" / "knowledge.safetensors")
        loss = independent.Matching(arrays, K, C)
    losses, norms = independent.train(model, rows(run), loss, SETTINGS)
    assert max(norms) > SETTINGS.max_grad_norm  # so clipping is compared too
    return model, np.asarray(losses)


def beyond(found, expected, spacing: np.ndarray, share: float = 1.0) -> float:
    """Largest difference less half the spacing of the numbers in a file; at least 0.

    share: of the positions (rows of the arrays), those with the smallest differences.
    """
    far = np.abs(found.astype(np.float64) - expected) - spacing.astype(np.float64) / 2
    return max(0.0, float(np.quantile(far.reshape(len(far), -1).max(axis=1), share)))


def share_of(run: Run, path: str) -> float:
    """Share of the positions to compare."""
    return ROUTED if path in HALVES and run.name == "mixtral" else 1.0


def store(run: Run, path: str) -> float:
    """Largest difference of a store's log-probabilities and tails, beyond float16's rounding.

    The rows' hashes are those of AutoTokenizer's ids, special tokens and all.
    """
    arrays = load_file(run.folder / f"store-{path}" / "knowledge.safetensors")
    hashes = [independent.row_hash(ids, prompt) for ids, prompt, _ in rows(run)]
    assert np.array_equal(arrays["row_hashes"], np.stack(hashes))
    labels = np.concatenate([own for _, _, own in rows(run)])
    tokens = independent.token_ids(run.sources["teacher"])
    log_p = independent.every_log_prob(base(run, "teacher", path in HALVES), rows(run))
    ids, best, tail, ranks = independent.top(log_p, labels, STORED, tokens)
    own = np.take_along_axis(log_p, arrays["ids"].astype(np.int64), 1)
    if path not in HALVES:  # two ids may change places if float32 cannot tell them apart
        swapped = arrays["ids"] != ids
        assert np.abs(own - best)[swapped].max(initial=0) < TOLERANCES["store"][0]
        whole = ~swapped.any(axis=1)
        assert whole.mean() > 0.9
        assert np.array_equal(arrays["gold_rank"][whole], ranks[whole])
    pairs = (("log_probs", own), ("log_probs", best), ("log_tail", tail))
    share = share_of(run, path)
    half = [np.spacing(np.abs(e).astype(np.float16)) for _, e in pairs]
    return max(beyond(arrays[n], e, s, share) for (n, e), s in zip(pairs, half, strict=True))


def predictions(run: Run, what: str, path: str, model) -> float:
    """Largest difference of the candidates' log-probabilities that evaluation wrote."""
    table = pq.read_table(run.folder / f"{what}-{path}" / "predictions.parquet")
    found = table["candidate_log_probs"].to_pylist()
    expected = independent.candidates(run.sources["student"], model, TEST)
    assert [*map(len, found)] == [*map(len, expected)] and {*map(len, found)} == {3, 4, 5}
    found, expected = (pandas.DataFrame(rows).fillna(0.0).to_numpy() for rows in (found, expected))
    return beyond(found, expected, np.zeros(1), share_of(run, path))


def weights(run: Run, name: str, kind: str, half: bool) -> tuple[float, float]:
    """Of a checkpoint: the largest difference, and that of all weights by their movement (2-norms).

    The former is beyond the rounding of a checkpoint that is written in bfloat16.
    """
    models = independent.load(run.folder / name), trained(run, kind)[0], base(run, "student")
    found, expected, start = (dict(model.named_parameters()) for model in models)
    assert found.keys() == expected.keys() == start.keys()
    found, expected, start = (
        torch.cat([part[key].detach().flatten() for key in expected]).numpy()
        for part in (found, expected, start)
    )
    share = np.linalg.norm(found - expected) / np.linalg.norm(start - expected)
    bits = np.maximum(np.abs(expected), 1e-30)  # bfloat16 keeps 8
    spacing = np.exp2(np.floor(np.log2(bits)) - 7) * half
    return beyond(found, expected, spacing), float(share)


def differences(run: Run, path: str) -> dict[str, float]:
    """Of all that a path wrote."""
    half, found = path in HALVES, {}
    if path in ("plain", "bfloat16"):
        found["log-probs"] = predictions(run, "base", path, base(run, "student", half))
        found["store"] = store(run, path)
    for kind, what in (("teacher", "labels"), ("student", "Eq. 5")):
        record = json.loads((run.folder / f"{kind}-{path}" / "record.json").read_text())
        losses = np.asarray([point["loss"] for point in record["curve"]])
        found[f"{what}: loss"] = float(np.abs(losses / trained(run, kind)[1] - 1).max())
        largest, share = weights(run, f"{kind}-{path}", kind, half)
        found |= {f"{what}: weights": largest, f"{what}: share": share}
    found["log-probs after"] = predictions(run, "trained", path, trained(run, "teacher")[0])
    return found


@pytest.mark.parametrize(("name", "path"), CASES)
def test_what_the_stages_write(runs, name, path):
    """Tokens, log-probabilities, stores, losses and trained weights."""
    failed = runs[name].failed
    assert {w: e for w, e in failed.items() if w.partition("-")[2] in ("", path)} == {}
    found = differences(runs[name], path)
    REPORT[name, path] = special_tokens(runs[name]) | {k: f"{v:.1e}" for k, v in found.items()}
    half = path in HALVES
    wider = EXPERTS if half and name == "mixtral" else 1
    limits = {key: wider * TOLERANCES[key.rpartition(": ")[2]][half] for key in found}
    assert {key: value for key, value in found.items() if not value <= limits[key]} == {}


def special_tokens(run: Run) -> dict[str, str]:
    """BOS, if texts begin with one, and EOS: those of AutoTokenizer, and of the family's kind."""
    source = run.sources["student"]
    theirs, ours = AutoTokenizer.from_pretrained(source), load_tokenizer(source)
    has_bos, eos = families.TOKENS[families.FAMILIES[run.name][2]]
    assert list(ours.prefix) == theirs("")["input_ids"]
    assert len(ours.prefix) == has_bos
    assert ours.eos_id == theirs.eos_token_id == theirs.convert_tokens_to_ids(eos)
    names = theirs.convert_ids_to_tokens([*ours.prefix, ours.eos_id])
    return {"BOS": " ".join(names[:-1]), "EOS": names[-1]}
