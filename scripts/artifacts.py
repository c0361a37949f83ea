"""Stage artifacts: Table 1 and its cells, Table 2, Figures 2, 3, 5 and 6, claims, data report.

Each subcommand reads the files that it is given by name and writes one artifact:
`python -m scripts.artifacts SUBCOMMAND --help`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scripts.first.runtime.launch import launch

COMMANDS = {
    "cell": "one cell of Table 1, over seeds, with intervals",
    "table1": "Table 1 from its cells: csv, md, tex",
    "show": "print Table 1 in the terminal",
    "table2": "confidently wrong cases: csv, md, tex",
    "figure2": "top-k mass and storage against k",
    "figure3": "over- and under-confidence by rank",
    "figure5": "reliability diagrams",
    "figure6": "ECE against c; students at other c",
    "claims": "a verdict on each claim of the paper",
    "data-report": "row counts and losses of the data",
}


def functions(command: str):
    """(add_arguments, run) of a subcommand; no module of another one is imported."""
    if command == "cell":
        from scripts.first.reporting.tables import cells as module
    elif command in ("table1", "show"):
        from scripts.first.reporting.tables import table1 as module
    elif command == "table2":
        from scripts.first.reporting.tables import table2 as module
    elif command == "figure2":
        from scripts.first.reporting.figures import figure2 as module
    elif command == "figure3":
        from scripts.first.reporting.figures import figure3 as module
    elif command == "figure5":
        from scripts.first.reporting.figures import figure5 as module
    elif command == "figure6":
        from scripts.first.reporting.figures import figure6 as module
    elif command == "claims":
        from scripts.first.reporting.claims import claims as module
    else:
        from scripts.first.reporting.tables import data_report as module
    if command == "show":
        return module.add_show_arguments, module.show
    return module.add_arguments, module.run


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and make one artifact."""
    import argparse

    words = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="python -m scripts.artifacts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in words[:1]:
            declare, run = functions(name)
            declare(command)
            command.set_defaults(run=run)
    args = parser.parse_args(words)
    args.run(args)
    return 0


if __name__ == "__main__":
    launch("scripts.artifacts", main)
