"""A plan as a table for a terminal."""

from __future__ import annotations

from scripts.first.runtime.state import DEFAULT_MINUTES

HEADER = (
    "rule            family     what               param jobs GPU |weight   grad  optim  activ "
    "logits  =1 GPU    all | host | check   state  store |  tokens   PFLOP  hours  GPU-h"
)


def print_plan(plan: dict) -> None:
    """Print every row, its flags, the totals and where the numbers come from."""
    machine = plan["machine"]
    print(
        f"scale {plan['scale']}: GPU of {machine['gpu_memory_gb']:g} GB, "
        f"{machine['gpu_tflops']:g} TFLOPS at {100 * machine['utilisation']:g} %; "
        f"{100 * machine['gpu_reserve']:g} % of its memory kept free; "
        f"disk {machine['disk_gb_per_s']:g} GB/s, host to GPU {machine['host_gb_per_s']:g} GB/s"
    )
    print("GB are 1e9 bytes; memory is one GPU's (one process's) at its largest moment; hours are")
    print(
        "those of the longest job; check, store, tokens, PFLOP and GPU-h are of all jobs of a row;"
    )
    print("state: what one training job keeps to resume, twice, as the old one stands until a new")
    print(
        f"one does; removed when the job ends; hours have a save every {DEFAULT_MINUTES:g} minutes"
    )
    print(HEADER)
    for row in plan["rows"]:
        print(_line(row))
        for flag in row["flags"]:
            print(f"  FLAG {row['rule']} {row['family']} {row['what']}: {flag}")
    totals = plan["totals"]
    print(
        f"total: {totals['jobs']} jobs, {totals['tokens'] / 1e6:.1f} M tokens, "
        f"{totals['flops'] / 1e15:.0f} PFLOP, {totals['gpu_hours']:.1f} GPU-hours; disk: models "
        f"{totals['checkpoint_gb']:.0f} GB, stores {totals['store_gb']:.1f} GB, and up to "
        f"{totals['state_gb']:.0f} GB for each training job that runs"
    )
    print("data and artifacts: no model, minutes on a CPU, not in the table")
    for name, source in plan["sources"].items():
        print(f"source of {name}: {source}")
    flags = sum(len(row["flags"]) for row in plan["rows"])
    print(f"{flags} flags" if flags else "no flags: every rule fits what it declares")


def _line(row: dict) -> str:
    memory = " ".join(
        _size(row[f"{name}_gb"], 6)
        for name in ("weights", "gradients", "optimizer", "activations", "logits")
    )
    timed = row["gpus"] and row["flops"]
    hours = f"{row['hours']:6.2f} {row['gpu_hours']:6.1f}" if timed else f"{'-':>6} {'-':>6}"
    return (
        f"{row['rule']:15} {row['family']:10} {row['what']:17} {_count(row['parameters'])} "
        f"{row['jobs']:4d} {row['gpus']:3d} |{memory} {_size(row['gpu_gb'], 7)} "
        f"{_size(row['gpus_gb'], 6)} |{_size(row['host_gb'], 5)} |{_size(row['checkpoint_gb'], 6)} "
        f"{_size(row['state_gb'], 7)} {_size(row['store_gb'], 6)} |{row['tokens'] / 1e6:7.2f}M "
        f"{row['flops'] / 1e15:7.1f} {hours}"
    )


def _size(gigabytes: float, width: int) -> str:
    if gigabytes == 0:
        return f"{'-':>{width}}"
    digits = 0 if gigabytes >= 100 else 1 if gigabytes >= 1 else 3
    return f"{gigabytes:{width}.{digits}f}"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:5.2f}B" if parameters >= 1e8 else f"{parameters / 1e6:5.2f}M"
