"""The page of an ablation: three sentences, computed, and a table; and the page of all of them.

Reads metrics.json and predictions.parquet of its points; writes {ablation}.csv, .md, .pdf, .png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from scripts.first.calibration.intervals import LEVEL
from scripts.first.provenance import records
from scripts.first.reporting import output
from scripts.first.reporting.ablations import panel, patterns
from scripts.first.reporting.ablations.points import Comparison, compare
from scripts.first.reporting.claims.headline import holm
from scripts.first.reporting.claims.verdicts import scope
from scripts.first.reporting.figures import style
from scripts.first.reporting.names import ONE_ANSWER, printed

LEAKAGE = "leakage, the validation split of a test task was seen"


def run(args: argparse.Namespace) -> None:
    """Make one ablation: panel, data and page."""
    comparison = compare(json.loads(args.entry), args.metrics, args.posthoc)
    explained, sources = "", list(args.metrics)
    if args.paper_table:
        explained = patterns.section(comparison, args.paper_table)
        sources.append(args.paper_table)
    name, rows = comparison.entry["name"], comparison.rows
    drawn = style.drawn(panel.draw(comparison.entry, rows))
    contents = {"csv": rows, "md": page(comparison, explained), **drawn}
    output.publish(args.output_prefix, "ablation", sources, **contents)
    print(f"{name}: {len(rows)} rows")


def join(args: argparse.Namespace) -> None:
    """Join the pages of ablations, with their panels, on one page."""
    parts = []
    for path in map(Path, args.pages):
        text = records.verified(path).read_text(encoding="utf-8")
        title, _, rest = text.partition("\n\n")
        image = f"![{title.removeprefix('# ')}](ablations/{path.stem}.png)"
        parts += [f"#{title}", image, rest.strip()]
    head = (
        "Each asks what changes if one choice does. Bars and brackets: "
        f"{LEVEL:.0%} intervals for further questions and training seeds (with several families: "
        "further families). Largest effects are picked from what was measured; the p-values are "
        "corrected for the number of points (Holm), not for the number of ablations."
    )
    page = output.page("# Ablations", head, *parts)
    output.publish(args.output_prefix, "ablations", args.pages, md=page)


def page(comparison: Comparison, explained: str = "") -> str:
    """Return the page of an ablation: its title, three sentences, a table, patterns."""
    entry = comparison.entry
    return output.page(
        f"# {entry['title']}",
        " ".join(sentences(comparison)),
        entry.get("note", ""),
        table(comparison),
        explained,
    )


def sentences(comparison: Comparison) -> list[str]:
    """Return what was compared, the largest effect on the ECE, and whether it is decided."""
    evidence, references = comparison.evidence, comparison.references
    labels = [point["label"] for point in comparison.points]
    others = [label for label in labels if references[label] != label]
    rows = comparison.rows.drop_duplicates("benchmark")
    questions, seeds = rows["n_questions"].sum(), comparison.rows["n_seeds"].max()
    count = f"{len(others)} points" if len(others) > 1 else "one point"
    text = (
        f"Compared with {_listed(dict.fromkeys(references[label] for label in labels))}: {count}, "
        f"on {questions:,} questions ({scope(evidence.places)}), "
        f"{seeds} training seed{'s' if seeds > 1 else ''} a student"
    )
    leaking = [point["label"] for point in comparison.points if point.get("leakage")]
    text += f"; {_listed(leaking)}: {LEAKAGE}" if leaking else ""
    return [f"{text}.", *largest(comparison, others)]


def largest(comparison: Comparison, others: list[str]) -> tuple[str, str]:
    """Return the largest effect on the ECE, and whether its sign is decided.

    Cells count in which both models are better than chance, and points that have more than half of
    their cells left; if there is none, all of them, and then nothing is decided.
    """
    evidence, references = comparison.evidence, comparison.references
    pairs = {label: (label, references[label]) for label in others}
    reasons = {
        label: [evidence.obstacle(place, pair) for place in evidence.places]
        for label, pair in pairs.items()
    }
    counting = [label for label, own in reasons.items() if 2 * own.count(None) > len(own)]
    places = {
        label: [
            place
            for place, why in zip(evidence.places, reasons[label], strict=True)
            if why is None or not counting
        ]
        for label in counting or others
    }
    found = {label: evidence.estimate(own, "ece", *pairs[label]) for label, own in places.items()}
    top = max(found, key=lambda label: abs(found[label].value))
    accuracy = evidence.estimate(places[top], "accuracy", *pairs[top])
    against = f" against “{references[top]}”" if len({*references.values()}) > 1 else ""
    some = len(places[top]) < len(evidence.places)
    within = f" in {len(places[top])} of {len(evidence.places)} cells" if some else ""
    effect = (
        f"The largest effect on the ECE is that of “{top}”{against}: "
        f"{_change(found[top].interval())} points{within}, with {_change(accuracy.interval())} in "
        "accuracy."
    )
    if not counting:
        why = [reason for reason in reasons[top] if reason]
        return effect, f"It decides nothing: {max(dict.fromkeys(why), key=why.count)}."
    corrected = holm([own.p_value() for own in found.values()])
    p = dict(zip(found, corrected, strict=True))[top]
    among = f"{len(found)} comparisons" if len(found) > 1 else "one comparison"
    verdict = "decided" if p < 1 - LEVEL else "not decided"
    chance = f"= {p:.3f}" if p >= 0.001 else "< 0.001"
    return effect, f"Its sign is {verdict} (p {chance} among {among})."


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(f"“{label}”" for label in labels)


def _change(numbers: dict[str, float]) -> str:
    value, low, high = (f"{numbers[name]:+.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def table(comparison: Comparison) -> str:
    """Return a line for each point, then the lines, in each column of Table 1."""
    lines = []
    for row in comparison.rows.to_dict("records"):
        alone = comparison.references.get(row["label"]) in (None, row["label"])
        line = {"Setting": row["label"], "Column": column_of(row)}
        for metric, name in (("ece", "ECE, %"), ("accuracy", "Acc, %")):
            value, low, high = (row[metric + end] for end in ("", "_low", "_high"))
            line[name] = f"{value:.1f} [{low:.1f}, {high:.1f}]"
            less = {end or "value": row[f"{metric}_minus{end and '_' + end}"] for end in ENDS}
            line[f"{name.split(',')[0]} difference"] = output.MISSING if alone else _change(less)
        line["ECE between candidates, %"] = f"{row['ece_candidates']:.1f}"
        marks = {"leakage": "leakage", "constant_output": ONE_ANSWER}
        said = [text for name, text in marks.items() if row[name]]
        if not row["above_chance"] and not row["constant_output"]:
            said.append("no better than chance")
        lines.append(line | {"Marks": ", ".join(said)})
    if not any(line["Marks"] for line in lines):
        lines = [{k: v for k, v in line.items() if k != "Marks"} for line in lines]
    return output.pipe_table(lines)


ENDS = ("", "low", "high")


def column_of(row: dict) -> str:
    """Return the printed name of a row's column of Table 1."""
    corpus, benchmark = row["corpus"], row["benchmark"]
    return printed(benchmark) + ("" if corpus == benchmark else f" from {printed(corpus)}")
