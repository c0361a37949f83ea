"""Check the GPU path: `make gpu-check`, or `python -m benchmarks.gpu` (docs/gpu-check.md).

Each finding is told as it is made; the table of all comes last. The exit status is 1 where a
verdict is FAIL. `--reduced` makes the same checks with tiny shapes on the CPU.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.gpu.rows import FAIL, FLAG, SKIPPED, Clock, Row, figure, skipped, table
from benchmarks.harness import HERE
from benchmarks.points import commit, machine, machine_name
from first_distill import ROOT, cli
from first_distill.errors import UserError, number, run_cli
from first_distill.files import write_json

# Each with the seconds that the clock must have left, to begin.
TOPICS = {"precision": 0, "trainings": 60, "speed": 20}
MINUTES = 10.0


def main(argv: list[str]) -> int:
    """Run the checks, write the JSON, print the table; 1 where one fails."""
    options = cli.parser("benchmarks.gpu", __doc__)
    options.add_argument("--reduced", action="store_true", help="tiny shapes on the CPU")
    options.add_argument("--only", nargs="+", choices=TOPICS, default=TOPICS, help="run these")
    options.add_argument("--minutes", type=number, default=MINUTES, help="longest time of all")
    options.add_argument("--output", type=Path, help="JSON file to write (default: by GPU)")
    arguments = options.parse_args(argv)
    clock = Clock(60 * arguments.minutes)

    import torch

    from benchmarks.gpu.models import REDUCED, WHOLE, Place, cores
    from first_distill.models.determinism import seed_everything

    if not (arguments.reduced or torch.cuda.is_available()):
        raise UserError(
            f"no GPU: torch {torch.__version__} sees none here: run it on a machine with one, "
            "or the same checks with tiny shapes on this CPU: make gpu-check REDUCED=1"
        )
    seed_everything(0)  # the kernels of jobs
    if not arguments.reduced:
        torch.set_num_threads(cores())  # the reference on the CPU is most of the time
    facts = hardware(arguments.reduced)
    path = arguments.output or default_path(facts, arguments.reduced)
    content = {"hardware": facts, "reduced": arguments.reduced, "only": [*arguments.only]}
    found: list[Row] = []
    write_json(path, {**content, "seconds": 0.0, "rows": []})  # fail before measuring, not after
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        sizes, device = (REDUCED, "cpu") if arguments.reduced else (WHOLE, "cuda")
        place = Place(device, sizes, Path(scratch), clock)
        for topic in arguments.only:
            print(f"== {topic}: {clock.left():.0f} s left", file=sys.stderr, flush=True)
            for row in findings(topic, place):
                found.append(row)
                tell(row, clock)
                rows = [asdict(one) for one in found]
                write_json(path, {**content, "seconds": clock.gone(), "rows": rows})
    return summary(found, facts, path, clock)


def findings(topic: str, place) -> Iterator[Row]:
    """Rows of a topic; an error ends it with a row that fails, and the others still run."""
    if place.clock.left() < TOPICS[topic]:
        yield skipped(topic, "all of it", f"{place.clock.left():.0f} s left")
        return
    try:
        yield from importlib.import_module(f"benchmarks.gpu.{topic}").rows(place)
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        note = f"{type(error).__name__}: {line}"
        print(f"error: {topic}: {note}", file=sys.stderr, flush=True)
        yield Row(topic, "ended by an error", None, None, FAIL, note)
    place.free()


def tell(row: Row, clock: Clock) -> None:
    """One line of progress."""
    limit = "" if row.tolerance is None else f" (tolerance {figure(row.tolerance)})"
    words = [f"{clock.gone():5.0f} s", row.name, f"{row.what}:", figure(row.value) + limit]
    print(*words, row.verdict, row.note, file=sys.stderr, flush=True)


def summary(found: list[Row], facts: dict, path: Path, clock: Clock) -> int:
    """Print hardware, table and verdict; the exit status."""
    print(", ".join(f"{key} {value}" for key, value in facts.items()) + "\n")
    print(table(found))
    verdicts = [row.verdict for row in found]
    counts = {kind: verdicts.count(kind) for kind in (FAIL, FLAG, SKIPPED)}
    print(f"\n{path}, {clock.gone():.0f} s")
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for row in found:
        if row.verdict == FAIL:
            print(f"- {row.name}: {row.what}: {figure(row.value)} {row.note}".rstrip())
    return 1 if counts[FAIL] else 0


def hardware(reduced: bool) -> dict:
    """Facts about machine, GPU and software, without names of host or user."""
    import torch
    import transformers

    facts = {**machine(), "transformers": transformers.__version__, "commit": commit()}
    facts["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    if reduced:
        facts.pop("gpu", None)
        return facts
    card = torch.cuda.get_device_properties(0)
    return facts | {
        "gpu_memory_gb": round(card.total_memory / 1e9, 1),
        "gpu_free_gb": round(torch.cuda.mem_get_info()[0] / 1e9, 1),
        "compute_capability": f"{card.major}.{card.minor}",
        "multiprocessors": card.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": driver(),
        "float32_matmul": torch.get_float32_matmul_precision(),
    }


def driver() -> str:
    """The NVIDIA driver's version, `unknown` where nothing tells it."""
    path = Path("/proc/driver/nvidia/version")
    found = re.search(r"\b\d{3,}\.\d[\d.]*", path.read_text()) if path.is_file() else None
    if found:
        return found[0]
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (told.stdout.split() or ["unknown"])[0]


def default_path(facts: dict, reduced: bool) -> Path:
    """Results of a GPU belong to the repository, those of the reduced form do not."""
    if reduced:
        return ROOT / "logs" / "gpu-check-reduced.json"
    return HERE / "results" / f"gpu-check-{machine_name(facts)}.json"


if __name__ == "__main__":
    run_cli(main)
