"""Relations between parts of the configuration: names that must exist, sizes that must fit."""

from collections.abc import Iterator
from itertools import chain
from typing import get_args

from first_distill.config.ablations import ablation_checks
from first_distill.config.claims import CLAIMS
from first_distill.config.datasets import Checks, dataset_checks, hint, used_checks
from first_distill.config.models import Stage
from first_distill.config.types import Split
from first_distill.config.variants import names as names_of_scales
from first_distill.errors import UserError

# Where a name stands, and the mapping or list that must have it; `*` is any key or entry.
NAMES = {
    "table1.methods.*": "methods",
    "ablations.*.points.*.method": "methods",
    "ablations.*.points.*.variant": "variants",
    "ablations.*.lines.*": "methods",
    "methods.*.of": "methods",
    "methods.*.teacher": "methods",
    "methods.*.c_from": "datasets",
    "scales.*.figures.figure6_methods.*": "methods",
    "scales.*.figures.family": "scales.*.families",
    "scales.*.settings.*.*": "datasets",
    "scales.*.families.*.teacher": "scales.*.models",
    "scales.*.families.*.student": "scales.*.models",
    "scales.*.tokenizers.*.text.*": "datasets",
    "scales.*.models.*.pretrain.text.*": "datasets",
    "scales.*.models.*.pretrain.tokenizer": "scales.*.tokenizers",
    "scales.*.models.*.pretrain.start_from": "scales.*.models",
    "scales.*.models.*.prune.from": "scales.*.models",
}
# Keys that an entry needs, or may have (`?`), where another key has this value.
KEYS = {
    ("methods.*", "objective"): {
        "none": "model?",
        "posthoc": "of fit",
        "knowledge": "recalibration teacher? k? student_side? ts_positions?",
    },
    ("methods.*", "recalibration"): {
        "prob_softmax": "c c_from?",
        "sampled": "draws",
        "label_smoothing": "delta? ls_space?",
    },
    ("scales.*.tokenizers.*", "kind"): {"bpe": "text vocabulary_size?"},
}
KEYS_OF_STAGE = {"teacher": "processes? nodes?", "student": "processes? nodes?"}
# Methods that tables and figures show by name, with their objectives.
SHOWN = {"teacher": "teacher", "finetune": "hard_labels"}
SHOWN |= {"distill": "knowledge", "first_ts": "knowledge"}
# Names of other folders beside those of a scale's models.
RESERVED = {"pretrained", "pruned", "tokenizers", "pairs"}
# How many of train, validation and test a generated dataset has.
SPLITS = {"csqa": 2, "boolq": 2, "obqa": 3, "alpaca": 1}


def check_references(config: dict) -> None:
    """Raise UserError, one line, for the first key that does not fit the others."""
    for wrong, where, what in _checks(config):
        if wrong:
            raise UserError(f"config: {where}: {what}: see config/README.md")


def _checks(config: dict) -> Checks:
    """Checks in order; later ones may rely on earlier ones, as the first failure ends the run."""
    name, scales = config["scale"], names_of_scales(config)
    yield name not in scales, "scale", f"{name!r} is not in scales: {hint(name, scales)}"
    for pattern, target in NAMES.items():
        for path, name in _find(config, pattern):
            entries = config
            for key, own in zip(target.split("."), path.split("."), strict=False):
                entries = entries.get(own if key == "*" else key, {})
            yield name not in entries, path, f"{name!r} is not in {key}: {hint(name, entries)}"
    for (pattern, key), wanted in KEYS.items():
        for path, entry in _find(config, pattern):
            yield from _keys(path, entry, f"{key} {entry.get(key)}", wanted)
    methods = config["methods"]
    for name, objective in SHOWN.items():
        what = f"tables and figures need it with objective {objective}"
        yield methods.get(name, {}).get("objective") != objective, f"methods.{name}", what
    yield "c" not in methods["first_ts"], "methods.first_ts.c", "missing, but Figure 6 shows it"
    for path, name in _find(config, "methods.*.of"):
        trained = methods[name]["objective"] in ("teacher", "hard_labels", "knowledge")
        yield not trained, path, f"{name} trains no model"
    for path, name in _find(config, "methods.*.teacher"):
        trained = methods[name]["objective"] == "hard_labels"
        yield not trained, path, f"{name} trains no student with hard labels"
    for path, entry in _find(config, "ablations.*"):
        yield from ablation_checks(path, entry)
    for path, name in _find(config, "scales.*.figures.figure6_methods.*"):
        yield not isinstance(methods[name].get("c"), float), path, f"{name} has no fixed c"
    yield from dataset_checks(config["datasets"], config["prompts"])
    for path, method in _find(config, "methods.*"):
        yield from _method(path, method, config["datasets"])
    for name, scale in config["scales"].items():
        for wrong, path, what in chain(used_checks(scale, config["datasets"]), _scale(scale)):
            yield wrong, f"scales.{name}.{path}", what


def check_scale(scale: dict, where: str) -> None:
    """Raise UserError, one line, for the first key of a scale that does not fit the others."""
    for wrong, path, what in _scale(scale):
        if wrong:
            raise UserError(f"config: {where}: {path}: {what}: see config/README.md")


