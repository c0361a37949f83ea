"""What a schema cannot say of a configuration: that its parts fit together.

Every name that stands for an entry must have that entry, and every job that a table or a figure
rests on must be one that the rules can make.
"""

from __future__ import annotations

import difflib

from scripts.first.errors import UserError

# What the tables and figures show by name, wherever it stands in the configuration.
SHOWN = {
    "teacher": "teacher",
    "finetune": "hard_labels",
    "distill": "knowledge",
    "first_ts": "knowledge",
}
# Names that the workflow itself uses where the entry's name would stand in a path.
TAKEN = {"scale": {"none"}, "tokenizer": {"none"}, "model": {"pretrained", "tokenizers", "pairs"}}


def check_references(config: dict) -> None:
    """UserError, one line, for the first key whose value does not fit what others say."""
    methods = config["methods"]
    _member("scale", config["scale"], config["scales"])
    for name, objective in SHOWN.items():
        if methods.get(name, {}).get("objective") != objective:
            raise UserError(
                f"config: methods.{name}: must be there with objective {objective}: tables and "
                "figures show it: give a variant another name"
            )
    if "c" not in methods["first_ts"]:
        raise UserError("config: methods.first_ts.c: Figure 6 shows its temperature: set it")
    if "csqa" not in config["settings"]["in_domain"]:
        raise UserError("config: settings.in_domain: missing key csqa: Figures 2 to 6 are of it")
    for name in config["table1"]["methods"]:
        _member("table1.methods", name, methods)
    for name, method in methods.items():
        _check_method(f"methods.{name}", method, methods)
    for name, scale in config["scales"].items():
        _free("scale", f"scales.{name}", name)
        _check_scale(f"scales.{name}", scale, config)


def _check_method(where: str, method: dict, methods: dict) -> None:
    objective = method["objective"]
    if objective == "posthoc":
        if "of" not in method:
            raise UserError(f"config: {where}: missing key of: the method whose student it tempers")
        _member(f"{where}.of", method["of"], methods)
        if methods[method["of"]]["objective"] not in ("hard_labels", "knowledge"):
            raise UserError(f"config: {where}.of: {method['of']} is no trained student")
    allowed = {
        "knowledge": {"recalibration", "delta", "ls_space", "c", "student_side", "ts_positions"},
        "posthoc": {"of"},
        "none": {"model"},
    }.get(objective, set())
    for key in method:
        if key not in {"objective"} | allowed:
            raise UserError(f"config: {where}.{key}: has no effect on objective {objective}")
    if objective != "knowledge":
        return
    recalibration = method.get("recalibration")
    if recalibration is None:
        raise UserError(f"config: {where}: missing key recalibration: see config/README.md")
    if (recalibration == "prob_softmax") != ("c" in method):
        raise UserError(f"config: {where}.c: prob_softmax, and nothing else, needs a temperature")
    for key in ("delta", "ls_space"):
        if key in method and recalibration != "label_smoothing":
            raise UserError(f"config: {where}.{key}: has no effect on {recalibration}")


def _check_scale(where: str, scale: dict, config: dict) -> None:
    _check_data(where, scale)
    for name, model in scale["models"].items():
        _free("model", f"{where}.models.{name}", name)
        _check_model(f"{where}.models.{name}", model, scale)
    for name in scale["models"]:
        _check_ancestors(where, name, scale["models"])
    for name, family in scale["families"].items():
        for role in ("teacher", "student"):
            _member(f"{where}.families.{name}.{role}", family[role], scale["models"])
    _member(f"{where}.figures.family", scale["figures"]["family"], scale["families"])
    for name in scale["figures"]["figure6_methods"]:
        _member(f"{where}.figures.figure6_methods", name, config["methods"])
        if not isinstance(config["methods"][name].get("c"), int | float):
            raise UserError(f"config: {where}.figures.figure6_methods: {name} has no fixed c")
    if scale["knowledge"]["stored_k"] < scale["knowledge"]["k"]:
        raise UserError(f"config: {where}.knowledge.stored_k: must be at least k")
    for setting, columns in config["settings"].items():
        for benchmark, corpus in columns.items():
            if (setting == "in_domain") != (benchmark == corpus):
                raise UserError(
                    f"config: settings.{setting}.{benchmark}: trained on {corpus} is not {setting}"
                )
            column = f"settings.{setting}.{benchmark}"
            if corpus not in scale["corpora"]:
                raise UserError(f"config: {where}.corpora: {corpus} is missing: {column} needs it")
            if benchmark not in scale["data"]["datasets"]:
                raise UserError(
                    f"config: {where}.data.datasets: {benchmark} is missing: {column} needs it"
                )


