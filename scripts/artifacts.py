"""Stage artifacts: Table 1 and its cells, Table 2, Figures 2, 3, 5 and 6, claims, data report.

Each subcommand reads the files named in its options (--metrics are metrics.json files, --coarse
coarse.csv files, and so on; lists that belong together are in the same order) and writes one
artifact: `python -m scripts.artifacts SUBCOMMAND --help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts.first.reporting.claims import claims
from scripts.first.reporting.figures import figure2, figure3, figure5, figure6
from scripts.first.reporting.tables import cells, data_report, table1, table2
from scripts.first.runtime.launch import launch

# name: (function, options, help); an option followed by + or * takes a list, by * may be left out
COMMANDS = {
    "cell": (
        cells.run,
        "predictions+ metrics+ scale family method setting corpus benchmark selected* paper-table* "
        "output",
        "one cell of Table 1: mean over seeds, with intervals",
    ),
    "table1": (table1.run, "cells+ methods+ output-prefix", "Table 1 from its cells: csv, md, tex"),
    "show": (table1.show, "table1", "print Table 1 in the terminal"),
    "table2": (
        table2.run,
        "predictions+ metrics+ benchmark questions first-questions* output-prefix",
        "confidently wrong cases: csv, md, tex",
    ),
    "figure2": (figure2.run, "stores+ families+ corpora+ output-prefix", "top-k mass and bytes"),
    "figure3": (figure3.run, "ranks+ metrics+ benchmark output-prefix", "confidence by rank"),
    "figure5": (
        figure5.run,
        "predictions+ metrics+ benchmark methods+ output-prefix",
        "reliability diagrams",
    ),
    "figure6": (
        figure6.run,
        "coarse+ refined+ selected+ families+ corpus student-metrics* student-c* output-prefix",
        "ECE against c; students at other c, given as numbers or as selected.json",
    ),
    "claims": (
        claims.run,
        "table1 figure2 figure3 predictions+ metrics+ selected+ coarse+ refined+ families+ "
        "corpora+ output-prefix",
        "a verdict on each claim of the paper",
    ),
    "data-report": (
        data_report.run,
        "reports+ records* families* corpora* output-prefix",
        "row counts and losses of the data",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and make one artifact."""
    parser = argparse.ArgumentParser(prog="python -m scripts.artifacts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")
    for command, (run, options, text) in COMMANDS.items():
        subparser = commands.add_parser(command, help=text, description=text)
        subparser.set_defaults(run=run)
        for option in options.split():
            name = f"--{option.rstrip('+*')}"
            if option.endswith("*"):
                subparser.add_argument(name, nargs="*", default=[])
            else:
                nargs = "+" if option.endswith("+") else None
                subparser.add_argument(name, nargs=nargs, required=True)
    args = parser.parse_args(argv)
    args.run(args)
    return 0


if __name__ == "__main__":
    launch("scripts.artifacts", main)
