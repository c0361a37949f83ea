"""Table 1 as text: Markdown for a browser, LaTeX for a paper."""

from __future__ import annotations

from scripts.first.reporting.names import (
    METRICS,
    SETTINGS,
    dataset_name,
    family_name,
    method_name,
)

MISSING = "–"
LITTLE_MASS = 50.0  # percent
FLAG_TEXT = {
    "a": "accuracy not above both the chance and the majority line (its interval reaches them)",
    "b": "the model gives the same answer to every question",
    "c": "the chosen c lies at the edge of the search grid",
    "m": "the candidates hold less than half of the probability: the model would answer otherwise, "
    "and its confidence in a candidate says little",
}


def flags(cell: dict) -> str:
    """Return the letters of the warnings that a cell carries."""
    mass = cell["candidate_mass"]
    marks = (
        (not cell["above_chance"], "a"),
        (cell["constant_output"], "b"),
        (cell["c_at_edge"], "c"),
        ((mass["value"] if isinstance(mass, dict) else mass) < LITTLE_MASS, "m"),
    )
    return "".join(mark for on, mark in marks if on)


def by_place(cells: list[dict]) -> tuple[list[str], list[str], list[tuple], dict]:
    """Return families, methods and columns in order, and the cells by (family, method, column)."""
    column = {id(c): (c["setting"], c["corpus"], c["benchmark"]) for c in cells}
    families = list(dict.fromkeys(c["family"] for c in cells))
    methods = list(dict.fromkeys(c["method"] for c in cells))
    columns = sorted(dict.fromkeys(column.values()), key=lambda c: c[0] != "in_domain")
    return families, methods, columns, {(c["family"], c["method"], column[id(c)]): c for c in cells}


def column_name(column: tuple[str, str, str]) -> str:
    """Return `CSQA in-domain`, or `CSQA out-of-domain (Alpaca)` with the training corpus."""
    setting, corpus, benchmark = column
    trained = "" if setting == "in_domain" else f" ({dataset_name(corpus)})"
    return f"{dataset_name(benchmark)} {SETTINGS[setting]}{trained}"


def markdown(cells: list[dict]) -> str:
    """Return the page: a block a family, intervals in brackets, then checks and warnings."""
    families, methods, columns, placed = by_place(cells)
    printed = any(cell["paper"] for cell in cells)
    lines = [
        f"# Table 1 at scale `{cells[0]['scale']}`",
        "",
        "ECE, accuracy and trust (= accuracy - ECE) in percent, mean over seeds; in brackets the "
        f"{cells[0]['bootstrap']['level']:.0%} interval (bootstrap over questions, "
        f"centred on the estimate, {cells[0]['bootstrap']['resamples']} resamples, all seeds of a "
        "question kept together)." + (" In italics the paper's printed value." if printed else ""),
    ]
    for family in families:
        lines += ["", f"## {family_name(family)}", "", *_block(family, methods, columns, placed)]
    lines += ["", "## Checks", "", *_checks(cells)]
    seen = sorted(set("".join(map(flags, cells))))
    if seen:
        lines += ["", "## Marks", "", *[f"- `{mark}`: {FLAG_TEXT[mark]}" for mark in seen]]
    return "\n".join(lines) + "\n"


def _block(family: str, methods: list[str], columns: list[tuple], placed: dict) -> list[str]:
    titles = [f"{column_name(column)}: {name}" for column in columns for name in METRICS.values()]
    rows = [["Method", *titles]]
    counts, lines = ["*n*"], ["*chance / majority*"]
    for column in columns:
        cell = next((placed[k] for k in placed if k[0] == family and k[2] == column), None)
        counts += [f"{cell['n_questions']} questions", "", ""] if cell else ["", "", ""]
        lines += ["", f"{cell['chance']:.1f} / {cell['majority']:.1f}", ""] if cell else [""] * 3
    rows += [counts, lines]
    for method in methods:
        entries, seeds = [], set()
        for column in columns:
            cell = placed.get((family, method, column))
            entries += [_entry(cell, name) for name in METRICS] if cell else [MISSING] * 3
            seeds |= {cell["n_seeds"]} if cell else set()
        if seeds:
            many = f" ({'/'.join(map(str, sorted(seeds)))} seeds)" if seeds != {1} else ""
            rows.append([method_name(method) + many, *entries])
    return _grid(rows)


def _entry(cell: dict, name: str) -> str:
    number = cell[name]
    text = f"{number['value']:.1f} [{number['low']:.1f}, {number['high']:.1f}]"
    if name == "accuracy" and flags(cell):
        text += f" `{flags(cell)}`"
    return text + (f" *{cell['paper'][name]:.1f}*" if cell["paper"] else "")


