"""The plan of a scale: a row for each kind of job, and what its declared resources cannot hold."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from scripts.first.knowledge.store import store_bytes
from scripts.first.plan import hosts, work
from scripts.first.plan.architecture import Architecture, architecture_of
from scripts.first.plan.corpora import Counts, counts_of
from scripts.first.plan.jobs import Job, evaluations, students
from scripts.first.plan.machine import GB, Machine
from scripts.first.plan.memory import (
    COLUMNS,
    Batch,
    Memory,
    Training,
    reading_memory,
    training_memory,
)


class Scale:
    """A scale's configuration with what its rows are made from."""

    def __init__(self, config: dict, name: str, machine: Machine, results: Path):
        self.config, self.name, self.machine, self.results = config, name, machine, results
        self.settings = config["scales"][name]
        self.width = 2 if self.settings["dtype"] == "bfloat16" else 4
        self.sources: dict[str, str] = {}

    def model(self, name: str) -> Architecture:
        """A model's architecture; its source is noted."""
        model = architecture_of(self.name, name, self.settings, self.results)
        self.sources[f"model {name}"] = model.source
        return model

    def counts(self, family: str, corpus: str, split: str) -> Counts:
        """Token counts; their source is noted."""
        counts = counts_of(self.name, family, corpus, split, self.settings, self.results)
        self.sources[f"tokens of {family}"] = counts.source
        return counts

    def declared(self, stage: str) -> dict:
        """Resources of a stage; processes on each machine (`on_host`) and in all of one job.

        What is declared holds for each machine; `gpu` as returned counts those of all.
        """
        found = {"nodes": 1, **self.settings["resources"][stage]}
        nodes, gpus = found["nodes"], found["gpu"]
        on_host = found.get("processes", max(1, gpus))
        return {**found, "gpu": gpus * nodes, "on_host": on_host, "all": on_host * nodes}


def make_plan(
    config: dict, name: str, machine: Machine, results: Path, jobs: frozenset[Job]
) -> dict:
    """{scale, machine, rows, totals, sources}: everything that is printed; sizes in 1e9 bytes."""
    scale = Scale(config, name, machine, results)
    rows: list[dict] = []
    for family, members in scale.settings["families"].items():
        teacher, student = scale.model(members["teacher"]), scale.model(members["student"])
        rows += [_base(scale, family, members[role]) for role in ("teacher", "student")]
        for corpus in scale.settings["corpora"]:
            rows.append(_trained(scale, "teacher", family, corpus, teacher, "labels", 1))
            rows += _knowledge(scale, family, corpus, teacher)
            rows.append(_temperature(scale, family, corpus, teacher))
        for (corpus, objective), count in sorted(students(jobs, config["methods"], family).items()):
            loss = "labels" if objective == "hard_labels" else "knowledge"
            rows.append(_trained(scale, "student", family, corpus, student, loss, count))
        found = evaluations(jobs, config["methods"], family)
        for role, model in (("teacher", teacher), ("student", student)):
            if found[role]:
                rows.append(_evaluation(scale, family, role, model, found[role]))
    kept = ("jobs", "tokens", "flops", "gpu_hours", "checkpoint_gb", "store_gb")
    totals = {key: sum(row[key] for row in rows) for key in kept}
    totals["state_gb"] = max(row["state_gb"] for row in rows)
    return {
        "scale": name,
        "machine": asdict(machine),
        "rows": rows,
        "totals": totals,
        "sources": scale.sources,
    }


