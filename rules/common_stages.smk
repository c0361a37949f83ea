"""No rules: inputs and options of single stages, in the order of the stages."""

import json
import os
from pathlib import Path

from scripts.first.files import sha256_file


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
        "record": f"{folder}/tokenizers/{recipe['tokenizer']}/record.json",
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


def parts_of(scale):
    """Names of the parts of one split's knowledge: 1-of-3, 2-of-3, 3-of-3."""
    jobs = SCALES[scale]["knowledge"].get("jobs", 1)
    return [f"{index}-of-{jobs}" for index in range(1, jobs + 1)]


SHARED = {scale for scale in SCALES if len(parts_of(scale)) > 1}
PARTS = {part for scale in SHARED for part in parts_of(scale)}


def part_folders(w):
    """Folders of all parts of one split's knowledge."""
    folder = f"results/{w.scale}/knowledge/{w.family}/{w.corpus}/{w.split}/parts"
    return [f"{folder}/{part}" for part in parts_of(w.scale)]


def part_files(w):
    """Stores and manifests of all parts of one split's knowledge."""
    return {
        "stores": [f"{folder}/knowledge.safetensors" for folder in part_folders(w)],
        "manifests": [f"{folder}/manifest.json" for folder in part_folders(w)],
    }


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
        pair=inputs["pair"],
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
