"""What a scale costs before it runs: memory, disk, tokens, FLOPs and GPU-hours of every rule.

`python -m scripts.plan --scale paper` prints the plan and flags each rule whose declared resources
(config/scales) cannot hold it. `check` measures the memory formula on small models on this machine;
`measure` counts a corpus's tokens and keeps them in config/token_counts.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.first.errors import UserError, run_cli


def build_parser() -> argparse.ArgumentParser:
    """Options of the plan and of its two commands."""
    from scripts.first import cli

    options = cli.parser("scripts.plan", __doc__)
    options.add_argument("--scale", default="paper", help="scale to plan")
    options.add_argument(
        "--configfile", type=Path, action="append", default=[], help="your own configuration file"
    )
    options.add_argument(
        "--gpu-memory-gb", type=float, help="of one GPU, in 1e9 bytes, over the scale's"
    )
    options.add_argument("--gpu-tflops", type=float, help="dense peak of one GPU, over the scale's")
    options.add_argument(
        "--utilisation", type=float, default=0.4, help="share of the peak that is reached"
    )
    options.add_argument(
        "--gpu-reserve", type=float, default=0.08, help="share of GPU memory that no tensor gets"
    )
    options.add_argument(
        "--disk-gb-per-s", type=float, default=1.0, help="reading, writing, hashing of checkpoints"
    )
    options.add_argument(
        "--host-gb-per-s", type=float, default=20.0, help="host memory to one GPU, for offloading"
    )
    options.add_argument(
        "--results", type=Path, default=Path("results"), help="what is there already"
    )
    options.add_argument("--json", type=Path, help="also write the plan to this file")
    options.add_argument("--strict", action="store_true", help="fail where a rule is flagged")
    commands = options.add_subparsers(dest="command")
    commands.add_parser("check", help="measured memory against the formula, on this machine")
    measure = commands.add_parser("measure", help="count tokens, keep them in config/")
    measure.add_argument("--scale", required=True, help="scale whose data and encoding to count")
    measure.add_argument("--name", required=True, help="name of the counts, such as llama")
    measure.add_argument("--tokenizer", type=Path, required=True, help="folder with a tokenizer")
    measure.add_argument(
        "--models", nargs="*", default=[], help="students that have this tokenizer"
    )
    measure.add_argument("--mirror", help="local folder of datasets in hub layout")
    return options


def main(argv: list[str] | None = None) -> int:
    """Print a plan, check the formula or measure token counts."""
    arguments = build_parser().parse_args(argv)
    if arguments.command == "check":
        from scripts.first.plan.check import run_check

        return run_check()
    from scripts.first.plan.scales import load_config, prepared_rows, scale_settings

    config = load_config(arguments.configfile)
    settings = scale_settings(config, arguments.scale)
    if arguments.command == "measure":
        from scripts.first.models.tokenizer import load_tokenizer
        from scripts.first.plan.corpora import measure

        names = [*config["scales"]["paper"]["data"]["datasets"]]
        record = {
            "models": arguments.models,
            "real_rows": settings["data"]["source"] != "world",
            "how": f"python -m scripts.plan measure --scale {arguments.scale} --name "
            f"{arguments.name}, with the tokenizer {arguments.tokenizer.name}",
        }
        tokenizer = load_tokenizer(arguments.tokenizer)
        rows = prepared_rows(settings, names, arguments.mirror)
        measure(arguments.name, rows, tokenizer, settings["encoding"], record)
        return 0
    from scripts.first.plan.jobs import jobs_of
    from scripts.first.plan.planning import Machine, make_plan
    from scripts.first.plan.printing import print_plan

    machine = Machine.of(settings, arguments)
    files = tuple(str(path.absolute()) for path in arguments.configfile)
    jobs = jobs_of(arguments.scale, files)
    plan = make_plan(config, arguments.scale, machine, arguments.results, jobs)
    print_plan(plan)
    if arguments.json:
        from scripts.first.files import write_json

        write_json(arguments.json, plan)
    flagged = sorted({row["rule"] for row in plan["rows"] if row["flags"]})
    if arguments.strict and flagged:
        raise UserError(
            f"scale {arguments.scale}: resources cannot hold {', '.join(flagged)}: "
            f"raise them in config/scales/{arguments.scale}.yaml"
        )
    return 0


if __name__ == "__main__":
    run_cli(main)
