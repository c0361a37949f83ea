"""The plan of a scale: a row for each kind of job, flagged where its resources cannot hold it."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

from first_distill.knowledge.store import store_bytes
from first_distill.plan import memory, work
from first_distill.plan.architecture import Architecture, architecture_of
from first_distill.plan.corpora import Counts, counts_of
from first_distill.plan.scale import Job, Scale

GB = 1e9
RESERVE = 0.08  # share of GPU memory that is kept free
SUMS = ("jobs", "tokens", "flops", "gpu_hours", "checkpoint_gb", "store_gb")  # of a row's jobs
PEAKS = ("host_gb", "hours", "state_gb")


def make_plan(scale: Scale, jobs: set[Job]) -> dict:
    """{scale, gpu, rows, families, totals, sources}: what is printed; sizes in 1e9 bytes."""
    found = defaultdict(list)
    for rule, *folder in sorted(jobs):
        if rule in ESTIMATES:
            needs = ESTIMATES[rule](scale, *folder)
            found[needs["family"], rule, needs["what"]].append(needs)
    families, rules = ["", *scale.settings["families"]], list(ESTIMATES)
    order = sorted(found, key=lambda key: (families.index(key[0]), rules.index(key[1]), key[2]))
    rows = [_row(scale, key[1], found[key]) for key in order]
    of_families = {}
    for name, models in scale.settings["families"].items():
        theirs = [r for r in rows if r["family"] == name or r["what"] in (*models.values(),)]
        of_families[name] = _totals(theirs)
    plan = {"scale": scale.name, "gpu": scale.gpu, "rows": rows, "families": of_families}
    return {**plan, "totals": _totals(rows), "sources": scale.sources}


def _totals(rows: list[dict]) -> dict:
    """Sums of rows, and the most that any of their jobs needs."""
    sums = {name: sum(row[name] for row in rows) for name in SUMS}
    return sums | {name: max(row[name] for row in rows) for name in (*PEAKS, "gpu_gb")}


def _row(scale: Scale, rule: str, jobs: list[dict]) -> dict:
    """Jobs of one kind, with flags; GPU memory is that of the job which takes most."""
    row = {"rule": rule, **max(jobs, key=lambda job: job["gpu_gb"])}
    stage = row.pop("stage")
    row |= {name: max(job[name] for job in jobs) for name in PEAKS}
    row |= {name: sum(job[name] for job in jobs) for name in SUMS}
    declared, limit = scale.declared(stage), scale.gpu["memory_gb"] * (1 - RESERVE)
    flags = []
    if row["gpus"] and row["gpu_gb"] > limit:
        flags.append(f"needs {row['gpu_gb']:.1f} GB of each GPU, {limit:.1f} are usable")
    if stage in ("teacher", "student") and row["gpus"] not in (0, declared["all"]):
        flags.append(f"{row['gpus']} GPUs for {declared['all']} processes")
    for name, need in (("mem_mb", row["host_gb"] * 1e3), ("runtime", row["hours"] * 60)):
        if need > declared[name]:
            flags.append(f"needs {name} {math.ceil(need)}, declared {declared[name]}")
    return {**row, "flags": flags}


def _needs(scale: Scale, place, model, host, process=None, seconds=0.0, **values) -> dict:
    """What one job needs, of its host in bytes and of the Memory of each process.

    place: (stage, family, what). Without a GPU a process has its memory on the host.
    """
    declared = scale.declared(place[0])
    gpus = declared["gpu"] if process else 0
    process = process or memory.Memory("", 0.0)
    if not gpus:
        host += declared["on_host"] * process.total
    return {
        **dict(zip(("stage", "family", "what"), place, strict=True)),
        "parameters": model.parameters,
        "jobs": 1,
        "gpus": gpus,
        **{f"{name}_gb": getattr(process, name) / GB for name in memory.COLUMNS},
        "gpu_gb": process.total / GB,
        "all_gpus_gb": declared["all"] * process.total / GB,
        "host_gb": host / GB,
        **dict.fromkeys(("checkpoint_gb", "state_gb", "store_gb", "tokens", "flops"), 0),
        **values,
        "hours": seconds / 3600 if gpus else 0.0,
        "gpu_hours": seconds / 3600 * gpus,
    }


def _base(scale: Scale, stage: str, name: str) -> dict:
    """A base model: files are hashed and copied block by block."""
    model = architecture_of(scale, name)
    disk = scale.width * model.parameters / GB
    if "weights" in scale.settings["models"][name]:  # the cache holds what they become, too
        disk *= 2
    return _needs(scale, (stage, "", name), model, memory.PROCESS_CPU, checkpoint_gb=disk)


def _pruned(scale: Scale, stage: str, _: str, name: str) -> dict:
    """A model made from another one, all of whose weights are loaded first."""
    source = architecture_of(scale, scale.settings["models"][name]["prune"]["from"])
    needs = _base(scale, stage, name)
    return {**needs, "host_gb": needs["host_gb"] + scale.width * source.parameters / GB}


def _trained(scale: Scale, stage: str, family: str, corpus: str, method="", *_) -> dict:
    """A teacher or student: training, then validation."""
    model = architecture_of(scale, scale.settings["families"][family][stage])
    settings = dict(scale.settings[stage]["training"])
    settings |= settings.pop("per_corpus", {}).get(corpus, {})
    declared, loss, entry = scale.declared(stage), "labels", scale.methods.get(method, {})
    if entry.get("objective") == "knowledge":
        side = entry.get("student_side", scale.settings["student"]["student_side"])
        loss = "knowledge tail_bucket" if side == "tail_bucket" else "knowledge"
    counts, held_out = (counts_of(scale, family, corpus, s) for s in ("train", "validation"))
    local = math.ceil(settings["batch_size"] / declared["all"])
    rows = min(settings.get("micro_batch_size") or local, local)
    training = memory.Training(
        scale.settings["dtype"],
        declared["all"],
        bool(settings.get("offload_optimizer")),
        bool(settings.get("gradient_checkpointing")),
        math.ceil(local / rows),
        loss,
    )
    batch = memory.Batch(rows, counts.longest, counts.positions_of(rows))
    max_tokens, dtype = scale.settings["evaluation"]["max_tokens"], scale.settings["dtype"]
    check = memory.reading_memory(model, held_out, max_tokens, dtype, "validation")
    check = replace(check, weights=memory.validating_weights(model, training))
    process = max(memory.training_memory(model, batch, training), check, key=lambda m: m.total)
    host = memory.training_host(model, training, declared["nodes"], bool(declared["gpu"]))
    if loss != "labels":
        host += declared["on_host"] * memory.STORE
    steps = max(1, round(math.ceil(counts.rows / settings["batch_size"]) * settings["epochs"]))
    flops = work.training_flops(model, counts, settings["epochs"], training.checkpointing)
    validating = sum(work.forward_flops(model, held_out))
    size = scale.width * model.parameters
    seconds = work.training_seconds(model, training, flops, scale.gpu["tflops"], steps)
    # The first process validates, and the others wait; files are read, written and hashed.
    seconds += work.seconds(validating, scale.gpu["tflops"], 4 * size)
    return _needs(
        scale,
        (stage, family, corpus),
        model,
        host,
        process,
        seconds,
        checkpoint_gb=size / GB,
        state_gb=2 * memory.STATE * model.parameters / GB,  # the old one is kept for a while
        tokens=round(counts.tokens * settings["epochs"]),
        flops=flops + validating,
    )


def _read(scale: Scale, place, model, splits: list[Counts], moment, parts=1, store=0) -> dict:
    """Forward passes over splits, or one of some parts of them, and a store of what they give."""
    width, flops = scale.width, sum(sum(work.forward_flops(model, c)) for c in splits) / parts
    # Weights are read in host memory, then moved to the GPU.
    on_gpu = memory.PROCESS_GPU + width * model.parameters
    host = on_gpu if scale.declared(place[0])["gpu"] else memory.PROCESS_CPU
    max_tokens, dtype = scale.settings["evaluation"]["max_tokens"], scale.settings["dtype"]
    memories = [memory.reading_memory(model, c, max_tokens, dtype, moment) for c in splits]
    return _needs(
        scale,
        place,
        model,
        host + (memory.STORE + store if store else 0.0),
        max(memories, key=lambda found: found.total),
        work.seconds(flops, scale.gpu["tflops"], 2 * width * model.parameters),
        store_gb=store / parts / GB,
        tokens=sum(counts.tokens for counts in splits) / parts,
        flops=flops,
    )


def _knowledge(scale: Scale, stage: str, family: str, corpus: str, split: str, *part) -> dict:
    """Extraction of a split, or of the part of it that one of several jobs has."""
    model, counts, store = _store(scale, family, corpus, split)
    parts = scale.settings["knowledge"]["jobs"] if part else 1
    return _read(scale, (stage, family, corpus), model, [counts], "extraction", parts, store)


def _knowledge_of_student(scale: Scale, stage: str, family: str, corpus: str, *of) -> dict:
    """The same of a student that is its own teacher; of: its method, and the split."""
    model, counts, store = _store(scale, family, corpus, of[-1], "student")
    return _read(scale, (stage, family, corpus), model, [counts], "extraction", 1, store)


def _merge(scale: Scale, stage: str, family: str, corpus: str, split: str) -> dict:
    """The parts of a split's store, joined; without a model."""
    model, _, store = _store(scale, family, corpus, split)
    host = memory.PROCESS_CPU + memory.STORE + store
    return _needs(scale, (stage, family, corpus), model, host)


