"""No rules: the checked configuration, wildcard constraints and input functions.

Scripts never read the configuration; the rules hand every value that changes a result to them as an
option, through `params`, so that Snakemake reruns just what a change touches.
"""

import json
import os
import re
import shlex
import sys
from pathlib import Path

from scripts.first.config import check
from scripts.first.errors import UserError
from scripts.first.files import sha256_file
from scripts.first.fingerprint import fingerprint

try:
    check(config)
except UserError as error:
    sys.exit(f"error: {error}")

for kind, variable in (("data", "FIRST_DATA_MIRROR"), ("models", "FIRST_MODEL_MIRROR")):
    if config[kind]["mirror"]:
        os.environ[variable] = config[kind]["mirror"]

# Scripts run as modules of this checkout from any --directory, under conda environments too.
# The trap: Slurm sends SIGTERM to every process of a job. Without it bash would be gone at once and
# the job over, before training has saved its state; with it bash waits for its program.
shell.prefix(f"trap : TERM; export PYTHONPATH={shlex.quote(str(workflow.basedir))}; ")

# Rules that read the hub run where snakemake runs, unless a partition with network is named.
FETCH_LOCALLY = config["fetch"]["partition"] is None

SCALES = config["scales"]
METHODS = config["methods"]
SETTINGS = config["settings"]
BENCHMARKS = sorted({b for columns in SETTINGS.values() for b in columns})


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
    setting=one_of(SETTINGS),
    seed=r"\d+",


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
    """A function of wildcards: what one job of a stage needs at its scale."""

    def resolve(w, attempt=1):
        value = scale_of(w)["resources"][stage].get(resource, 1)
        return value * attempt if resource in ("mem_mb", "runtime") else value

    return resolve


