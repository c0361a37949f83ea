"""A small results tree with known properties, for the tests of tables, figures and claims."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.special import log_softmax

from first_distill.calibration import metrics
from first_distill.calibration.summary import every_meter
from first_distill.calibration.temperature_search import search_temperature
from first_distill.files import read_json, write_csv, write_parquet
from first_distill.provenance import records
from scripts.artifacts import main

CANDIDATES = {"csqa": list("abcde"), "obqa": list("ABCD"), "boolq": ["Yes", "No"]}
COLUMNS = [("csqa", "csqa"), ("boolq", "boolq"), ("alpaca", "csqa"), ("alpaca", "obqa")]
FAMILIES = ["alder", "birch", "cedar"]
# (accuracy, mean confidence - accuracy) of each method
METHODS = {
    "base": (0.45, 0.0),
    "teacher": (0.80, 0.10),
    "finetune": (0.68, 0.14),
    "finetune_ts": (0.68, 0.02),
    "distill": (0.68, 0.10),
    "distill_ls": (0.68, 0.03),
    "first_ts": (0.71, 0.01),
}


def artifact(command: str, **options) -> None:
    """Make an artifact by its command line; an option of several values is a list."""
    words = [command]
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    main(words)


def questions(benchmark: str, n: int) -> list[dict]:
    """Return the test table's rows of a benchmark."""
    rng = np.random.default_rng(len(benchmark) * 7 + n)
    candidates = CANDIDATES[benchmark]
    return [
        {
            "id": f"validation/{i:06d}",
            "prompt": f"Q: question {i} of {benchmark}, 50% & more?\nChoices:\n(a) x_1\nA: (",
            "candidates": candidates,
            "answer": candidates[rng.integers(len(candidates))],
        }
        for i in range(n)
    ]


def write_run(
    folder: Path,
    labels: dict,
    n: int,
    accuracy: float,
    gap: float,
    rng: np.random.Generator,
    confidence: np.ndarray | None = None,
    correct: np.ndarray | None = None,
) -> tuple[str, str, str]:
    """Write predictions.parquet, metrics.json and ranks.parquet; return their paths."""
    rows, candidates = questions(labels["benchmark"], n), CANDIDATES[labels["benchmark"]]
    if confidence is None:
        level = min(0.98, accuracy + gap)
        drawn = rng.beta(6 * level, 6 * (1 - level), n)
        confidence = np.clip(drawn, 1 / len(candidates) + 0.01, 0.995)
    if correct is None:
        correct = rng.random(n) < np.clip(confidence - (confidence.mean() - accuracy), 0, 1)
    log_probs, predictions = [], []
    for row, conf, hit in zip(rows, confidence, correct, strict=True):
        others = [c for c in candidates if c != row["answer"]]
        predicted = row["answer"] if hit else others[rng.integers(len(others))]
        rest = 0.98 * (1 - conf) / (len(candidates) - 1)
        log_probs.append([float(np.log(conf if c == predicted else rest)) for c in candidates])
        predictions.append(predicted)
    answers = [row["answer"] for row in rows]
    table = {"benchmark": [labels["benchmark"]] * n, "id": [row["id"] for row in rows]}
    table |= {"answer": answers, "prediction": predictions, "correct": correct}
    table |= {"gold": [candidates.index(answer) for answer in answers]}
    table |= {"confidence": confidence, "candidate_log_probs": log_probs}
    ece = 100 * metrics.expected_calibration_error(confidence, correct)
    acc = 100 * float(np.mean(correct))
    values = {"n": n, "bins": 10, "ece": ece, "accuracy": acc, "trust": acc - ece}
    gold = np.array([candidates.index(answer) for answer in answers])
    mass = np.exp(log_probs).sum(axis=1)
    full, shares = (confidence, np.array(log_probs)), (confidence / mass, log_softmax(log_probs, 1))
    for end, (p, logs) in (("", full), ("_candidates", shares)):
        found = every_meter(p, correct, logs, gold, 10)
        values |= {name + end: value for name, value in found.items()}
    values |= {"trust_candidates": acc - values["ece_candidates"]}
    values |= {"chance": 100 / len(candidates)}
    values["confidence"] = 100 * float(np.mean(confidence))
    values |= {"candidate_mass": 100 * float(mass.mean())}
    values |= {"majority": 100 * max(map(answers.count, candidates)) / n}
    values |= {"constant_output": len(set(predictions)) == 1}
    ends = {"ece": [ece - 1, ece + 1], "accuracy": [acc - 2, acc + 2], "trust": [0, 1]}
    record = {name: label for name, label in labels.items() if name != "benchmark"}
    record["benchmarks"] = {labels["benchmark"]: {**values, "intervals": ends}}
    files = ["predictions.parquet", "ranks.parquet"]
    write_parquet(folder / files[0], pa.table(table))
    write_parquet(folder / files[1], _ranks(labels["benchmark"], confidence, correct, rng))
    records.write(folder / "metrics.json", record, files)
    return tuple(str(folder / name) for name in (files[0], "metrics.json", files[1]))


