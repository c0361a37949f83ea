"""The page of an ablation: computed sentences and a table; and the page of all of them.

Reads metrics.json and predictions.parquet of its points; writes {ablation}.csv, .md and the panel.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from first_distill.calibration import intervals
from first_distill.calibration.statistic import NOTHING
from first_distill.provenance import records
from first_distill.reporting import output
from first_distill.reporting.ablations import panel, patterns
from first_distill.reporting.ablations.points import Comparison, compare
from first_distill.reporting.claims.headline import holm
from first_distill.reporting.claims.verdicts import scope
from first_distill.reporting.figures import style
from first_distill.reporting.names import FORMATS, LEVEL_SHOWN, ONE_ANSWER, printed

LEAKAGE = "leakage, the validation split of a test task was seen"
LUCK = (
    "Not taught by the teacher of what they are compared with: {}. Their differences contain the "
    "luck of one teacher's training against another's, which intervals and p-values leave out; "
    "the ablation `teacher_seed` shows how large it is."
)


def run(args: argparse.Namespace) -> None:
    """Make one ablation: panel, data and page."""
    comparison = compare(json.loads(args.entry), args.metrics, args.posthoc)
    points = comparison.entry["points"]
    words = [c for point in points for own in point.get("c", {}).values() for c in own]
    searches = [c for c in dict.fromkeys(words) if c.endswith(".json")]
    explained, sources = "", [*args.metrics, *searches]
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
        f"{LEVEL_SHOWN} intervals for further questions and training seeds (with several families: "
        "further families). Largest effects are picked from what was measured; the p-values are "
        "corrected for the number of settings (Holm), not for the number of ablations."
    )
    page = output.page("# Ablations", head, *parts)
    output.publish(args.output_prefix, "ablations", args.pages, md=page)


def page(comparison: Comparison, explained: str = "") -> str:
    """Return the page of an ablation: its title, sentences, a table, patterns."""
    entry = comparison.entry
    return output.page(
        f"# {entry['title']}",
        " ".join(sentences(comparison)),
        luck(comparison),
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
    count = f"{len(others)} settings" if len(others) > 1 else "one setting"
    text = (
        f"Compared with {_listed(dict.fromkeys(references[label] for label in labels))}: {count}, "
        f"on {questions:,} questions ({scope(evidence.places)}), "
        f"{seeds} training seed{'s' if seeds > 1 else ''} a student"
    )
    leaking = [point["label"] for point in comparison.points if point.get("leakage")]
    text += f"; {_listed(leaking)}: {LEAKAGE}" if leaking else ""
    return [f"{text}.", *largest(comparison, others)]


def luck(comparison: Comparison) -> str:
    """Return which points have teachers trained in another way, and what that means; '' if none.

    Where only the seed differs the luck is what is compared.
    """
    labels = [label for label in comparison.references if comparison.differs(label, "recipe")]
    return LUCK.format(_listed(labels)) if labels else ""


def largest(comparison: Comparison, others: list[str]) -> tuple[str, ...]:
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
    if change(found[top].interval()) == SAME:
        return ("None of them changes the ECE.",)
    accuracy = change(evidence.estimate(places[top], "accuracy", *pairs[top]).interval())
    against = f" against “{references[top]}”" if len({*references.values()}) > 1 else ""
    some = len(places[top]) < len(evidence.places)
    within = f" in {len(places[top])} of {len(evidence.places)} cells" if some else ""
    effect = (
        f"The largest effect on the ECE is that of “{top}”{against}: "
        f"{change(found[top].interval())} points{within}, with "
        f"{'the same' if accuracy == SAME else f'{accuracy} in'} accuracy."
    )
    if not counting:
        why = [reason for reason in reasons[top] if reason]
        return effect, f"It decides nothing: {max(dict.fromkeys(why), key=why.count)}."
    corrected = holm([own.p_value() for own in found.values()])
    p = dict(zip(found, corrected, strict=True))[top]
    among = f" among {len(found)} comparisons" if len(found) > 1 else ", one comparison"
    decided = "decided for these teachers" if comparison.differs(top, "teacher") else "decided"
    chance = f"= {p:.4f}" if p >= 0.0001 else "< 0.0001"
    sign = decided if p < 1 - intervals.LEVEL else "not decided"
    return effect, f"Its sign is {sign} (p {chance}{among})."


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(f"“{label}”" for label in labels)


SAME = "same"


def change(numbers: dict[str, float]) -> str:
    """Return a difference and its ends, `same` where all are 0: the same models or answers."""
    ends = [numbers[name] for name in ("value", "low", "high")]
    value, low, high = map(_signed, ends)
    return f"{value} [{low}, {high}]" if any(abs(end) > NOTHING for end in ends) else SAME


def _signed(value: float) -> str:
    text = f"{value:+z.1f}"
    return text if float(text) else "0.0"


def table(comparison: Comparison) -> str:
    """Return a line for each point, then the lines, in each column of Table 1."""
    lines = []
    for row in comparison.rows.to_dict("records"):
        alone = comparison.references.get(row["label"]) in (None, row["label"])
        line = {"Setting": row["label"], "Column": column_of(row), "c": row["c"] or None}
        for metric, name in (("ece", "ECE, %"), ("accuracy", "Acc, %")):
            value, low, high = (row[metric + end] for end in ("", "_low", "_high"))
            line[name] = f"{value:z.1f} [{low:z.1f}, {high:z.1f}]"
            less = {end or "value": row[f"{metric}_minus{end and '_' + end}"] for end in ENDS}
            line[f"{name.split(',')[0]} difference"] = output.MISSING if alone else change(less)
        line["ECE between candidates, %"] = f"{row['ece_candidates']:z.1f}"
        marks = {"leakage": "leakage", "constant_output": ONE_ANSWER}
        said = [text for name, text in marks.items() if row[name]]
        if not row["above_chance"] and not row["constant_output"]:
            said.append("no better than chance")
        lines.append(line | {"Marks": ", ".join(said)})
    empty = [name for name in ("c", "Marks") if not any(line[name] for line in lines)]
    lines = [{k: v for k, v in line.items() if k not in empty} for line in lines]
    return output.pipe_table(lines, numbers=[NUMBERS.get(name, "z.1f") for name in lines[0]])


ENDS = ("", "low", "high")
NUMBERS = {"Setting": "g", "c": FORMATS["c"]}


def column_of(row: dict) -> str:
    """Return the printed name of a row's column of Table 1."""
    corpus, benchmark = row["corpus"], row["benchmark"]
    return printed(benchmark) + ("" if corpus == benchmark else f" from {printed(corpus)}")