def _row(scale: Scale, stage: str, family: str, what: str, model: Architecture, **values) -> dict:
    """One row with its flags; memory is a Memory, host in bytes, seconds of each job.

    `gpu` is given where a rule asks for other GPUs than its stage.
    """
    declared, machine = scale.declared(stage), scale.machine
    memory: Memory | None = values.pop("memory", None)
    host, seconds = values.pop("host"), values.pop("seconds", [])
    gpus = values.pop("gpu", declared["gpu"])
    if memory is not None and not gpus:
        host += declared["on_host"] * memory.total
    row = {
        "rule": stage,
        "family": family,
        "what": what,
        "parameters": model.parameters,
        "gpus": gpus,
        "moment": memory.moment if memory else "",
        **{f"{c}_gb": getattr(memory, c) / GB if memory else 0.0 for c in COLUMNS},
        "gpu_gb": memory.total / GB if memory else 0.0,
        "gpus_gb": declared["all"] * memory.total / GB if memory else 0.0,
        "host_gb": host / GB,
        "checkpoint_gb": 0.0,
        "state_gb": 0.0,
        "store_gb": 0.0,
        "tokens": 0,
        "flops": 0.0,
        **values,
        "hours": max(seconds, default=0.0) / 3600 if gpus else 0.0,
        "gpu_hours": sum(seconds) / 3600 * gpus,
    }
    limit = machine.gpu_memory_gb * (1 - machine.gpu_reserve)
    row["flags"] = []
    if gpus and row["gpu_gb"] > limit:
        row["flags"].append(f"needs {row['gpu_gb']:.1f} GB of each GPU, {limit:.1f} are usable")
    if stage in ("teacher", "student") and gpus not in (0, declared["all"]):
        row["flags"].append(f"{gpus} GPUs for {declared['all']} processes")
    if host > declared["mem_mb"] * 1e6:
        row["flags"].append(f"needs mem_mb {math.ceil(host / 1e6)}, declared {declared['mem_mb']}")
    if row["hours"] * 60 > declared["runtime"]:
        row["flags"].append(
            f"needs {math.ceil(row['hours'] * 60)} minutes, declared {declared['runtime']}"
        )
    return row


def _base(scale: Scale, family: str, name: str) -> dict:
    model = scale.model(name)
    host = hosts.PROCESS_CPU  # files are hashed and copied block by block
    disk = scale.width * model.parameters / GB
    return _row(scale, "models", family, name, model, jobs=1, host=host, checkpoint_gb=disk)


def _trained(scale: Scale, stage, family, corpus, model: Architecture, loss, count) -> dict:
    """A row of rule teacher or student: training, then validation."""
    settings = dict(scale.settings[stage]["training"])
    settings |= settings.pop("per_corpus", {}).get(corpus, {})
    declared = scale.declared(stage)
    counts, held_out = (scale.counts(family, corpus, s) for s in ("train", "validation"))
    local = math.ceil(settings["batch_size"] / declared["all"])
    rows = min(settings.get("micro_batch_size") or local, local)
    side = "knowledge tail_bucket"
    tail = scale.settings["student"]["student_side"] == "tail_bucket" and loss == "knowledge"
    training = Training(
        scale.settings["dtype"],
        declared["all"],
        bool(settings.get("offload_optimizer")),
        bool(settings.get("gradient_checkpointing")),
        math.ceil(local / rows),
        side if tail else loss,
    )
    batch = Batch(rows, counts.longest, counts.positions_of(rows))
    memory = training_memory(model, batch, training)
    weights = hosts.validating_weights(model, training)
    check = _reading(scale, model, held_out, "validation", weights)
    memory = max(memory, check, key=lambda m: m.total)
    steps = max(1, round(math.ceil(counts.rows / settings["batch_size"]) * settings["epochs"]))
    flops = work.training_flops(model, counts, settings["epochs"], training.checkpointing)
    validating = sum(work.forward_flops(model, held_out))
    host = hosts.training_host(model, training, declared["nodes"], bool(declared["gpu"]))
    if loss == "knowledge":
        host += declared["on_host"] * hosts.STORE
    files = 4 * scale.width * model.parameters  # read and hashed, written and hashed
    moved, state = steps * hosts.moved_bytes(model, training), hosts.STATE * model.parameters
    seconds = scale.machine.seconds(flops, declared["all"], moved_bytes=moved)
    seconds += scale.machine.saving_seconds(seconds, state)
    # The first process validates; the others wait for it, and their GPUs with them.
    seconds += scale.machine.seconds(validating, disk_bytes=files)
    return _row(
        scale,
        stage,
        family,
        corpus if stage == "teacher" else f"{corpus}, {loss}",
        model,
        jobs=count,
        memory=memory,
        host=host,
        checkpoint_gb=count * scale.width * model.parameters / GB,
        state_gb=2 * state / GB,  # the old one stands until the new one does
        tokens=round(count * counts.tokens * settings["epochs"]),
        flops=count * (flops + validating),
        seconds=[seconds] * count,
    )