def _ranks(benchmark: str, confidence, correct, rng: np.random.Generator) -> pa.Table:
    n = len(confidence)
    share = np.array([0.5, 0.25, 0.15, 0.08])
    probability = np.column_stack([confidence, np.outer(1 - confidence, share)])
    hit = np.zeros((n, 5), dtype=bool)
    hit[:, 0] = correct
    wrong = np.flatnonzero(~np.asarray(correct))
    hit[wrong, 1 + rng.choice(4, size=wrong.size, p=[0.5, 0.3, 0.15, 0.05])] = True
    rank = np.tile(np.arange(1, 6, dtype=np.int32), n)
    columns = {"rank": rank, "probability": probability.ravel(), "correct": hit.ravel()}
    return pa.table({"benchmark": [benchmark] * len(rank), **columns})


def write_search(folder: Path, accuracy: float, seed: int, n: int = 900) -> dict[str, str]:
    """Write a saturated teacher's coarse.csv, refined.csv and selected.json; return their paths."""
    import pandas

    rng = np.random.default_rng(seed)
    top = rng.beta(30, 1.5, n)
    rest = np.outer(1 - top, [0.5, 0.25, 0.15, 0.08])
    probability = np.column_stack([top, rest])
    correct = rng.random(n) < accuracy
    found = search_temperature(probability, correct)
    for name, curve in (("coarse", found.coarse), ("refined", found.refined)):
        write_csv(folder / f"{name}.csv", pandas.DataFrame(curve), floats="%.6f")
    selected = {"c": found.best["c"], "coarse_c": found.coarse_c, "at_edge": found.at_edge, "n": n}
    selected |= {"accuracy": float(correct.mean()), "teacher_confidence": float(top.mean())}
    selected |= {"teacher_ece": metrics.expected_calibration_error(top, correct)}
    records.write(folder / "selected.json", selected, ["coarse.csv", "refined.csv"])
    names = {"coarse": "coarse.csv", "refined": "refined.csv", "selected": "selected.json"}
    return {option: str(folder / name) for option, name in names.items()}


def write_tree(root: Path, n: int = 600, seeds=(1,), methods: dict | None = None) -> dict:
    """Write runs of all families, columns, methods; {(family, corpus, method, benchmark): runs}."""
    methods = methods or METHODS
    tree: dict = {}
    for f, family in enumerate(FAMILIES):
        for c, (corpus, benchmark) in enumerate(COLUMNS):
            for m, (method, (accuracy, gap)) in enumerate(methods.items()):
                if method == "base" and (corpus, benchmark) == ("alpaca", "csqa"):
                    continue  # the untuned student is one model: its csqa run serves both columns
                name = "none" if method == "base" else corpus
                for seed in seeds:
                    rng = np.random.default_rng([f, c, m, seed])
                    shift = 0.05 * f - 0.1 * (corpus == "alpaca") + 0.05 * (benchmark == "boolq")
                    labels = {"scale": "tiny", "family": family, "corpus": name, "method": method}
                    labels |= {"seed": seed, "benchmark": benchmark}
                    folder = root / family / name / method / f"seed{seed}" / benchmark
                    paths = write_run(folder, labels, n, accuracy + shift, gap, rng)
                    tree.setdefault((family, name, method, benchmark), []).append(paths)
    return tree


def make_claims(folder: Path, runs: dict, by_design: list[str]) -> list[dict]:
    """Make cells, Table 1, Figure 3 and claims of one family's runs; return claims.json.

    runs: {(family, corpus, method, benchmark): files of one seed}; by_design: ids of claims.
    """
    cells = []
    for corpus, benchmark in COLUMNS:
        for (family, trained, method, tested), run in runs.items():
            if tested == benchmark and trained in (corpus, "none"):
                cells.append(folder / f"{method}-{corpus}-{benchmark}.json")
                labels = {"scale": "tiny", "family": family, "method": method, "corpus": corpus}
                labels |= {"setting": "in_domain" if corpus == benchmark else "out_of_domain"}
                files = {"metrics": run[1], "output": cells[-1]}
                artifact("cell", **files, **labels, benchmark=benchmark)
    artifact("table1", cells=cells, output_prefix=folder / "table1")
    shown = ("teacher", "finetune", "distill")
    own = [run for key, run in runs.items() if key[1] == key[3] == "csqa" and key[2] in shown]
    files = {"ranks": [run[2] for run in own], "metrics": [run[1] for run in own]}
    artifact("figure3", benchmark="csqa", **files, output_prefix=folder / "figure3")
    columns = "corpus,positions,k,mass_mean,mass_sd,n_positions,share_over_95,family\n"
    (folder / "figure2.csv").write_text(columns + "csqa,all,5,99,1,900,99,alder\n")
    options = {name: folder / f"{name}.csv" for name in ("table1", "figure2", "figure3")}
    options |= {"metrics": [run[1] for run in runs.values()]}
    options |= write_search(folder / "search", 0.85, seed=1)
    options |= {"families": "alder", "corpora": "csqa", "output_prefix": folder / "claims"}
    artifact("claims", **options, by_design=by_design)
    return read_json(folder / "claims.json")
