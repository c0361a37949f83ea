"""What a scale costs before it runs: memory, disk, tokens, FLOPs and GPU-hours of every rule.

`python -m scripts.plan --scale paper` prints the plan and flags each rule whose declared resources
(config/scales) cannot hold it.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first import cli
from scripts.first.config.load import load, own_files
from scripts.first.errors import UserError, run_cli
from scripts.first.files import write_json


def build_parser():
    """Options of the plan."""
    options = cli.parser("scripts.plan", __doc__)
    add = options.add_argument
    add("--scale", default="paper", help="scale to plan")
    add("--configfile", type=Path, action="append", default=[], help="your own configuration file")
    add("--gpu-memory-gb", type=float, help="of one GPU, in 1e9 bytes; default: the scale's")
    add("--gpu-tflops", type=float, help="dense peak of one GPU; default: the scale's")
    add("--utilisation", type=float, default=0.4, help="share of the peak that is reached")
    add("--gpu-reserve", type=float, default=0.08, help="share of GPU memory that is kept free")
    add("--disk-gb-per-s", type=float, default=1.0, help="reading, writing, hashing checkpoints")
    add("--host-gb-per-s", type=float, default=20.0, help="host memory to one GPU, to offload")
    add("--results", type=Path, default=Path("results"), help="what is there already")
    add("--json", type=Path, help="also write the plan to this file")
    add("--strict", action="store_true", help="fail where a rule is flagged")
    return options


def main(argv: list[str] | None = None) -> int:
    """Print a plan."""
    arguments = build_parser().parse_args(argv)
    config = load([*own_files(), *arguments.configfile])
    if arguments.scale not in config["scales"]:
        known = ", ".join(config["scales"])
        raise UserError(f"--scale {arguments.scale}: no such scale: one of {known}")

    from scripts.first.plan.jobs import jobs_of
    from scripts.first.plan.planning import Machine, make_plan
    from scripts.first.plan.printing import print_plan

    machine = Machine.of(config["scales"][arguments.scale], arguments)
    files = tuple(str(path.absolute()) for path in arguments.configfile)
    jobs = jobs_of(arguments.scale, files)
    plan = make_plan(config, arguments.scale, machine, arguments.results, jobs)
    print_plan(plan)
    if arguments.json:
        write_json(arguments.json, plan)
    flagged = sorted({row["rule"] for row in plan["rows"] if row["flags"]})
    if arguments.strict and flagged:
        raise UserError(
            f"scale {arguments.scale}: resources cannot hold {', '.join(flagged)}: raise them in "
            "the scale's configuration"
        )
    return 0


if __name__ == "__main__":
    run_cli(main)