def _store(
    scale: Scale, family: str, corpus: str, split: str, role: str = "teacher"
) -> tuple[Architecture, Counts, int]:
    """The teacher, its split, and bytes of the store of that."""
    model = architecture_of(scale, scale.settings["families"][family][role])
    counts, k = counts_of(scale, family, corpus, split), scale.settings["knowledge"]["stored_k"]
    return model, counts, store_bytes(counts.positions, counts.rows, k, model.vocabulary)


def _temperature(scale: Scale, stage: str, family: str, corpus: str, *of) -> dict:
    """The search of c in the store of the validation split, of the teacher or of a method `of`."""
    model, counts, _ = _store(scale, family, corpus, "validation", "student" if of else "teacher")
    k, stored_k = (scale.settings["knowledge"][name] for name in ("k", "stored_k"))
    # All log-probabilities of the store, twice, and those of k tokens in float64, six times.
    read = memory.STORE + counts.positions * (2 * 2 * stored_k + 8 * 6 * k)
    return _needs(scale, (stage, family, corpus), model, memory.PROCESS_CPU + read)


def _evaluation(scale: Scale, stage: str, family: str, corpus: str, method: str, *_) -> dict:
    """One model on all benchmarks of its corpus; `none` is that of an untuned one, with all."""
    entry = scale.methods[method]
    role = "teacher" if "teacher" in (entry["objective"], entry.get("model")) else "student"
    model = architecture_of(scale, scale.settings["families"][family][role])
    columns = [column for part in scale.settings["settings"].values() for column in part.items()]
    names = sorted({name for name, trained in columns if corpus in ("none", trained)})
    tests = [counts_of(scale, family, name, "test") for name in names]
    return _read(scale, (stage, family, role), model, tests, "evaluation")


# By rule, in the order of the table.
ESTIMATES = {
    "pruned_model": _pruned,
    "base_model": _base,
    "teacher": _trained,
    "knowledge": _knowledge,
    "knowledge_part": _knowledge,
    "knowledge_merge": _merge,
    "knowledge_of_student": _knowledge_of_student,
    "temperature": _temperature,
    "temperature_of_student": _temperature,
    "student_labels": _trained,
    "student_knowledge": _trained,
    "evaluation": _evaluation,
}
