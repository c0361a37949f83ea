"""Relations between parts of the configuration: names that must exist, sizes that must fit."""

import difflib
from collections.abc import Iterator
from typing import get_args

from scripts.first.config.models import Config
from scripts.first.config.scale import Recipe, Scale, Stage
from scripts.first.errors import UserError

# Methods that tables and figures show by name.
SHOWN = {
    "teacher": "teacher",
    "finetune": "hard_labels",
    "distill": "knowledge",
    "first_ts": "knowledge",
}
# Keys of a method that one recalibration alone uses.
USED = {"prob_softmax": {"c"}, "label_smoothing": {"delta", "ls_space"}, "none": set()}
# Names that paths of the workflow have in an entry's place.
RESERVED = {"none", "pretrained", "tokenizers", "pairs"}
SPLITS = {
    "csqa": ["train", "validation"],
    "boolq": ["train", "validation"],
    "obqa": ["train", "validation", "test"],
    "alpaca": ["train"],
}
Checks = Iterator[tuple[bool, str, str]]  # (whether it is wrong, dotted key, what is wrong)


def check_references(config: Config) -> None:
    """Raise UserError, one line, for the first key that does not fit the others."""
    for wrong, where, what in _checks(config):
        if wrong:
            advice = "" if what.endswith("?") else ": see config/README.md"
            raise UserError(f"config: {where}: {what}{advice}")


def _checks(config: Config) -> Checks:
    """Checks in order; what comes later may rely on those before, as the first failure ends it."""
    methods = config.methods
    yield _unknown("scale", config.scale, config.scales)
    for name, objective in SHOWN.items():
        found = methods.get(name) and methods[name].objective
        what = f"tables and figures need it with objective {objective}"
        yield found != objective, f"methods.{name}", what
    yield methods["first_ts"].c is None, "methods.first_ts.c", "missing, but Figure 6 shows it"
    for name in config.table1.methods:
        yield _unknown("table1.methods", name, methods)
    for name, method in methods.items():
        where = f"methods.{name}"
        if method.objective == "posthoc":
            yield _unknown(f"{where}.of", method.of, methods)
            trained = methods[method.of].objective in ("hard_labels", "knowledge")
            yield not trained, f"{where}.of", f"{method.of} trains no student"
        if method.objective == "knowledge":
            kind, given = method.recalibration, method.model_fields_set
            for key in ("c", "delta", "ls_space"):
                useless = key in given and key not in USED[kind]
                yield useless, f"{where}.{key}", f"has no effect on recalibration {kind}"
            missing = kind == "prob_softmax" and "c" not in given
            yield missing, f"{where}.c", "missing, but prob_softmax needs it"
    for name, scale in config.scales.items():
        yield name in RESERVED, f"scales.{name}", "reserved name; choose another"
        yield from _scale(f"scales.{name}", scale)
        where = f"scales.{name}.figures.figure6_methods"
        for method in scale.figures.figure6_methods:
            yield _unknown(where, method, methods)
            fixed = isinstance(getattr(methods[method], "c", None), float)
            yield not fixed, where, f"{method} has no fixed c"


