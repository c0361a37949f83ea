"""Run the benchmarks: `python -m benchmarks [--only NAME ...] [--no-demo]`, or `make bench`.

Each prints its rows as it measures them; one table of all rows comes last. The file
`benchmarks/results/<machine>.json` keeps the rows of the last run of each.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from dataclasses import asdict

from benchmarks.harness import HERE, load_results, save_results, table
from benchmarks.points import Bench, commit, machine, machine_name
from first_distill.errors import UserError, run_cli

# In the order of the table's numbers.
TOPICS = (
    "extraction",
    "store",
    "student",
    "online",
    "padding",
    "evaluation",
    "scaling",
    "startup",
    "workflow",
)


def main(argv: list[str]) -> int:
    """Run the selected benchmarks; a missed bar is reported, and is not a failure."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--only", nargs="+", choices=TOPICS, default=TOPICS, help="run these")
    options.add_argument("--no-demo", action="store_true", help="leave the demo out (6 minutes)")
    options.add_argument("--show", action="store_true", help="print the kept table, run nothing")
    arguments = options.parse_args(argv)
    from first_distill.models.determinism import seed_everything

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seed_everything(0)  # the threads and kernels of jobs, whichever benchmark runs first
    facts, measured = machine(), commit()
    path = HERE / "results" / f"{machine_name(facts)}.json"
    if arguments.show and not path.is_file():
        raise UserError(f"no benchmark results: {path}: run `make bench` on this machine first")
    if not arguments.show:
        save_results(path, facts, [], measured)  # fail before measuring, not after
        bench = Bench(demo=not arguments.no_demo)
        for topic in arguments.only:
            start, rows = time.monotonic(), []
            print(f"== {topic}", file=sys.stderr, flush=True)
            for row in importlib.import_module(f"benchmarks.{topic}").rows(bench):
                rows.append(row)
                line = table([{**asdict(row), "commit": measured}]).splitlines()[-1]
                print(line, file=sys.stderr, flush=True)
                save_results(path, facts, rows, measured)
            print(f"   {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    kept = load_results(path)
    commits = sorted({row["commit"] for row in kept["rows"]})
    print(", ".join(f"{key} {value}" for key, value in kept["machine"].items()))
    print(f"commit {', '.join(commits)}\n")
    print(table(kept["rows"]))
    missed = [row["name"] for row in kept["rows"] if row["passes"] is False]
    print(f"\n{path}\n{len(missed)} bars missed" + "".join(f"\n- {name}" for name in missed))
    return 0


if __name__ == "__main__":
    run_cli(main)
