"""A plan as a table for a terminal."""

from __future__ import annotations

from scripts.first.runtime.state import DEFAULT_MINUTES

NOTES = f"""\
GB are 1e9 bytes; memory is that of one GPU (one process) at its largest moment; hours are those of
the longest job; checkpoint, store, tokens, PFLOP and GPU-h are of all jobs of a row. state: what a
training job keeps to resume, twice, until it ends; saved every {DEFAULT_MINUTES:g} minutes."""
SIZES = {
    "weights": "weights_gb",
    "grads": "gradients_gb",
    "optim": "optimizer_gb",
    "activ": "activations_gb",
    "logits": "logits_gb",
    "1 GPU": "gpu_gb",
    "all": "gpus_gb",
    "host": "host_gb",
    "checkp": "checkpoint_gb",
    "state": "state_gb",
    "store": "store_gb",
}


def print_plan(plan: dict) -> None:
    """Print every row, the flags, the totals and where the numbers come from."""
    from tabulate import tabulate

    machine, totals = plan["machine"], plan["totals"]
    print(
        f"scale {plan['scale']}: GPU of {machine['gpu_memory_gb']:g} GB, "
        f"{machine['gpu_tflops']:g} TFLOPS at {100 * machine['utilisation']:g} %; "
        f"{100 * machine['gpu_reserve']:g} % of its memory kept free; "
        f"disk {machine['disk_gb_per_s']:g} GB/s, host to GPU {machine['host_gb_per_s']:g} GB/s"
    )
    print(NOTES)
    print(tabulate(list(map(_shown, plan["rows"])), headers="keys", disable_numparse=True))
    flags = [(row, flag) for row in plan["rows"] for flag in row["flags"]]
    for row, flag in flags:
        print(f"FLAG {row['rule']} {row['family']} {row['what']}: {flag}")
    print(
        f"total: {totals['jobs']} jobs, {totals['tokens'] / 1e6:.1f} M tokens, "
        f"{totals['flops'] / 1e15:.0f} PFLOP, {totals['gpu_hours']:.1f} GPU-hours; disk: models "
        f"{totals['checkpoint_gb']:.0f} GB, stores {totals['store_gb']:.1f} GB, and up to "
        f"{totals['state_gb']:.0f} GB for each training job that runs"
    )
    print("data and artifacts: no model, minutes on a CPU, not in the table")
    for name, source in plan["sources"].items():
        print(f"source of {name}: {source}")
    print(f"{len(flags)} flags" if flags else "no flags: every rule fits what it declares")


def _shown(row: dict) -> dict[str, str]:
    timed = row["gpus"] and row["flops"]
    large = row["parameters"] >= 1e8
    return {
        "rule": row["rule"],
        "family": row["family"],
        "what": row["what"],
        "param": f"{row['parameters'] / (1e9 if large else 1e6):.2f}{'B' if large else 'M'}",
        "jobs": str(row["jobs"]),
        "GPU": str(row["gpus"]),
        **{title: f"{row[name]:.3g}" if row[name] else "" for title, name in SIZES.items()},
        "tokens": f"{row['tokens'] / 1e6:.2f}M" if row["tokens"] else "",
        "PFLOP": f"{row['flops'] / 1e15:.1f}" if row["flops"] else "",
        "hours": f"{row['hours']:.2f}" if timed else "",
        "GPU-h": f"{row['gpu_hours']:.1f}" if timed else "",
    }