def _check_data(where: str, scale: dict) -> None:
    data, datasets = scale["data"], scale["data"]["datasets"]
    if data["source"] == "world" and "world" not in data:
        raise UserError(f"config: {where}.data: source world needs the key world")
    for corpus in scale["corpora"]:
        _member(f"{where}.corpora", corpus, datasets)
    for name, dataset in datasets.items():
        place = f"{where}.data.datasets.{name}"
        generated = data["source"] == "world"
        if name == "pretraining":
            if not generated:
                raise UserError(f"config: {place}: only source world makes it: remove it")
            if "max_train_rows" not in dataset:
                raise UserError(f"config: {place}: missing key max_train_rows: how many to make")
        for key in () if generated else ("repo", "revision"):
            if key not in dataset:
                raise UserError(f"config: {place}: missing key {key}: source hub needs it")
        for key in ("repo", "revision", "name") if generated else ():
            if key in dataset:
                raise UserError(f"config: {place}.{key}: has no effect on source world")
    for name, tokenizer in scale.get("tokenizers", {}).items():
        place = f"{where}.tokenizers.{name}"
        _free("tokenizer", place, name)
        if tokenizer["kind"] == "world" and "world" not in data:
            raise UserError(f"config: {place}: kind world needs the key {where}.data.world")
        if tokenizer["kind"] == "bpe" and not tokenizer.get("text"):
            raise UserError(f"config: {place}: missing key text: kind bpe is trained on it")
        for text in tokenizer.get("text", []):
            _member(f"{place}.text", text, datasets)


def _check_model(where: str, model: dict, scale: dict) -> None:
    recipe = model.get("pretrain")
    if "hub" in model and ("bundled" in model or recipe):
        raise UserError(f"config: {where}: hub excludes bundled and pretrain")
    if not recipe:
        return
    _member(f"{where}.pretrain.tokenizer", recipe["tokenizer"], scale.get("tokenizers", {}))
    for text in recipe["text"]:
        _member(f"{where}.pretrain.text", text, scale["data"]["datasets"])
    if ("start_from" in recipe) == ("architecture" in recipe):
        raise UserError(f"config: {where}.pretrain: give architecture or start_from")
    shape = recipe.get("architecture")
    if shape is None:
        return
    longest = max(scale["encoding"]["block_length"], recipe["block_length"])
    if shape.get("max_position_embeddings", longest) < longest:
        raise UserError(
            f"config: {where}.pretrain.architecture.max_position_embeddings: must be at least "
            f"{longest}, the block_length of encoding and pretrain"
        )
    heads = shape["num_attention_heads"]
    if shape["hidden_size"] % (2 * heads):
        raise UserError(
            f"config: {where}.pretrain.architecture.num_attention_heads: {heads} heads must "
            f"divide hidden_size {shape['hidden_size']} into even widths"
        )
    if heads % (groups := shape.get("num_key_value_heads", heads)):
        raise UserError(
            f"config: {where}.pretrain.architecture.num_key_value_heads: {groups} must divide "
            f"num_attention_heads {heads}"
        )


def _check_ancestors(where: str, name: str, models: dict) -> None:
    """What a pretraining continues from must itself be pretrained here, and have a beginning."""
    place, seen = f"{where}.models.{name}.pretrain.start_from", {name}
    while (start := models[name].get("pretrain", {}).get("start_from")) is not None:
        _member(place, start, models)
        if "pretrain" not in models[start]:
            raise UserError(f"config: {place}: {start} has no key pretrain: name one that has")
        if start in seen:
            raise UserError(f"config: {place}: {start} continues from itself: break the circle")
        seen.add(start)
        name = start


def _free(kind: str, where: str, name: str) -> None:
    if name in TAKEN[kind]:
        raise UserError(f"config: {where}: the workflow uses this name itself: choose another")


def _member(where: str, name, entries) -> None:
    if name not in entries:
        close = difflib.get_close_matches(name[:80], list(entries), 1)
        others = f"one of {', '.join(entries)}" if entries else "there is none"
        hint = f"did you mean {close[0]!r}?" if close else others
        raise UserError(f"config: {where}: unknown name {name[:80]!r}: {hint}")