def _reading(scale: Scale, model, counts: Counts, what: str, weights=None) -> Memory:
    """Memory of an inference batch of the longest rows."""
    tokens = scale.settings["evaluation"]["max_tokens"]
    rows = min(counts.rows, max(1, tokens // counts.longest))
    # Short rows crowd a batch with supervised positions, long rows with attention masks.
    positions = min(counts.positions, math.ceil(counts.density * max(tokens, counts.longest)))
    batch = Batch(rows, counts.longest, positions)
    return reading_memory(model, batch, scale.settings["dtype"], what, weights)


def _store(scale: Scale, counts: Counts, vocabulary_size: int) -> int:
    k = scale.settings["knowledge"]["stored_k"]
    return store_bytes(counts.positions, counts.rows, k, vocabulary_size)


def _knowledge(scale: Scale, family, corpus, model: Architecture) -> list[dict]:
    """The extraction of both splits; where several jobs share one, those and their merge."""
    parts = scale.settings["knowledge"].get("jobs", 1)
    splits = [scale.counts(family, corpus, split) for split in ("train", "validation")]
    memories = [_reading(scale, model, counts, "extraction") for counts in splits]
    stores = [_store(scale, counts, model.vocabulary) for counts in splits]
    flops = [sum(work.forward_flops(model, counts)) for counts in splits]
    files = 2 * scale.width * model.parameters
    host = hosts.reading_host(model, scale.width, bool(scale.declared("knowledge")["gpu"]))
    extraction = _row(
        scale,
        "knowledge",
        family,
        corpus,
        model,
        jobs=2 * parts,
        memory=max(memories, key=lambda m: m.total),
        host=host + hosts.STORE + max(stores),
        store_gb=sum(stores) / GB,
        tokens=sum(counts.tokens for counts in splits),
        flops=sum(flops),
        seconds=[scale.machine.seconds(f / parts, 1, files) for f in flops for _ in range(parts)],
    )
    if parts == 1:
        return [extraction]
    merge = {
        "rule": "knowledge_merge",
        "jobs": 2,
        "gpu": 0,
        "host": hosts.PROCESS_CPU + hosts.STORE + max(stores),
    }
    merged = _row(scale, "knowledge", family, corpus, model, **merge)
    return [{**extraction, "rule": "knowledge_part"}, merged]


def _temperature(scale: Scale, family, corpus, model: Architecture) -> dict:
    counts = scale.counts(family, corpus, "validation")
    stored_k = scale.settings["knowledge"]["stored_k"]
    host = hosts.PROCESS_CPU + hosts.searching_host(counts.positions, stored_k)
    return _row(scale, "temperature", family, corpus, model, jobs=1, host=host)


def _evaluation(scale: Scale, family, role, model: Architecture, corpora) -> dict:
    """A row of rule evaluation: each job tests one model on all benchmarks of its corpus.

    corpora: {corpus that a model was trained on, `none` for the untuned one: jobs}.
    """
    columns = [c for part in scale.settings["settings"].values() for c in part.items()]
    tests = {name: scale.counts(family, name, "test") for name, _ in columns}
    flops = {name: sum(work.forward_flops(model, counts)) for name, counts in tests.items()}
    files = 2 * scale.width * model.parameters
    jobs = []  # the benchmarks of each job
    for corpus, number in corpora.items():
        jobs += [{b for b, trained in columns if corpus in ("none", trained)}] * number
    memories = [_reading(scale, model, tests[b], "evaluation") for b in set().union(*jobs)]
    done = [sum(flops[b] for b in benchmarks) for benchmarks in jobs]
    return _row(
        scale,
        "evaluation",
        family,
        role,
        model,
        jobs=len(jobs),
        memory=max(memories, key=lambda m: m.total),
        host=hosts.reading_host(model, scale.width, bool(scale.declared("evaluation")["gpu"])),
        tokens=sum(tests[b].tokens for benchmarks in jobs for b in benchmarks),
        flops=sum(done),
        seconds=[scale.machine.seconds(f, 1, files) for f in done],
    )