def _checks(cells: list[dict]) -> list[str]:
    rows = [
        ["Family", "Method", "Column", "Confidence", "Confidence - accuracy", "Candidate mass"]
        + ["ECE over candidates", "Trust over candidates", "Adaptive ECE", "Brier", "NLL", "c"]
    ]
    for cell in cells:
        gap = cell["gap"]
        rows.append(
            [family_name(cell["family"]), method_name(cell["method"])]
            + [column_name((cell["setting"], cell["corpus"], cell["benchmark"]))]
            + [f"{cell['confidence']['value']:.1f}"]
            + [f"{gap['value']:+.1f} [{gap['low']:+.1f}, {gap['high']:+.1f}]"]
            + [f"{cell['candidate_mass']['value']:.1f}", f"{cell['ece_candidates']['value']:.1f}"]
            + [f"{cell['trust_candidates']['value']:.1f}", f"{cell['adaptive_ece']['value']:.1f}"]
            + [f"{cell['brier']['value']:.3f}", f"{cell['nll']['value']:.3f}"]
            + ["" if cell["c"] is None else f"{cell['c']:.2f}"]
        )
    return _grid(rows)


def _grid(rows: list[list[str]]) -> list[str]:
    head, *body = rows
    line = "|".join([":--", *["--:"] * (len(head) - 1)])
    return [f"| {' | '.join(head)} |", f"|{line}|", *[f"| {' | '.join(r)} |" for r in body]]


def latex(cells: list[dict]) -> str:
    """Return a table* that needs only booktabs; intervals in small print under each number."""
    families, methods, columns, placed = by_place(cells)
    head = " & ".join(
        rf"\multicolumn{{3}}{{c}}{{{dataset_name(c[2])}, {SETTINGS[c[0]]}}}" for c in columns
    )
    rules = "".join(rf"\cmidrule(lr){{{2 + 3 * i}-{4 + 3 * i}}}" for i in range(len(columns)))
    out = [r"% needs \usepackage{booktabs}", r"\begin{table*}[t]", r"\centering\scriptsize"]
    out += [r"\setlength{\tabcolsep}{2.5pt}"]
    out += [rf"\begin{{tabular}}{{l{'rrr' * len(columns)}}}", r"\toprule", rf" & {head} \\", rules]
    out += ["Method" + " & ECE & Acc & Trust" * len(columns) + r" \\"]
    for family in families:
        out += [r"\midrule"]
        out += [
            rf"\multicolumn{{{1 + 3 * len(columns)}}}{{l}}{{\textit{{{family_name(family)}}}}} \\"
        ]
        counts, lines = [], []
        for column in columns:
            cell = next((placed[k] for k in placed if k[0] == family and k[2] == column), None)
            counts.append(rf"\multicolumn{{3}}{{c}}{{$n={cell['n_questions']}$}}" if cell else "&&")
            text = f"{cell['chance']:.1f} / {cell['majority']:.1f}" if cell else ""
            lines.append(rf"\multicolumn{{3}}{{c}}{{{text}}}")
        out += [rf"\quad questions & {' & '.join(counts)} \\"]
        out += [rf"\quad chance / majority & {' & '.join(lines)} \\"]
        for method in methods:
            found = [placed.get((family, method, column)) for column in columns]
            if any(found):
                out += _latex_rows(method, found)
    note = (
        "ECE, accuracy and trust in percent; in small print the 95\\,\\% interval "
        "(bootstrap over questions)"
    )
    if any(cell["paper"] for cell in cells):
        note += " and, in italics, the value printed in the paper"
    used = sorted(set("".join(map(flags, cells))))
    notes = "".join(rf" $^{{{mark}}}$: {FLAG_TEXT[mark]}." for mark in used)
    caption = f"Table 1 at scale {_escape(cells[0]['scale'])}. {note}.{notes}"
    out += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table*}"]
    return "\n".join(out) + "\n"


def _latex_rows(method: str, found: list[dict | None]) -> list[str]:
    values, intervals, printed = [], [], []
    for cell in found:
        for name in METRICS:
            if cell is None:
                values, intervals, printed = [*values, "--"], [*intervals, ""], [*printed, ""]
                continue
            mark = flags(cell) if name == "accuracy" else ""
            values.append(f"{cell[name]['value']:.1f}" + (f"$^{{{mark}}}$" if mark else ""))
            intervals.append(rf"{{\tiny {cell[name]['low']:.1f}--{cell[name]['high']:.1f}}}")
            paper = cell["paper"]
            printed.append(rf"{{\tiny\itshape {paper[name]:.1f}}}" if paper else "")
    rows = [rf"{_escape(method_name(method))} & {' & '.join(values)} \\"]
    rows += [rf" & {' & '.join(intervals)} \\"]
    return rows + ([rf" & {' & '.join(printed)} \\"] if any(printed) else [])


def _escape(text: str) -> str:
    return text.replace("_", r"\_").replace("&", r"\&").replace("%", r"\%")