def _method(path: str, method: dict, datasets: dict) -> Checks:
    what = f"{method.get('k')}: c is searched at the scale's k, so give c a number"
    yield "k" in method and method.get("c") == "selected", f"{path}.k", what
    what = "has no effect with recalibration sampled"
    yield "k" in method and "draws" in method, f"{path}.k", what
    alone = {"teacher", "draws", "c_from"} & {*method}
    yield len(alone) > 1, path, f"has only one of {' and '.join(sorted(alone))}"
    if task := method.get("c_from"):
        what = f"has no effect with c {method['c']}"
        yield method["c"] != "selected", f"{path}.c_from", what
        what = f"{task} has no validation split"
        yield "validation" not in datasets[task]["splits"], f"{path}.c_from", what


def _scale(scale: dict) -> Checks:
    data, knowledge, models = scale["data"], scale["knowledge"], scale["models"]
    world = data.get("world")
    for name, count in SPLITS.items() if world else ():
        splits = get_args(Split)[:count]
        found = {*world["sizes"].get(name, {})}
        yield found != {*splits}, f"data.world.sizes.{name}", f"needs {splits}"
    for path, kind in _find(scale, "tokenizers.*.kind"):
        yield kind == "world" and not world, path, "kind world needs data.world"
    stored, k = knowledge["stored_k"], knowledge["k"]
    yield stored < k, "knowledge.stored_k", f"{stored}: should be at least k, {k}"
    for stage in get_args(Stage):
        yield stage not in scale["resources"], "resources", f"missing key {stage}"
        needs = scale["resources"][stage]
        yield from _keys(f"resources.{stage}", needs, f"stage {stage}", KEYS_OF_STAGE)
    for path, name in _find(scale, "claims.by_design.*"):
        yield name not in CLAIMS, path, f"{name!r} is no claim: {hint(name, CLAIMS)}"
    for name, model in models.items():
        yield name in RESERVED, f"models.{name}", "reserved name; choose another"
        sources = {key for key, own in model.items() if own is not None} - {"weights"}
        what = "needs one of hub, folder and prune, or bundled, pretrain or both of these"
        alone = len(sources) == 1 or sources == {"bundled", "pretrain"}
        yield not alone, f"models.{name}", what
        useless = "weights" in model and not sources & {"hub", "folder"}
        yield useless, f"models.{name}.weights", "has no effect without hub or folder"
    for path, parent in _find(scale, "models.*.pretrain.start_from"):
        seen = {path.split(".")[1]}
        while parent:
            yield parent in seen, path, f"{parent} continues from itself"
            yield "pretrain" not in models[parent], path, f"{parent} has no key pretrain"
            seen.add(parent)
            parent = models[parent]["pretrain"].get("start_from")
    for path, prune in _find(scale, "models.*.prune"):
        seen, parent = {path.split(".")[1]}, prune["from"]
        while "prune" in models[parent]:
            yield parent in seen, f"{path}.from", f"{parent} is made from itself"
            seen.add(parent)
            parent = models[parent]["prune"]["from"]
        most = _layers_made(models, prune["from"]) or prune["layers"]
        what = f"{prune['layers']}: {prune['from']} has {most}"
        yield prune["layers"] > most, f"{path}.layers", what
    for path, recipe in _find(scale, "models.*.pretrain"):
        both = ("architecture" in recipe) == ("start_from" in recipe)
        yield both, path, "needs one of architecture and start_from"
    for path, shape in _find(scale, "models.*.pretrain.architecture"):
        recipe = models[path.split(".")[1]]["pretrain"]
        longest = max(scale["encoding"]["block_length"], recipe["block_length"])
        short = shape.get("max_position_embeddings", longest) < longest
        yield short, f"{path}.max_position_embeddings", f"should be at least {longest}"
        heads, width = shape["num_attention_heads"], shape["hidden_size"]
        what = f"{2 * heads} should divide hidden_size {width}"
        yield width % (2 * heads), f"{path}.num_attention_heads", what
        groups = shape.get("num_key_value_heads", heads)
        what = f"{groups} should divide num_attention_heads {heads}"
        yield heads % groups, f"{path}.num_key_value_heads", what


def _layers_made(models: dict, name: str) -> int | None:
    """Layers of a model that is pruned or pretrained here; None where only its files tell."""
    recipe = models[name].get("pretrain", {})
    while "start_from" in recipe:
        recipe = models[recipe["start_from"]]["pretrain"]
    layers = recipe.get("architecture", {}).get("num_hidden_layers")
    return models[name].get("prune", {}).get("layers", layers)


def _keys(where: str, entry: dict, choice: str, table: dict[str, str]) -> Checks:
    """Whether an entry has the keys that a choice, such as `kind bpe`, needs, and no others."""
    wanted = table.get(choice.split()[-1], "").split()
    for key in " ".join(table.values()).replace("?", "").split():
        yield key in wanted and key not in entry, where, f"missing key {key}: {choice} needs it"
        useless = key in entry and not {key, f"{key}?"} & {*wanted}
        yield useless, f"{where}.{key}", f"has no effect with {choice}"


def _find(node, pattern: str, path: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """(dotted path, value) of everything in a configuration that a pattern fits."""
    first, _, rest = pattern.partition(".")
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in entries:
        if first in ("*", key):
            here = (*path, str(key))
            yield from _find(value, rest, here) if rest else [(".".join(here), value)]
