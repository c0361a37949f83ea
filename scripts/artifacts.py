"""Stage artifacts: Table 1 and its cells, Table 2, Figures 2, 3, 5 and 6, claims, data report.

Each subcommand reads the files that it is given by name and writes one artifact:
`python -m scripts.artifacts SUBCOMMAND --help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts.first.artifacts import (
    cells,
    claims,
    data_report,
    figure2,
    figure3,
    figure5,
    figure6,
    table1,
    table2,
)
from scripts.first.launch import launch

COMMANDS = {
    "cell": (cells.add_arguments, cells.run, "one cell of Table 1, over seeds, with intervals"),
    "table1": (table1.add_arguments, table1.run, "Table 1 from its cells: csv, md, tex"),
    "show": (table1.add_show_arguments, table1.show, "print Table 1 in the terminal"),
    "table2": (table2.add_arguments, table2.run, "confidently wrong cases: csv, md, tex"),
    "figure2": (figure2.add_arguments, figure2.run, "top-k mass and storage against k"),
    "figure3": (figure3.add_arguments, figure3.run, "over- and under-confidence by rank"),
    "figure5": (figure5.add_arguments, figure5.run, "reliability diagrams"),
    "figure6": (figure6.add_arguments, figure6.run, "ECE against c; students at other c"),
    "claims": (claims.add_arguments, claims.run, "a verdict on each claim of the paper"),
    "data-report": (
        data_report.add_arguments,
        data_report.run,
        "row counts and losses of the data",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and make one artifact."""
    parser = argparse.ArgumentParser(prog="python -m scripts.artifacts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")
    for name, (declare, run, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        declare(command)
        command.set_defaults(run=run)
    args = parser.parse_args(argv)
    args.run(args)
    return 0


if __name__ == "__main__":
    launch("scripts.artifacts", main)
