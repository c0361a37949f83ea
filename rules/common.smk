"""No rules: the checked configuration, wildcard constraints and input functions.

Scripts never read the configuration; the rules hand every value that changes a result to them as an
option, through `params`, so that Snakemake reruns just what a change touches.
"""

import gc
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.logging import logger

from scripts.first.runtime.controller import clear, hold
from scripts.first.errors import UserError
from scripts.first.runtime.failures import watch
from scripts.first.provenance.fingerprint import fingerprint
from scripts.first.runtime.interrupts import over

# Rules and jobs are many objects and no garbage: rarer collections, a tenth of a dry run's time.
gc.set_threshold(100_000, 50, 100)

if workflow.is_main_process:
    try:
        watch(workflow, logger)
    except UserError as error:
        sys.exit(f"error: {error}")

for kind, variable in (("data", "FIRST_DATA_MIRROR"), ("models", "FIRST_MODEL_MIRROR")):
    if config[kind]["mirror"]:
        os.environ[variable] = config[kind]["mirror"]

# Scripts run as modules of this checkout from any --directory, under conda environments too.
# The trap: Slurm sends SIGTERM (or SIGUSR1, where a site wants that) to every process of a job.
# Without it bash would be gone at once and the job over, before training has saved its state; with
# it bash waits for its program.
#
# Token ids are kept beside what Snakemake keeps, for jobs that encode the same split.
KEPT_IDS = Path.cwd().joinpath(".snakemake", "encodings")
shell.prefix(
    f"trap : TERM USR1; export PYTHONPATH={shlex.quote(str(workflow.basedir))} "
    f"FIRST_ENCODINGS={shlex.quote(str(KEPT_IDS))}; "
)

# Rules that read the hub run where snakemake runs, unless a partition with network is named.
FETCH_LOCALLY = config["fetch"]["partition"] is None

# A requeued job does not wipe what its first half said. The Slurm profile has it for the other rules.
APPENDED = "--open-mode=append"

SCALES = config["scales"]
METHODS = config["methods"]
BENCHMARKS = {b for s in SCALES.values() for columns in s["settings"].values() for b in columns}


def one_of(names):
    """A wildcard constraint: one of these names and nothing else."""
    return "|".join(re.escape(name) for name in sorted(names))


wildcard_constraints:
    scale=one_of(SCALES),
    family=one_of({name for scale in SCALES.values() for name in scale["families"]}),
    model=one_of({name for scale in SCALES.values() for name in scale["models"]}),
    tokenizer=one_of({n for s in SCALES.values() for n in s.get("tokenizers", {})} | {"none"}),
    corpus=one_of({name for scale in SCALES.values() for name in scale["corpora"]} | {"none"}),
    benchmark=one_of(BENCHMARKS),
    method=one_of(METHODS),
    setting=one_of({name for scale in SCALES.values() for name in scale["settings"]}),
    seed="0|[1-9][0-9]{0,9}",  # and no other spelling: seed01 would be seed1 again


def hold_folder():
    """Be this folder's only run from here on, if known; where that cannot be, end with one line."""
    try:
        return hold(Path.cwd())
    except UserError as error:
        sys.exit(f"error: {error}")


def alone(execute):
    """Snakemake's `execute` as this folder's only run; a dry run or one job of a run goes as it is.

    Here, for what is parsed does not know yet whether it is a dry run, and `onstart` comes too late.
    """

    def run(*words, executor_plugin, **named):
        dry = executor_plugin.common_settings.dryrun_exec
        locking = workflow.is_main_process and workflow.execution_settings.lock and not dry
        mine = locking and hold_folder()
        try:
            return execute(*words, executor_plugin=executor_plugin, **named)
        except KeyboardInterrupt:
            pass  # over() has the status
        finally:
            if mine:
                clear(Path.cwd())
            if workflow.is_main_process:
                over()

    return run


def alone_deleting(delete_output):
    """Snakemake's `--delete-all-output`: not from under a run that is at work."""

    def run(*words, dryrun=False, **named):
        if not dryrun:
            hold_folder()
        return delete_output(*words, dryrun=dryrun, **named)

    return run


workflow.execute = alone(workflow.execute)
workflow.delete_output = alone_deleting(workflow.delete_output)


def scale_of(w):
    """The configuration of the scale that a path names."""
    return SCALES[w.scale]


def options(**settings):
    """Command-line options of settings that are not None: {'a_b': 1} gives ['--a-b', '1']."""
    words = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif value is False:
            words.append("--no-" + flag[2:] if name == "append_eos" else "")
        elif value is not None:
            words += [flag, str(value)]
    return [word for word in words if word]


def needs(stage, resource):
    """A function of wildcards: what one job of a stage needs at its scale.

    Snakemake does not say why an attempt failed, so the next has more time and more memory; of
    memory but half as much again, for machines have only so much.
    """

    def resolve(w, attempt=1):
        value = scale_of(w)["resources"][stage].get(resource, 1)
        if resource == "runtime":
            return value * attempt
        return int(0.5 * value * (attempt + 1)) if resource == "mem_mb" else value

    return resolve