def launched(stage):
    """A function of wildcards: words that start one job of a stage in several processes, if any.

    One process a GPU; with more than one the model is sharded over them.
    """

    def resolve(w):
        need = scale_of(w)["resources"][stage]
        nodes = need.get("nodes", 1)
        processes = need.get("processes", max(1, need["gpu"] // nodes))
        if processes * nodes == 1:
            return []
        return ["scripts.first.processes", *options(processes=processes, nodes=nodes)]

    return resolve


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


def corpus_of(method, setting, benchmark):
    """What a column's model was trained on; `none` for the untuned student."""
    if benchmark not in SETTINGS[setting]:
        sys.exit(f"error: Table 1 has no column {setting}-{benchmark}: see config.yaml, settings")
    untuned = METHODS[method]["objective"] == "none"
    return "none" if untuned else SETTINGS[setting][benchmark]


def columns():
    """(setting, benchmark) of Table 1's columns."""
    return [(setting, benchmark) for setting in SETTINGS for benchmark in SETTINGS[setting]]


# Inputs and options of single stages, in the order of the stages.


def data_options(w, dataset):
    """Options of one dataset's preparation."""
    data = scale_of(w)["data"]
    words = options(
        dataset=dataset,
        source_kind=data["source"],
        split_seed=data["split_seed"],
        validation_share=data["validation_share"],
        **data["datasets"][dataset],
    )
    if data["source"] == "world":
        words += ["--world-settings", json.dumps(data["world"], sort_keys=True)]
    return words


def tokenizer_text(w):
    """Training splits that a tokenizer is trained on."""
    return expand(
        "results/{scale}/data/{corpus}/train.parquet",
        scale=w.scale,
        corpus=scale_of(w)["tokenizers"][w.tokenizer].get("text", []),
    )


def tokenizer_options(w):
    """Options of one tokenizer."""
    settings = scale_of(w)["tokenizers"][w.tokenizer]
    words = options(kind=settings["kind"], vocabulary_size=settings.get("vocabulary_size"))
    if settings["kind"] == "world":
        words += ["--world-settings", json.dumps(scale_of(w)["data"]["world"], sort_keys=True)]
    return words


def recipe_of(w):
    """How a model is pretrained."""
    return scale_of(w)["models"][w.model]["pretrain"]


def pretraining_inputs(w):
    """Text, tokenizer and, where there is one, the checkpoint to continue from."""
    recipe, folder = recipe_of(w), f"results/{w.scale}/models"
    inputs = {
        "text": [f"results/{w.scale}/data/{name}/train.parquet" for name in recipe["text"]],
        "tokenizer": f"{folder}/tokenizers/{recipe['tokenizer']}/tokenizer.json",
        "settings": f"{folder}/tokenizers/{recipe['tokenizer']}/tokenizer_config.json",
    }
    if "start_from" in recipe:
        inputs["start"] = f"{folder}/pretrained/{recipe['start_from']}/record.json"
    return inputs


def pretraining_options(w):
    """Options of one pretraining run."""
    recipe = {k: v for k, v in recipe_of(w).items() if k not in ("text", "tokenizer")}
    start = recipe.pop("start_from", None)
    if start:
        recipe["start_from"] = f"results/{w.scale}/models/pretrained/{start}"
    else:
        recipe["architecture"] = json.dumps(recipe["architecture"], sort_keys=True)
    return options(**recipe)


def base_model_inputs(w):
    """A model that is pretrained here waits for its pretraining; others need nothing."""
    model = scale_of(w)["models"][w.model]
    local = "bundled" not in model and "hub" not in model
    return f"results/{w.scale}/models/pretrained/{w.model}/record.json" if local else []


def base_model_options(w):
    """Command and options that bring a base checkpoint into the models folder."""
    model = scale_of(w)["models"][w.model]
    if "hub" in model:
        return ["hub", *options(**model["hub"])]
    pretrained = f"results/{w.scale}/models/pretrained/{w.model}"
    return ["copy", *options(source=model.get("bundled", pretrained))]


def bundle_digest(w):
    """sha256 of a shipped checkpoint's record: another bundle reruns what rests on it."""
    bundled = scale_of(w)["models"][w.model].get("bundled")
    record = Path(workflow.basedir) / str(bundled) / "record.json"
    return sha256_file(record) if record.is_file() else None


def base_record(w, role):
    """Record of a family's teacher or student before any tuning."""
    name = scale_of(w)["families"][w.family][role]
    return f"results/{w.scale}/models/{name}/record.json"


def student_inputs(w):
    """Base, data and, for knowledge matching, the store and the chosen temperature."""
    results, method = f"results/{w.scale}", METHODS[w.trained]
    inputs = {
        "base": base_record(w, "student"),
        "train": f"{results}/data/{w.corpus}/train.parquet",
        "validation": f"{results}/data/{w.corpus}/validation.parquet",
    }
    if method["objective"] == "knowledge":
        folder = f"{results}/knowledge/{w.family}/{w.corpus}/train"
        inputs |= {
            "pair": f"{results}/models/pairs/{w.family}.json",
            "manifest": f"{folder}/manifest.json",
            "store": f"{folder}/knowledge.safetensors",
        }
    if method.get("c") == "selected":
        inputs["selected"] = f"{results}/temperature/{w.family}/{w.corpus}/selected.json"
    return inputs


def method_options(w):
    """Options of a method: its objective, its recalibration and the student's side of Eq. 5.

    A function of wildcards alone: Snakemake records no parameter that is derived from `input`, so
    a change of delta would go unnoticed.
    """
    inputs, method = student_inputs(w), METHODS[w.trained]
    student = scale_of(w)["student"]
    words = options(method=w.trained, objective=method["objective"])
    if method["objective"] == "hard_labels":
        return words
    words += options(
        knowledge=os.path.dirname(inputs["manifest"]),
        k=scale_of(w)["knowledge"]["k"],
        recalibration=method["recalibration"],
        delta=method.get("delta"),
        ls_space=method.get("ls_space"),
        student_side=method.get("student_side", student["student_side"]),
        ts_positions=method.get("ts_positions", student["ts_positions"]),
    )
    c = method.get("c")
    return words + (options(selected=inputs["selected"]) if c == "selected" else options(c=c))


def evaluated_folder(w):
    """Checkpoint folder of a method: base, teacher, a student, or the student that is tempered."""
    results, objective = f"results/{w.scale}", METHODS[w.method]["objective"]
    if objective == "none":
        role = METHODS[w.method].get("model", "student")
        return f"{results}/models/{scale_of(w)['families'][w.family][role]}"
    if objective == "teacher":
        return f"{results}/teacher/{w.family}/{w.corpus}"
    trained = METHODS[w.method]["of"] if objective == "posthoc" else w.method
    return f"{results}/student/{w.family}/{w.corpus}/{trained}/seed{w.seed}"


def evaluation_inputs(w):
    """The model's record (and weights, where the workflow trained them) and the test split."""
    folder, objective = evaluated_folder(w), METHODS[w.method]["objective"]
    inputs = {
        "record": f"{folder}/record.json",
        "test": f"results/{w.scale}/data/{w.benchmark}/test.parquet",
    }
    if objective != "none":
        inputs["model"] = f"{folder}/model.safetensors"
    if objective == "posthoc":
        inputs["posthoc"] = f"{folder}/validation.json"
    return inputs
