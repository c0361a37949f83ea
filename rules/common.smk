"""No rules: the checked configuration, wildcard constraints, input functions and resources.

Scripts never read the configuration; the rules hand every value that changes a result to them as an
option, through `params`, so that Snakemake reruns only what a change affects.
"""

import json
import os
import re
import sys
from itertools import product
from pathlib import Path

from first_distill import joblog
from first_distill.config.datasets import entry_for
from first_distill.config.types import VARIANT
from first_distill.data.readers import describes, files_below, is_table
from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.provenance.fingerprint import fingerprint
from first_distill.provenance.lineage import ARTIFACTS
from first_distill.provenance.made_by import commit, machine

for kind, variable in (("data", "FIRST_DATA_MIRROR"), ("models", "FIRST_MODEL_MIRROR")):
    if config[kind]["mirror"]:
        os.environ[variable] = config[kind]["mirror"]

# Scripts run as modules of this checkout from any --directory, under conda environments too.
places = [str(workflow.basedir), os.getenv("PYTHONPATH", "")]
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, places)))
# Not in `params`, where another place of the module would retrain.
os.environ.update(FIRST_LAUNCHER="first_distill.distributed.launcher")
# For the head of each job's log. On a cluster a job reads these rules anew, on its own machine.
# Without git there, the commit stays that of the submission.
current = commit()
current = joblog.known_commit(os.environ) or current if current == "unknown" else current
os.environ.update({joblog.VARIABLE: joblog.facts(current, machine())})

# Slurm sends SIGTERM (or SIGUSR1, where a site prefers it) to every process of a job. Without the
# trap bash would exit at once and end the job before training has saved its state.
shell.prefix("trap : TERM USR1; ")

# Rules that read the hub run where snakemake runs, unless a partition with network is named.
FETCH_LOCALLY = config["fetch"]["partition"] is None
FETCH = {} if FETCH_LOCALLY else {"slurm_partition": config["fetch"]["partition"]}
# A requeued job appends to its log. The Slurm profile sets this for the rules without `warned`.
APPENDED = "--open-mode=append"

SCALES, METHODS = config["scales"], config["methods"]
COLUMNS = {  # of each scale's Table 1: (setting, benchmark, corpus)
    name: [(s, b, c) for s, benchmarks in scale["settings"].items() for b, c in benchmarks.items()]
    for name, scale in SCALES.items()
}
DATASETS = config["datasets"]


def names_of(key):
    """Names under a key of any scale."""
    return {name for scale in SCALES.values() for name in scale.get(key) or ()}


def of_objective(objective):
    """Methods with an objective."""
    return {name for name, method in METHODS.items() if method["objective"] == objective}


def one_of(names):
    """A wildcard constraint: exactly one of these names; without names, nothing matches."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def here(path):
    """A file of this repository, from the working directory: moving both changes no parameter."""
    return os.path.relpath(os.path.join(workflow.basedir, path))


def content_of(path):
    """SHA-256 of a file that a rule reads where it is there; "" where it is not."""
    return sha256_file(path) if os.path.exists(path) else ""


def environment(name):
    """The file of a conda environment. Snakemake formats its path: braces are doubled."""
    path = os.path.join(workflow.basedir, "envs", f"{name}.yaml")
    return path.replace("{", "{{").replace("}", "}}")


wildcard_constraints:
    scale=one_of(SCALES),
    family=one_of(names_of("families")),
    model=one_of(names_of("models")),
    tokenizer=one_of(names_of("tokenizers")),
    dataset=one_of(DATASETS),
    corpus=one_of(DATASETS.keys() | {"none"}),
    benchmark=one_of(DATASETS),
    method=one_of(METHODS),
    setting=one_of(names_of("settings")),
    teacher=one_of(of_objective("hard_labels")),
    seed="0|[1-9][0-9]{0,9}",  # one spelling of each seed: seed01 would equal seed1


def scale_of(w):
    """The configuration of the scale that a path names.

    Snakemake's `lookup` would walk the whole configuration, and tripled the time of a dry run.
    """
    return SCALES[w.scale]


def family_of(w):
    """The family that a path names: its teacher's and student's base models, and `bos`."""
    return scale_of(w)["families"][w.family]


def options(**settings):
    """Command-line options of the settings that are not None.

    {"a_b": 1} gives ["--a-b", "1"], True gives --a-b, False gives --no-a-b, a mapping gives JSON.
    """
    words = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            text = json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)
            words += [f"--{flag}", text]
    return words


def method_options(w):
    """Options of a method's own keys; those that are files are given apart."""
    method, stored = METHODS[w.method], scale_of(w)["knowledge"]["stored_k"]
    if method.get("k", 1) > stored:
        where = f"methods.{w.method}.k: {method['k']}: scale {w.scale} stores {stored}"
        sys.exit(f"error: config: {where}: raise knowledge.stored_k")
    paths = ("teacher", "draws", "c_from")
    return options(**{k: v for k, v in method.items() if k not in paths and v != "selected"})


def training_options(w, stage, seed):
    """Options of one training run: encoding, optimizer (a corpus may have its own), validation."""
    scale = scale_of(w)
    training = scale[stage]["training"]
    settings = {**training, **training.get("per_corpus", {}).get(w.corpus, {}), "per_corpus": None}
    settings |= {**scale["encoding"], "bos": family_of(w).get("bos")}
    settings |= {"seed": seed, "dtype": scale["dtype"]}
    return options(**settings, **scale["evaluation"])


