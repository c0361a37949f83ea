"""Each trained method with a post-hoc temperature: what does distillation add to one scalar?

Reads metrics.json and predictions.parquet of each model; writes CSV (a row for each method,
temperature and column: means over seeds, then over families) and Markdown.
"""

from __future__ import annotations

import argparse

import pandas

from first_distill.calibration.temperature_search import FITS
from first_distill.errors import UserError
from first_distill.reporting import output
from first_distill.reporting.claims.verdicts import Evidence, Place
from first_distill.reporting.names import LEVEL_SHOWN, printed
from first_distill.reporting.runs import Key, Run, load_runs

NAMES = {"none": "no T", "nll": "T by NLL", "ece": "T by ECE"}
METRICS = {"ece": ("ECE, %", ".1f"), "nll": ("NLL", ".3f"), "brier": ("Brier", ".3f")}
BASELINE, LABELS = "finetune", ("corpus", "benchmark", "method", "fit")
EXPLAINED = (
    "A post-hoc temperature T divides all logits of a model. It is fitted on the validation split, "
    "to the NLL or to the ECE, and changes no prediction: a method has one accuracy. Means over "
    "seeds, then over families; NLL in nats and Brier on full-vocabulary probabilities."
)
COMPARED = (
    "The baseline is fine-tuning with its T by ECE, which is fitted as c is. All columns count, "
    "also those in which Table 1 marks a model as no better than chance. In brackets "
    f"the {LEVEL_SHOWN} interval, for further questions and any further seeds or families."
)
FIT = "ece"  # of the baseline


def run(args: argparse.Namespace) -> None:
    """Make the table of post-hoc temperatures: csv, md."""
    methods = list(dict.fromkeys(key.method for key in load_runs(args.metrics)))
    if BASELINE not in methods:
        raise UserError(f"no {BASELINE}: posthoc: --metrics: give its files too")
    words = [f"{method}+{fit}={method}:{fit}" for method in methods for fit in FITS]
    groups = load_runs(args.metrics, posthoc=words)
    table = pandas.DataFrame([numbers(key, runs) for key, runs in groups.items()])
    places = [*LABELS[:2], "family"]
    if len(table) != len(methods) * len(NAMES) * len(table[places].drop_duplicates()):
        raise UserError("unequal columns: posthoc: --metrics: give all models of each method")
    by_column = table.groupby([*LABELS], sort=False)
    rows = by_column.mean(numeric_only=True).assign(n_families=by_column["family"].nunique())
    rows = rows.reset_index()
    (scale,) = {runs[0].metrics["scale"] for runs in groups.values()}
    csv = rows.assign(scale=scale)[["scale", *rows.columns]]
    labels = dict.fromkeys((key.family, key.corpus, key.benchmark) for key in groups)
    evidence = Evidence(groups, [Place(family, "", *column) for family, *column in labels], set())
    output.publish(args.output_prefix, "posthoc", args.metrics, csv=csv, md=page(rows, evidence))


def numbers(key: Key, runs: list[Run]) -> dict:
    """Return the labels of a method at a temperature in a family, and its means over seeds."""
    method, _, fit = key.method.partition("+")
    seeds = pandas.DataFrame([run.metrics for run in runs])
    own = {"family": key.family, "corpus": key.corpus, "benchmark": key.benchmark}
    own |= {"method": method, "fit": fit or "none", "n_seeds": len(seeds)}
    own |= {name: seeds[name].mean() for name in ("accuracy", *METRICS)}
    return {**own, "temperature": seeds["temperature"].mean() if fit else 1.0}


