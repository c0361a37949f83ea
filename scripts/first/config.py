"""The workflow's configuration: one schema, one check, one generated reference page.

Used by the rules, by the tests and by `python -m scripts.first.config` (writes config/README.md).
No stage script imports this: a stage knows only its command line.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
from pathlib import Path

from scripts.first.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "config"


def schema() -> dict:
    """The JSON schema of the merged configuration."""
    return json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))


def check(config: dict) -> None:
    """Validate a merged configuration; UserError with one line that names the key."""
    import jsonschema

    _refuse_non_finite(config, "")
    validator = jsonschema.Draft202012Validator(schema())
    errors = sorted(validator.iter_errors(config), key=lambda e: (-len(e.absolute_path), str(e)))
    if errors:
        raise UserError(_one_line(jsonschema.exceptions.best_match(errors)))
    _check_references(config)


def _refuse_non_finite(node, where: str) -> None:
    """NaN passes every bound of a schema, since it compares false with anything."""
    if isinstance(node, float) and not math.isfinite(node):
        raise UserError(f"config: {where[1:]}: {node} is no number: see config/README.md")
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            _refuse_non_finite(child, f"{where}.{key}")


def _one_line(error) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties":
        known = [*error.schema.get("properties", {})]
        unknown = sorted(
            key
            for key in error.instance
            if key not in known
            and not any(_matches(p, key) for p in error.schema.get("patternProperties", {}))
        )
        close = difflib.get_close_matches(str(unknown[0]), known, 1)
        shape = " and ".join(error.schema.get("patternProperties", {}))
        other = f"names match {shape}" if shape else "see config/README.md for the keys"
        hint = f"did you mean {close[0]!r}?" if close else other
        return f"config: {where}: unknown key {str(unknown[0])!r}: {hint}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"config: {where}: missing key {', '.join(missing)}: see config/README.md"
    message = " ".join(error.message.split())
    return f"config: {where}: {message[:300]}: {_description(error) or 'see config/README.md'}"


def _description(error) -> str:
    """What the schema says of the key; of alternatives, what it says of them together."""
    while error is not None:
        if isinstance(error.schema, dict) and error.schema.get("description"):
            return error.schema["description"]
        error = error.parent
    return ""


def _matches(pattern: str, key) -> bool:
    import re

    return re.search(pattern, str(key)) is not None


def _check_references(config: dict) -> None:
    """What a schema cannot say: every name that stands for an entry must have that entry."""
    methods = config["methods"]
    _member("scale", config["scale"], config["scales"])
    for name in config["table1"]["methods"]:
        _member("table1.methods", name, methods)
    for name, method in methods.items():
        _check_method(f"methods.{name}", method, methods)
    for name, scale in config["scales"].items():
        _check_scale(f"scales.{name}", scale, config)


def _check_method(where: str, method: dict, methods: dict) -> None:
    objective = method["objective"]
    if objective == "posthoc":
        _member(f"{where}.of", method.get("of"), methods)
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
    for name, model in scale["models"].items():
        recipe = model.get("pretrain")
        if recipe:
            _member(
                f"{where}.models.{name}.pretrain.tokenizer",
                recipe["tokenizer"],
                scale.get("tokenizers", {}),
            )
            if ("start_from" in recipe) == ("architecture" in recipe):
                raise UserError(
                    f"config: {where}.models.{name}.pretrain: give architecture or start_from"
                )
            if "start_from" in recipe:
                _member(
                    f"{where}.models.{name}.pretrain.start_from",
                    recipe["start_from"],
                    scale["models"],
                )
        if "hub" in model and ("bundled" in model or recipe):
            raise UserError(f"config: {where}.models.{name}: hub excludes bundled and pretrain")
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
    if scale["data"]["source"] == "world" and "world" not in scale["data"]:
        raise UserError(f"config: {where}.data: source world needs the key world")
    for setting, columns in config["settings"].items():
        for benchmark, corpus in columns.items():
            if (setting == "in_domain") != (benchmark == corpus):
                raise UserError(
                    f"config: settings.{setting}.{benchmark}: trained on {corpus} is not {setting}"
                )
            _member(f"settings.{setting}.{benchmark}", corpus, scale["corpora"])
            _member(f"{where}.data.datasets", benchmark, scale["data"]["datasets"])


def _member(where: str, name, entries) -> None:
    if name not in entries:
        close = difflib.get_close_matches(str(name), list(entries), 1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(entries)}"
        raise UserError(f"config: {where}: unknown name {name!r}: {hint}")


def reference() -> str:
    """config/README.md: every key, its type and its description, from the schema."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from `schema.json` by `python -m scripts.first.config`; a test checks it.",
        "`config.yaml` holds the defaults and the methods, `scales/<scale>.yaml` one scale each.",
        "",
        "| key | type | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{key}` | {kind} | {text} |" for key, kind, text in _keys(schema(), "")]
    return "\n".join(lines) + "\n"


def _keys(node: dict, prefix: str):
    for name, child in node.get("properties", {}).items():
        yield from _key(child, f"{prefix}{name}")
    for child in node.get("patternProperties", {}).values():
        yield from _key(child, f"{prefix}<name>")


def _key(node: dict, path: str):
    yield path, _type(node), node.get("description", "")
    yield from _keys(node, f"{path}.")
    if isinstance(node.get("items"), dict) and "properties" in node["items"]:
        yield from _keys(node["items"], f"{path}[].")


def _type(node: dict) -> str:
    if "enum" in node:
        return " / ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node and "type" not in node:
        return " or ".join(_type(child) for child in node["anyOf"])
    if "const" in node:
        return f"`{node['const']}`"
    kind = node.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    return f"list of {_type(node['items'])}" if kind == "array" else kind


def main(argv: list[str]) -> int:
    """Write config/README.md."""
    from scripts.first.files import write_text

    write_text(FOLDER / "README.md", reference())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
