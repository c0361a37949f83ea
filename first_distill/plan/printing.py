"""The plan in a terminal: hours, GPUs and disk first, then a table of 120 columns."""

import pandas

from first_distill.plan import work
from first_distill.plan.planning import GB, RESERVE

SHOWN = {  # columns of the table: their heads
    **{"rule": "rule", "family": "family", "what": "what", "jobs": "jobs", "gpus": "GPUs"},
    **{"gpu_gb": "GPU GB", "host_gb": "host GB", "hours": "longest h", "gpu_hours": "GPU-hours"},
    "disk_gb": "disk GB",
}
NOTES = f"""\
GB are 1e9 bytes; GPU GB: one GPU at its largest moment; GPU-hours, disk: all jobs of a row.
Left out: data and artifacts, minutes on a CPU. Assumed: {work.UTILISATION:.0%} of peak, \
{RESERVE:.0%} of GPU memory kept free,
disk {work.DISK / GB:g} GB/s, host to GPU {work.HOST / GB:g} GB/s, states saved every \
{work.DEFAULT_MINUTES:g} minutes. --details: what a GPU's memory holds, tokens, FLOPs."""


def print_plan(plan: dict, details: bool = False) -> None:
    """Print hours, GPUs and disk, a table of 120 columns, the flags; details: all columns, too."""
    print(*headline(plan), sep="\n")
    sums = [{"rule": "all", "family": name, **sums} for name, sums in plan["families"].items()]
    rows = [*plan["rows"], *sums, {"rule": "all", **plan["totals"]}]
    table = pandas.DataFrame([{**row, "disk_gb": disk(row)} for row in rows])
    shown = [name for name in SHOWN if name != "gpu_gb" or table["gpus"].any()]
    print(f"\n{_text(table[shown].rename(columns=SHOWN))}\n\n{NOTES}")
    if details:
        print(f"\n{_text(table.drop(columns=['flags', 'disk_gb']))}\n")
        print(*(f"source of {name}: {text}" for name, text in plan["sources"].items()), sep="\n")
    flags = [(row, flag) for row in plan["rows"] for flag in row["flags"]]
    for row, flag in flags:
        print(f"FLAG {row['rule']} {row['family']} {row['what']}: {flag}")
    print(f"{len(flags)} flags" if flags else "no flags: every rule fits what it declares")


def headline(plan: dict) -> list[str]:
    """What a reader wants first: hours, GPUs, memory of a machine, disk."""
    gpu, sums, rows = plan["gpu"], plan["totals"], plan["rows"]
    gpus = max(row["gpus"] for row in rows)
    serial = sum(row["gpu_hours"] / row["gpus"] for row in rows if row["gpus"])
    hours = (
        f"{_number(sums['gpu_hours'])} GPU-hours; {_number(serial)} h one job after the other, "
        f"{_number(sums['hours'])} h the longest job"
        if gpus
        else "no GPU: hours of a CPU depend on it, and are not estimated"
    )
    return [
        f"scale {plan['scale']}: {sums['jobs']} jobs on models",
        f"hours  {hours}",
        f"GPUs   {gpus} at once, {_number(sums['gpu_gb'])} of {gpu['memory_gb']:g} GB used, "
        f"{gpu['tflops']:g} TFLOPS"
        if gpus
        else f"memory {_number(sums['host_gb'])} GB the largest job",
        f"disk   {_number(disk(sums))} GB: models {_number(sums['checkpoint_gb'])}, knowledge "
        f"{_number(sums['store_gb'])}, state of the largest training {_number(sums['state_gb'])}",
    ]


def disk(row: dict) -> float:
    """GB that the jobs of a row leave or need meanwhile, one training at a time."""
    return row["checkpoint_gb"] + row["store_gb"] + row["state_gb"]


def _number(value: float) -> str:
    """A number with three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(table: pandas.DataFrame) -> str:
    """A table as text, without its empty columns and zeros."""
    table = table.mask(table == 0).dropna(axis=1, how="all")
    return table.to_string(index=False, na_rep="", float_format=_number)
