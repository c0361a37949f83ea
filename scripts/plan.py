"""What a scale costs before it runs: memory, disk, tokens, FLOPs and GPU-hours of every rule."""

from pathlib import Path

from first_distill import cli
from first_distill.config.load import load, own_files, with_variants
from first_distill.errors import UserError, number, run_cli
from first_distill.files import write_json
from first_distill.plan.scale import configured


def build_parser():
    """Options of the plan."""
    options = cli.parser("scripts.plan", __doc__)
    add = options.add_argument
    add("--scale", default="paper", help="scale to plan")
    add("--configfile", type=Path, action="append", default=[], help="of your own; may be repeated")
    add("--gpu-memory-gb", type=number, help="of one GPU, in 1e9 bytes; default: the scale's")
    add("--gpu-tflops", type=number, help="dense peak of one GPU; default: the scale's")
    add("--json", type=Path, help="also write the plan to this file")
    add("--strict", action="store_true", help="fail where a rule is flagged")
    return options


def main(argv: list[str] | None = None) -> int:
    """Print a plan."""
    arguments = build_parser().parse_args(argv)
    config = with_variants(load([*own_files(), *arguments.configfile]))
    scale = configured(config, arguments.scale, arguments.configfile)
    gpu = {"memory_gb": arguments.gpu_memory_gb, "tflops": arguments.gpu_tflops}
    own = {name: value for name, value in gpu.items() if value}
    scale.settings.setdefault("gpu", {}).update(own)

    from first_distill.plan.planning import make_plan, print_plan

    plan = make_plan(scale, scale.jobs())
    print_plan(plan)
    if arguments.json:
        write_json(arguments.json, plan)
    flagged = sorted({row["rule"] for row in plan["rows"] if row["flags"]})
    if arguments.strict and flagged:
        raise UserError(
            f"scale {scale.name}: resources cannot hold {', '.join(flagged)}: raise them"
        )
    return 0


if __name__ == "__main__":
    run_cli(main)
