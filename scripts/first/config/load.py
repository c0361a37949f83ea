"""Reading the configuration: strict YAML files, merged as Snakemake merges them, then validated."""

import difflib
import reprlib
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import yaml
from pydantic import ValidationError

from scripts.first import ROOT
from scripts.first.config.models import Config
from scripts.first.config.reference import locate
from scripts.first.config.references import check_references
from scripts.first.errors import UserError

FOLDER = ROOT / "config"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def own_files() -> list[Path]:
    """config.yaml and every scale beside it, in the order in which they are merged."""
    return [FOLDER / "config.yaml", *sorted((FOLDER / "scales").glob("*.yaml"))]


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
            _check_node(node)
        content = node and loader.construct_document(node)
    except OSError as error:
        raise UserError(f"config: {path}: {error.strerror}: check the path") from None
    except UnicodeDecodeError as error:
        what = f"not UTF-8 at byte {error.start}"
        raise UserError(f"config: {path}: {what}: save it as UTF-8") from None
    except RecursionError:
        raise UserError(f"config: {path}: nested too deeply: flatten it") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
        raise UserError(f"config: {path}{line}: {_printable(what)}: correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"config: {path}: no keys at its top level: see config/README.md")
    return content


def _check_node(node: yaml.Node, above: frozenset = frozenset(), done: set | None = None) -> None:
    """Refuse keys that occur twice, of which YAML uses the last, and anchors within themselves."""
    done = set() if done is None else done
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="anchor contains itself", problem_mark=node.start_mark)
    if id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith(":int") and len(node.value) > 40:
            raise yaml.MarkedYAMLError(problem="number too long", problem_mark=node.start_mark)
        return
    children, keys = node.value, set()
    if isinstance(node, yaml.MappingNode):
        children = [child for _, child in node.value]
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in keys:
                problem = f"key {key.value!r} occurs twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            keys.add(str(key.value))
    for child in children:
        _check_node(child, above | {id(node)}, done)


def merge(below: dict, above: dict) -> dict:
    """`above` laid over `below`, mapping by mapping, as snakemake.utils.update_config does."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def validated(content: dict) -> dict:
    """The content with the types of the models, the given keys only; UserError names a key."""
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A misspelt key is missing too; what is there says more than what is not.
        raise UserError(_one_line(min(errors, key=lambda e: not _is_unknown(e)))) from None
    check_references(config)
    return config.model_dump(exclude_unset=True)


def _is_unknown(error: dict) -> bool:
    return error["type"] in ("extra_forbidden", "invalid_key") or "[key]" in error["loc"]


def _one_line(error: dict) -> str:
    """`config: <dotted key>: <what is wrong>: <advice>`, of an error of pydantic's."""
    path, schemas = locate(error["loc"])
    kind, shown, advice = error["type"], reprlib.repr(error["input"]), "see config/README.md"
    if kind == "missing":
        what = f"missing key {path.pop()}"
    elif kind == "union_tag_not_found":
        what = f"missing key {error['ctx']['discriminator']}"
    elif kind == "union_tag_invalid":
        path.append(error["ctx"]["discriminator"].strip("'"))
        what = f"{error['ctx']['tag']!r:.80}: should be one of {error['ctx']['expected_tags']}"
    elif _is_unknown(error):
        key, here = (error["input"] if "[key]" in error["loc"] else path[-1]), schemas[-2]
        what = f"unknown key {key!r:.80}"
        names = [*here.get("properties", here.get("propertyNames", {}).get("enum", ()))]
        close = difflib.get_close_matches(str(path.pop())[:80], names, 1)
        pattern = " ".join(here.get("patternProperties", ()))
        advice = f"one of {', '.join(names)}" if names else f"names match {pattern}"
        advice = f"did you mean {close[0]!r}?" if close else advice
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        what = f"{shown}: should be a mapping of keys to values"
    else:
        what = f"{shown}: {error['msg'].removeprefix('Value error, ').removeprefix('Input ')}"
        advice = schemas[-1].get("description", advice)
    return f"config: {'.'.join(map(_printable, path)) or 'top level'}: {what}: {advice}"


def _printable(part) -> str:
    text = str(part)[:80]
    return text if text.isprintable() else ascii(text)[1:-1]
