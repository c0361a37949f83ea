"""Differences between threads and instruction sets: `python -m benchmarks.arithmetic`.

Repeats the small run with two threads and with the instruction sets of older processors, and prints
how far weights and Table 1's numbers are from those of one thread and all instructions.
"""

from __future__ import annotations

import csv
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.system.faults.runs import RUNNER, surroundings
from tests.system.faults.small import small_copy
from tests.system.workflow.copies import digests, output


def older(aten: str, mkl: str, onednn: str) -> dict[str, str]:
    """Variables that restrict torch, MKL and oneDNN to an instruction set."""
    return {
        "ATEN_CPU_CAPABILITY": aten,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
        "ONEDNN_MAX_CPU_ISA": onednn,
    }


CASES = {
    "1 thread": {},
    "1 thread again": {},
    "2 threads": {"threads": "2"},
    "AVX2": older("avx2", "AVX2", "AVX2"),
    "SSE4": older("default", "SSE4_2", "SSE41"),
}


def run(folder: Path, variables: dict[str, str]) -> Path:
    """A whole small run with these variables; `threads` are those that the rules declare."""
    small_copy(folder)
    if threads := (variables := dict(variables)).pop("threads", None):
        scale = folder / "config/scales/tiny.yaml"
        scale.write_text(scale.read_text().replace("threads: 1", f"threads: {threads}"))
    process = subprocess.run(
        [*RUNNER, "--", "all"],
        cwd=folder,
        env=surroundings(folder) | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, output(process)[-3000:]
    return folder


def weights_apart(one: Path, other: Path) -> float:
    """Largest difference of a weight of any student or teacher between two runs."""
    names = [p.relative_to(one) for p in one.glob("results/tiny/[st]*/**/model.safetensors")]
    pairs = [(load_file(one / name), load_file(other / name)) for name in names]
    return max(float(np.abs(a[k] - b[k]).max()) for a, b in pairs for k in a)


def table_apart(one: Path, other: Path) -> float:
    """Largest difference of a number of table1.csv, in its own units (mostly percent)."""
    name, largest = "results/tiny/tables/table1.csv", 0.0
    with open(one / name) as first, open(other / name) as second:
        for left, right in zip(csv.DictReader(first), csv.DictReader(second), strict=True):
            for key, value in left.items():
                try:
                    largest = max(largest, abs(float(value) - float(right[key])))
                except (TypeError, ValueError):
                    assert value == right[key], key
    return largest


def main() -> None:
    """Run every case and print a table."""
    with tempfile.TemporaryDirectory() as base:
        runs = {name: run(Path(base, str(i)), v) for i, (name, v) in enumerate(CASES.items())}
        first = runs["1 thread"]
        reference = digests(first)
        print(
            "| run | files that differ | a weight by up to | Table 1 by up to |\n|---|--:|--:|--:|"
        )
        for name, folder in runs.items():
            found = digests(folder)
            differing = sum(reference[file] != found[file] for file in reference)
            apart = f"{weights_apart(first, folder):.2g} | {table_apart(first, folder):.2g}"
            print(f"| {name} | {differing} of {len(reference)} | {apart} |")


if __name__ == "__main__":
    main()