def copied_of(w):
    """Folder that a base checkpoint is copied from: shipped, or pretrained or pruned here.

    A variant has the models of its scale.
    """
    model = scale_of(w)["models"][w.model]
    if "hub" in model or "folder" in model:
        return []
    made = "pruned" if "prune" in model else "pretrained"
    bundled, base = model.get("bundled"), w.scale.partition(VARIANT)[0]
    return here(bundled) if bundled else f"results/{base}/models/{made}/{w.model}"


def source_of(w):
    """Command, and its options, that makes a base checkpoint."""
    model = scale_of(w)["models"][w.model]
    weights = options(weights=model.get("weights"))
    if "hub" in model:
        return ["hub", *options(**model["hub"]), *weights]
    if "folder" in model:
        return ["folder", "--source", os.path.expanduser(model["folder"]), *weights]
    return ["copy", "--source", copied_of(w)]


def entry_of(w):
    """The entry of a dataset with its prompt's templates and what the scale says of it, as JSON."""
    return json.dumps(entry_for(w.dataset, config, scale_of(w)["data"]), sort_keys=True)


def files_of(w):
    """{file: hash} of the user's own tables of a dataset, so that changed ones are read again."""
    if "path" not in DATASETS[w.dataset]:
        return {}
    path = Path(os.path.expanduser(DATASETS[w.dataset]["path"]))
    where = f"error: config: datasets.{w.dataset}.path"
    if not os.path.exists(path):
        sys.exit(f"{where}: {path}: no such file or folder")
    try:
        found = [path] if path.is_file() else files_below(path)
        read = [file for file in found if is_table(file) or describes(file) or file == path]
        return {str(file): sha256_file(file) for file in read}
    except (UserError, OSError) as error:
        sys.exit(f"{where}: {error}")


def with_splits(*names):
    """Datasets whose entry has exactly these splits."""
    return {name for name, entry in DATASETS.items() if entry["splits"].keys() == {*names}}


def benchmarks_of(w):
    """Benchmarks that models of a corpus are evaluated on; all for `none` (untuned models)."""
    return list(dict.fromkeys(b for _, b, c in COLUMNS[w.scale] if w.corpus in (c, "none")))


def corpus_of(w):
    """The corpus behind a column of Table 1."""
    settings = scale_of(w)["settings"]
    if w.benchmark not in settings.get(w.setting, {}):
        sys.exit(f"error: no column {w.setting}-{w.benchmark}: see settings of scale {w.scale}")
    return settings[w.setting][w.benchmark]


def parts_of(w):
    """Names of the jobs that share one split's extraction: 1-of-3, 2-of-3, 3-of-3."""
    jobs = scale_of(w)["knowledge"].get("jobs", 1)
    return [f"{index}-of-{jobs}" for index in range(1, jobs + 1)]


def declared(w, stage):
    """Configured resources of one job of a stage, on each of its machines."""
    return scale_of(w)["resources"][stage]


def requested(need):
    """Where a job runs. Snakemake does not request None.

    On several machines it is an MPI job to the Slurm plugin: its program runs outside of any step,
    so that it can start one on all machines; `gres` counts the GPUs of each, where `gpu` would
    count and distribute the GPUs of all machines, and `tasks_per_gpu` would replace `tasks`.
    """
    nodes, gpu = need.get("nodes", 1), need["gpu"]
    if nodes == 1:
        return {"nodes": 1, "gpu": gpu}
    gres = f"gpu:{gpu}" if gpu else None
    return {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun", "gres": gres}


def resources_of(stage):
    """Resources of one job of a stage, each a function of wildcards or of wildcards and attempt.

    Each retry adds the declared time, and half the declared memory.
    """
    several = any(scale["resources"][stage].get("nodes", 1) > 1 for scale in SCALES.values())
    names = ["nodes", "gpu", "gres", "mpi", "tasks", "tasks_per_gpu"] if several else ["gpu"]
    return {
        "mem_mb": lambda w, attempt: int(0.5 * declared(w, stage)["mem_mb"] * (attempt + 1)),
        "runtime": lambda w, attempt: declared(w, stage)["runtime"] * attempt,
        **{name: lambda w, name=name: requested(declared(w, stage)).get(name) for name in names},
    }


def launched(stage):
    """A function of wildcards: what starts a stage in several processes, in bash; else nothing.

    One process per GPU of each machine; with more than one the model is sharded over them.
    """

    def resolve(w):
        need = declared(w, stage)
        nodes, processes = need.get("nodes", 1), need.get("processes", max(1, need["gpu"]))
        line = f"$FIRST_LAUNCHER --processes {processes} --nodes {nodes}"
        return line if processes * nodes > 1 else ""

    return resolve


def warned(stage):
    """A function of wildcards: options of sbatch; a signal before the time limit of a stage's job.

    The job saves its state, exits and is retried with more time; Slurm's KillWait, 30 s by default,
    is too short for large optimizers. Jobs of less than an hour request no signal.
    """

    def resolve(w, attempt):
        minutes = declared(w, stage)["runtime"] * attempt
        seconds = 1800 if minutes >= 240 else 600 if minutes >= 60 else 0
        return f"{APPENDED} --signal=TERM@{seconds}" if seconds else APPENDED

    return resolve