def launched(stage):
    """A function of wildcards: words that start one job of a stage in several processes, if any.

    One process a GPU of each machine; with more than one the model is sharded over them.
    """

    def resolve(w):
        need = scale_of(w)["resources"][stage]
        nodes = need.get("nodes", 1)
        processes = need.get("processes", max(1, need["gpu"]))
        if processes * nodes == 1:
            return []
        return ["scripts.first.distributed.launcher", *options(processes=processes, nodes=nodes)]

    return resolve


def warned(stage):
    """A function of wildcards: words for sbatch; a warning before the time of a stage's job is up.

    It saves its state, ends, and is retried with more time from there; KillWait alone, 30 s by
    default, is short for large optimizers. The longer a job may run, the larger its state. Jobs of
    less than an hour are over again soon, and have no minutes to give away.
    """

    def resolve(w, attempt=1):
        minutes = needs(stage, "runtime")(w, attempt)
        seconds = 1800 if minutes >= 240 else 600 if minutes >= 60 else 0
        return f"{APPENDED} --signal=TERM@{seconds}" if seconds else APPENDED

    return resolve


def machines(stage):
    """Resources of a stage whose jobs may take several machines, each with what `resources` says.

    One machine asks for `gpu` alone. Several go the Slurm plugin's way of MPI jobs: the job's
    program runs outside of any step, so that it can start one on all machines; `gres` counts GPUs
    of each machine, where `gpu` would count them all and share them out as it likes. Snakemake
    does not ask for what is None. Where no scale has several, nothing is asked but `gpu`: each
    function of wildcards is one more that Snakemake calls for each job, in a dry run too.
    """
    if all(s["resources"].get(stage, {}).get("nodes", 1) == 1 for s in SCALES.values()):
        return {"gpu": needs(stage, "gpu")}

    def resource(one, several):
        def resolve(w):
            need = scale_of(w)["resources"][stage]
            nodes = need.get("nodes", 1)
            return one(need) if nodes == 1 else several(need, nodes)

        return resolve

    nothing = lambda *_: None
    return {
        "nodes": needs(stage, "nodes"),
        "gpu": resource(lambda need: need["gpu"], nothing),
        "gres": resource(nothing, lambda need, _: need["gpu"] and f"gpu:{need['gpu']}" or None),
        "mpi": resource(nothing, lambda *_: "srun"),
        "tasks": resource(nothing, lambda _, nodes: nodes),
        "tasks_per_gpu": resource(nothing, lambda *_: 0),  # else it would be `tasks` of each GPU
    }


def threads_of(stage):
    """A function of wildcards: CPU threads of one job of a stage."""
    return lambda w: scale_of(w)["resources"][stage]["threads"]


def fetch_partition():
    """The resource of a fetch rule that sends it to the partition with network."""
    return {} if FETCH_LOCALLY else {"slurm_partition": config["fetch"]["partition"]}


def encoding_options(w):
    """Options of the joint tokenisation."""
    return options(**scale_of(w)["encoding"])


def training_options(w, stage, seed):
    """Options of one training run: a stage's settings, then its corpus's."""
    settings = dict(scale_of(w)[stage]["training"])
    settings |= settings.pop("per_corpus", {}).get(w.corpus, {})
    settings |= {"seed": seed, "dtype": scale_of(w)["dtype"]}
    return options(**settings)


def inference_options(w):
    """Options of forward passes over a validation or test split."""
    evaluation = scale_of(w)["evaluation"]
    return options(bins=evaluation["bins"], max_tokens=evaluation["max_tokens"])


def first_seed(scale):
    """The seed that names the evaluation of models that exist once: teacher, untuned student."""
    return SCALES[scale]["student"]["seeds"][0]


def seeds_of(scale, method):
    """Seeds a method is evaluated with."""
    once = METHODS[method]["objective"] in ("none", "teacher")
    return [first_seed(scale)] if once else SCALES[scale]["student"]["seeds"]


def corpus_of(scale, method, setting, benchmark):
    """What a column's model was trained on; `none` for the untuned student."""
    settings = SCALES[scale]["settings"]
    if benchmark not in settings.get(setting, {}):
        sys.exit(f"error: scale {scale} has no column {setting}-{benchmark}: see its settings")
    untuned = METHODS[method]["objective"] == "none"
    return "none" if untuned else settings[setting][benchmark]


def columns(scale):
    """(setting, benchmark) of Table 1's columns."""
    settings = SCALES[scale]["settings"]
    return [(setting, benchmark) for setting in settings for benchmark in settings[setting]]


def figure_benchmark(scale):
    """The in-domain benchmark that Figures 3, 5 and 6 and Table 2 show."""
    return SCALES[scale]["figures"].get("benchmark") or next(
        iter(SCALES[scale]["settings"]["in_domain"])
    )
