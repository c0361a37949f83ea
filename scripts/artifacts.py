"""Stage artifacts: tables, figures, claims, ablations, data report, model cards, and the page.

Each subcommand reads the files named in its options (--metrics are metrics.json files, with what
lies beside them, --coarse coarse.csv files, and so on; lists that belong together are in the same
order) and writes one artifact: `python -m scripts.artifacts SUBCOMMAND --help`.
"""

from first_distill.runtime.launch import launch

HELP = {"c": "number or selected.json", "stores": "folders", "prefix": "path without suffix"}
HELP |= {"benchmarks": "folder of timings: benchmarks/{scale}", "logs": "folder: logs/{scale}"}
HELP |= {"posthoc": "methods that are a temperature on another's logits: NAME=OF:FIT"}
HELP |= {"results": "folder of a scale: results/{scale}", "description": "of the scale"}
HELP |= {"resources": "of a job of each stage, JSON: {stage: {threads, gpu, nodes}}"}
HELP |= {"entry": "what is compared, JSON", "pages": "files (md)"}
HELP |= {"design": "ids of claims that hold by the scale's design"}
HELP |= {"configfile": "files of your own", "json": "print JSON"}
HELP |= {"questions": "data/{dataset}/test.parquet, or a list of questions (JSON)"}
ONE = {"required": True}
NUMBERS = {"+": {"nargs": "+", **ONE}, "?": {"nargs": "?"}, "!": {"action": "store_true"}}
NUMBERS |= {"*": {"nargs": "*", "default": [], "action": "extend"}}
LABELS, PAIRED = "scale family method setting corpus benchmark", "families* corpora*"


def commands() -> dict:
    """{name: (function, options)}; + and * take a list, * and ? may be left out, .csv is a file.

    An option with ! has no value.

    Imported here: a served job does not need them in the process that asks for it.
    """
    from first_distill.plan import cells as listing
    from first_distill.reporting import costs, summary
    from first_distill.reporting.ablations import page
    from first_distill.reporting.cards import card
    from first_distill.reporting.claims import claims
    from first_distill.reporting.figures import figure2, figure3, figure5, figure6, meters
    from first_distill.reporting.page import page as index
    from first_distill.reporting.tables import cells, data_report, posthoc, table1, table2

    return {
        "cell": (cells.run, f"metrics.json+ {LABELS} posthoc* c? paper-table.csv? output.json"),
        "cells": (listing.run, "scale? configfile* json!"),
        "table1": (table1.run, "cells.json+ description? output-prefix"),
        "show": (summary.show, "table1.csv"),
        "posthoc": (posthoc.run, "metrics.json+ output-prefix"),
        "table2": (table2.run, "metrics.json+ benchmark questions first-questions* output-prefix"),
        "figure2": (figure2.run, "stores+ families+ corpora+ output-prefix"),
        "figure3": (figure3.run, "ranks.parquet+ metrics.json+ benchmark output-prefix"),
        "figure5": (figure5.run, "metrics.json+ benchmark methods+ output-prefix"),
        "figure6": (
            figure6.run,
            "coarse.csv+ refined.csv+ selected.json+ families+ corpus benchmark "
            "student-metrics.json* student-c* output-prefix",
        ),
        "meters": (meters.run, "table1.csv output-prefix"),
        "claims": (
            claims.run,
            "table1.csv figure2.csv figure3.csv metrics.json+ posthoc* selected.json+ coarse.csv+ "
            "refined.csv+ families+ corpora+ by-design* description? output-prefix",
        ),
        "ablation": (
            page.run,
            "entry metrics.json+ posthoc* paper-table.csv? output-prefix",
        ),
        "ablations": (page.join, "pages+ output-prefix"),
        "card": (
            card.run,
            "record.json metrics.json reports.json+ base.json manifest.json? teacher-base.json? "
            "selected.json? output-prefix",
        ),
        "page": (
            index.run,
            "results benchmarks logs paper-table.csv posthoc* resources description benchmark "
            "corpus methods+ output-prefix",
        ),
        "costs": (costs.run, "benchmarks logs output.md"),
        "data-report": (
            data_report.run,
            f"reports.json+ records.json* {PAIRED} tests* trained-on* output-prefix",
        ),
    }


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and make one artifact."""
    from first_distill import cli

    parser = cli.parser("scripts.artifacts", __doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")
    for command, (run, options) in commands().items():
        subparser = subparsers.add_parser(command, help=run.__doc__, description=run.__doc__)
        subparser.set_defaults(run=run)
        for option in options.split():
            name, _, kind = option.rstrip("+*?!").partition(".")
            text = f"file ({kind})" if kind else HELP.get(name.split("-")[-1], "name or label")
            subparser.add_argument(f"--{name}", help=text, **NUMBERS.get(option[-1], ONE))
    args = parser.parse_args(argv)
    args.run(args)
    return 0


if __name__ == "__main__":
    launch("scripts.artifacts", main)