def _scale(where: str, scale: Scale) -> Checks:
    data, datasets, generated = scale.data, scale.data.datasets, scale.data.source == "world"
    for name, splits in SPLITS.items() if generated else ():
        found = sorted(data.world.sizes.get(name, ()))
        yield found != sorted(splits), f"{where}.data.world.sizes.{name}", f"needs {splits}"
    made = datasets.get("pretraining")
    where_made = f"{where}.data.datasets.pretraining"
    yield made and made.max_train_rows is None, where_made, "missing key max_train_rows"
    for name, tokenizer in (scale.tokenizers or {}).items():
        place = f"{where}.tokenizers.{name}"
        yield name in RESERVED, place, "reserved name; choose another"
        for text in tokenizer.text or ():
            yield _unknown(f"{place}.text", text, datasets)
        if tokenizer.kind == "world":
            yield not generated, place, "kind world needs data of source world"
        else:
            yield not tokenizer.text, place, "missing key text"
    for name in scale.models:
        yield from _model(f"{where}.models.{name}", name, scale)
    for name, family in scale.families.items():
        yield _unknown(f"{where}.families.{name}.teacher", family.teacher, scale.models)
        yield _unknown(f"{where}.families.{name}.student", family.student, scale.models)
    for corpus in scale.corpora:
        yield _unknown(f"{where}.corpora", corpus, datasets)
    for setting, columns in scale.settings.items():
        for benchmark, corpus in columns.items():
            column = f"{where}.settings.{setting}.{benchmark}"
            misplaced = (setting == "in_domain") != (benchmark == corpus)
            yield misplaced, column, f"trained on {corpus} is not {setting}"
            yield corpus not in scale.corpora, column, f"{corpus} is not in {where}.corpora"
            yield benchmark not in datasets, column, f"not in {where}.data.datasets"
    figures, in_domain = scale.figures, scale.settings.get("in_domain")
    yield not in_domain, f"{where}.settings", "missing key in_domain: figures show a column of it"
    yield _unknown(f"{where}.figures.benchmark", figures.benchmark or [*in_domain][0], in_domain)
    yield _unknown(f"{where}.figures.family", figures.family, scale.families)
    knowledge = scale.knowledge
    yield knowledge.stored_k < knowledge.k, f"{where}.knowledge.stored_k", "should be at least k"
    for stage in get_args(Stage):
        yield stage not in scale.resources, f"{where}.resources", f"missing key {stage}"
        for key in () if stage in ("teacher", "student") else ("processes", "nodes"):
            useless = key in scale.resources[stage].model_fields_set
            yield useless, f"{where}.resources.{stage}.{key}", f"has no effect on stage {stage}"


def _model(where: str, name: str, scale: Scale) -> Checks:
    model = scale.models[name]
    given = model.model_fields_set
    yield name in RESERVED, where, "reserved name; choose another"
    what = "needs hub, or bundled, pretrain or both of these"
    yield not given or ("hub" in given and len(given) > 1), where, what
    if not model.pretrain:
        return
    yield from _recipe(f"{where}.pretrain", model.pretrain, scale)
    where, seen = f"{where}.pretrain.start_from", {name}
    while parent := model.pretrain.start_from:
        yield _unknown(where, parent, scale.models)
        yield parent in seen, where, f"{parent} continues from itself"
        seen.add(parent)
        model = scale.models[parent]
        yield model.pretrain is None, where, f"{parent} has no key pretrain"


def _recipe(where: str, recipe: Recipe, scale: Scale) -> Checks:
    yield _unknown(f"{where}.tokenizer", recipe.tokenizer, scale.tokenizers or {})
    for text in recipe.text:
        yield _unknown(f"{where}.text", text, scale.data.datasets)
    shape = recipe.architecture
    both = bool(shape) == bool(recipe.start_from)
    yield both, where, "needs one of architecture and start_from"
    if shape:
        where, heads = f"{where}.architecture", shape.num_attention_heads
        longest = max(scale.encoding.block_length, recipe.block_length)
        short = (shape.max_position_embeddings or longest) < longest
        yield short, f"{where}.max_position_embeddings", f"should be at least {longest}"
        what = f"{2 * heads} should divide hidden_size {shape.hidden_size}"
        yield shape.hidden_size % (2 * heads), f"{where}.num_attention_heads", what
        what = f"should divide num_attention_heads {heads}"
        yield heads % (shape.num_key_value_heads or 1), f"{where}.num_key_value_heads", what


def _unknown(where: str, name: str, entries) -> tuple[bool, str, str]:
    close = difflib.get_close_matches(name, [*entries], 1)
    hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(entries) or 'none'}"
    return name not in entries, where, f"unknown name {name!r}: {hint}"
