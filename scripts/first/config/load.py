"""Reading the configuration: strict YAML files, merged as Snakemake merges them, then validated."""

import difflib
import re
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
LONGEST_NUMBER = 40  # characters


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
        raise _marked("the anchor contains itself", node)
    if id(node) in done:
        return
    done.add(id(node))
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise _marked(f"key {key.value!r} occurs twice", key)
        children = [child for _, child in node.value]
    elif node.tag.endswith(":int") and len(node.value) > LONGEST_NUMBER:
        raise _marked("number with too many digits", node)
    for child in children:
        _check_node(child, above | {id(node)}, done)


def _marked(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


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
        unknown = [
            e for e in errors if e["type"] == "extra_forbidden" or e["loc"][-1:] == ("[key]",)
        ]
        raise UserError(_one_line((unknown or errors)[0])) from None
    check_references(config)
    return config.model_dump(exclude_unset=True)


def _one_line(error: dict) -> str:
    """`config: <dotted key>: <what is wrong>: <advice>`, of an error of pydantic's."""
    path, schemas = locate(error["loc"])
    kind, advice = error["type"], "see config/README.md"
    if kind == "missing":
        what = f"missing key {path.pop()}"
    elif kind == "union_tag_not_found":
        what = f"missing key {error['ctx']['discriminator']}"
    elif kind == "extra_forbidden" or error["loc"][-1] == "[key]":
        names = schemas[-2].get("propertyNames", {})
        known = [*schemas[-2].get("properties", names.get("enum", ()))]
        close = difflib.get_close_matches(path[-1][:80], known, 1)
        shape = " and ".join(schemas[-2].get("patternProperties", ()))
        advice = f"one of {', '.join(known)}" if known else f"names match {shape}"
        advice = f"did you mean {close[0]!r}?" if close else advice
        what = f"unknown key {_printable(repr(path.pop())[:80])}"
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        what = f"{reprlib.repr(error['input'])}: should be a mapping of keys to values"
    else:
        what = re.sub(
            "^(Value error, |(Input|String|List|Dictionary|Input tag) )", "", error["msg"]
        )
        what = f"{reprlib.repr(error['input'])}: {what}"
        advice = schemas[-1].get("description", advice)
    return f"config: {_dotted(path)}: {what}: {advice}"


def _dotted(path: Iterable) -> str:
    return ".".join(_printable(str(part))[:80] for part in path) or "top level"


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
