"""Stage artifacts: Table 1 and its cells, Table 2, Figures 2, 3, 5 and 6, claims, data report.

Each subcommand reads the files named in its options and writes one artifact:
`python -m scripts.artifacts SUBCOMMAND --help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts.first.reporting.claims import claims
from scripts.first.reporting.figures import figure2, figure3, figure5, figure6
from scripts.first.reporting.tables import cells, data_report, show, table1, table2
from scripts.first.runtime.launch import launch

COMMANDS = {
    "cell": (cells, "one cell of Table 1: mean over seeds, with intervals"),
    "table1": (table1, "Table 1 from its cells: csv, md, tex"),
    "show": (show, "print Table 1 in the terminal"),
    "table2": (table2, "confidently wrong cases: csv, md, tex"),
    "figure2": (figure2, "top-k mass and storage against k"),
    "figure3": (figure3, "over- and under-confidence by rank"),
    "figure5": (figure5, "reliability diagrams"),
    "figure6": (figure6, "ECE against c; students at other c"),
    "claims": (claims, "a verdict on each claim of the paper"),
    "data-report": (data_report, "row counts and losses of the data"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and make one artifact."""
    parser = argparse.ArgumentParser(prog="python -m scripts.artifacts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    args.run(args)
    return 0


if __name__ == "__main__":
    launch("scripts.artifacts", main)