def answers(rows: pandas.DataFrame, evidence: Evidence) -> str:
    """Return what each student adds to the post-hoc temperature on fine-tuning, in words.

    A comparison is paired by question and seed, in the mean over the columns of `rows`.
    """
    means = rows.groupby(["method", "fit"], sort=False)[["accuracy", *METRICS]].mean()
    base, lines = means.loc[BASELINE, FIT], []
    columns = {*zip(rows["corpus"], rows["benchmark"], strict=True)}
    places = [p for p in evidence.places if (p.corpus, p.benchmark) in columns]
    for method in [name for name in rows["method"].unique() if name not in (BASELINE, "teacher")]:
        gain, tempered = (
            {
                metric: evidence.interval(places, metric, name, f"{BASELINE}+{FIT}")
                for metric in ("ece", "accuracy", "nll")
            }
            for name in (method, f"{method}+{FIT}")
        )
        own, cooled = means.loc[method, "none"] - base, means.loc[method, FIT] - base
        lines.append(
            f"- **{printed(method)}**: ECE {_change(gain['ece'])}, accuracy "
            f"{_change(gain['accuracy'])}, NLL {_change(gain['nll'], 3)}, Brier "
            f"{own['brier']:+z.3f}; with its own {NAMES[FIT]}: ECE {_change(tempered['ece'])}, NLL "
            f"{_change(tempered['nll'], 3)}, Brier {cooled['brier']:+z.3f}. {_verdict(gain)}"
        )
    head = (
        f"What did distillation add over fine-tuning with {NAMES[FIT]}? That has ECE "
        f"{base['ece']:.1f} %, accuracy {base['accuracy']:.1f} %, NLL {base['nll']:.3f}, Brier "
        f"{base['brier']:.3f}, mean over columns and families. "
        "Differences from it (ECE and accuracy in points):"
    )
    return output.page(head, "\n".join(lines)).rstrip()


def _change(numbers: dict[str, float], digits: int = 1) -> str:
    value, low, high = (f"{numbers[name]:+z.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _verdict(gain: dict[str, dict[str, float]]) -> str:
    """Return in words what a difference in ECE and accuracy amounts to."""
    found = {}
    for metric, sign in (("ece", -1), ("accuracy", 1)):
        low, high = sorted(sign * gain[metric][end] for end in ("low", "high"))
        found[metric] = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
    return f"Calibration: {found['ece']}; accuracy: {found['accuracy']}."


def page(rows: pandas.DataFrame, evidence: Evidence) -> str:
    """Return, in-domain and out-of-domain, the answer, the mean over columns, and each column."""
    own = rows["corpus"] == rows["benchmark"]  # in-domain, whatever the setting's name
    paragraphs = ["# Post-hoc temperatures", EXPLAINED, COMPARED]
    for name, here in (("in_domain", own), ("out_of_domain", ~own)):
        domain = rows[here]
        if domain.empty:
            continue
        means = domain.groupby(["method", "fit"], sort=False).mean(numeric_only=True)
        paragraphs += [f"## {printed(name).capitalize()}", answers(domain, evidence)]
        paragraphs += ["Mean over columns and families:", _table(means.reset_index())]
        for (corpus, benchmark), column in domain.groupby(["corpus", "benchmark"], sort=False):
            trained = "" if name == "in_domain" else f", trained on {printed(str(corpus))}"
            paragraphs += [f"{printed(str(benchmark))}{trained}:", _table(column)]
    return output.page(*paragraphs)


def _table(rows: pandas.DataFrame) -> str:
    """Return a line for each method: accuracy, each metric without T and with either, and T."""
    lines, forms = [], ["", ".1f"]
    for method, own in rows.groupby("method", sort=False):
        own = own.set_index("fit")
        line = {"Method": printed(str(method)), "Acc, %": own["accuracy"]["none"]}
        for metric, (name, _) in METRICS.items():
            line |= {f"{name}, {NAMES[fit]}": own[metric][fit] for fit in NAMES}
        lines.append(line | {NAMES[fit]: own["temperature"][fit] for fit in FITS})
    forms += [form for _, form in METRICS.values() for _ in NAMES] + [".2f"] * len(FITS)
    return output.pipe_table(lines, numbers=forms)
