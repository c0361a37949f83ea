"""Reading the configuration: strict YAML files, merged as Snakemake merges them, then validated."""

import reprlib
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import yaml
from pydantic import ValidationError

from first_distill import ROOT
from first_distill.config.datasets import hint
from first_distill.config.models import Config, Scale
from first_distill.config.reference import alternatives, children, schema
from first_distill.config.references import check_references, check_scale
from first_distill.config.types import VARIANT
from first_distill.config.variants import merge, merged_variants, multiplied
from first_distill.errors import UserError

FOLDER = ROOT / "config"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
GUIDE = "see config/README.md"


def own_files() -> list[Path]:
    """Methods, datasets, ablations and every scale, in the order in which they are merged."""
    return [
        FOLDER / "config.yaml",
        FOLDER / "datasets.yaml",
        FOLDER / "ablations.yaml",
        *sorted((FOLDER / "scales").glob("*.yaml")),
    ]


def load(paths: Iterable[str | Path], overrides: dict | None = None) -> dict:
    """The files' content merged in their order, `overrides` last, validated.

    Text that stands for a number or a boolean, as in nested values of Snakemake's `--config`,
    becomes one. Raises UserError, one line that names the file or the key.
    """
    return validated(reduce(merge, [*map(read, paths), overrides or {}], {}))


def read(path: str | Path) -> dict:
    """The content of one file. UserError names the file, and the line where that is known."""
    try:
        loader = LOADER(Path(path).read_bytes().decode("utf-8"))
        if (node := loader.get_single_node()) is not None:
            _check_node(node, set())
        content = node and loader.construct_document(node)
    except (OSError, yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
        raise UserError(f"config: {path}{line}: {_printable(what)}: correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"config: {path}: no keys at its top level: {GUIDE}")
    return content


def _check_node(node: yaml.Node, done: set, above: frozenset = frozenset()) -> None:
    """Refuse keys that occur twice, of which YAML uses the last, and anchors within themselves."""
    problem, place = "anchor contains itself" if node in above else "", node
    children = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        children = [child for _, child in node.value]
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        names = [key.value for key in keys]
        if twice := [key for i, key in enumerate(keys) if key.value in names[:i]]:
            problem, place = f"key {twice[0].value!r} occurs twice", twice[0]
    if problem:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
    if node not in done:
        done.add(node)
        for child in children:
            _check_node(child, done, above | {node})


def validated(content: dict) -> dict:
    """The content with the types of the models, the given keys only; UserError names a key."""
    try:
        config = Config.model_validate(content).model_dump(exclude_unset=True, by_alias=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A misspelt key is reported as missing too: prefer the error about the key that is there.
        first = min(_of_best_forms(found), key=lambda e: e["type"] == "missing")
        raise UserError(_one_line(first)) from None
    check_references(config)
    with_variants(config)
    return config


def with_variants(config: dict) -> dict:
    """A validated configuration, with the variants of its scales among them, validated too.

    A factor in a scale is multiplied out. Raises UserError, one line that names the variant's key.
    """
    scales, changing = {**config["scales"]}, set()
    for scale, variant, settings in merged_variants(config):
        where = f"variants.{variant}"
        try:
            own = Scale.model_validate(settings).model_dump(exclude_unset=True, by_alias=True)
        except ValidationError as error:
            first = _of_best_forms(_below(("scales", scale), error))[0]
            raise UserError(_one_line(first).replace(f"scales.{scale}", where, 1)) from None
        check_scale(own, f"{where} of scale {scale}")
        scales[f"{scale}{VARIANT}{variant}"] = own
        if multiplied(own) != multiplied(scales[scale]):
            changing.add(variant)
    for variant, changes in config["variants"].items():
        if variant not in changing:
            what = f"variants.{variant}: {reprlib.repr(changes)}: changes no setting of any scale"
            raise UserError(f"config: {what}: {GUIDE}")
    return {**config, "scales": {name: multiplied(own) for name, own in scales.items()}}


def _below(place: tuple[str, ...], error: ValidationError) -> list[dict]:
    return [{**e, "loc": (*place, *e["loc"])} for e in error.errors(include_url=False)]


def _of_best_forms(errors: list[dict]) -> list[dict]:
    """The errors, but where a value may have several forms, not those of forms far from it.

    Those say that it is of another type, and another error is about something in it.
    """

    def far(error: dict) -> bool:
        choice = error["type"] == "literal_error" and not isinstance(error["input"], str)
        return choice or error["type"].endswith("_type")

    def better(error: dict, other: dict) -> bool:
        above = error["loc"][:-1]
        inside = len(other["loc"]) > len(error["loc"]) or not far(other)
        return other is not error and other["loc"][: len(above)] == above and inside

    several = [e for e in errors if far(e) and "anyOf" in _walk(e["loc"][:-1])[1][-1]]
    return [e for e in errors if e not in several or not any(better(e, o) for o in errors)]


def _walk(loc: tuple) -> tuple[list, list[dict]]:
    """(keys, the schemas at the top and of each key) of an error's place."""
    path, schemas, rest = [], [schema()], list(loc)
    while rest and rest[0] != "[key]":
        part, node = rest.pop(0), schemas[-1]
        if "anyOf" in node:  # `part` names the form that was tried; it is not a key
            forms = {form.get("title", form.get("type")): form for form in alternatives(node)}
            inner = forms.get(part) or forms.get("array" if rest else "", {})
            schemas[-1] = {"description": node.get("description", ""), **inner}
        else:
            below = children(node)
            schemas.append(below.get(part) or below.get("<name>", {}))
            path.append(part)
    return path, schemas


def _one_line(error: dict) -> str:
    """`config: <dotted key>: <what is wrong>: <advice>`, of an error of pydantic's."""
    path, schemas = _walk(error["loc"])
    what = f"{reprlib.repr(error['input'])}: {error['msg'].removeprefix('Value error, ')}"
    advice = schemas[-1].get("description") or GUIDE
    if error["type"] == "string_type" and isinstance(error["input"], bool):
        advice = "quote it: YAML takes Yes and No for true and false"
    if error["type"] == "missing":
        what, advice = f"missing key {path.pop()}", GUIDE
    elif error["type"] in ("extra_forbidden", "invalid_key") or "[key]" in error["loc"]:
        name = path.pop()
        key = error["input"] if "[key]" in error["loc"] else name
        above = schemas[-2]
        known = above.get("properties") or above.get("propertyNames", {}).get("enum")
        what, advice = f"unknown key {key!r:.80}", hint(str(name), known) if known else GUIDE
        for pattern in above.get("patternProperties", {}):
            what, advice = f"name {key!r:.80}", f"names have the form {pattern.strip('^$')}"
    return f"config: {'.'.join(map(_printable, path)) or 'top level'}: {what}: {advice}"


def _printable(part) -> str:
    text = str(part)[:80]
    return text if text.isprintable() else ascii(text)[1:-1]
