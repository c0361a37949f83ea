"""The workflow's configuration: one schema, one check, one generated reference page.

Used by the rules and by `python -m scripts.first.config.check` (writes config/README.md).
No stage script imports this: a stage knows only its command line.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import sys

from scripts.first import ROOT
from scripts.first.errors import UserError

FOLDER = ROOT / "config"
TYPES = {
    "object": "a mapping of keys to values",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
MOST_NODES, DEEPEST = 50_000, 30  # of a configuration with its anchors written out


def schema() -> dict:
    """The JSON schema of the merged configuration."""
    return json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))


def check(config: dict) -> None:
    """Validate a merged configuration; UserError with one line that names the key."""
    import jsonschema

    from scripts.first.config.references import check_references

    _refuse_strange(config)
    base = jsonschema.Draft202012Validator
    # 5.0 is an integer of JSON; no seed is called 5.0, and no option of a script takes it.
    whole = base.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = jsonschema.validators.extend(base, type_checker=whole)(schema())
    errors = list(validator.iter_errors(config))
    if errors:
        # A misspelt key is missing too: what stands there says more than what does not.
        unknown = [error for error in errors if error.validator == "additionalProperties"]
        raise UserError(_one_line(jsonschema.exceptions.best_match(unknown or errors)))
    check_references(config)


def _refuse_strange(config: dict) -> None:
    """What a schema cannot see, or stumbles over.

    NaN passes every bound, since it compares false with anything; `$` of a pattern passes a final
    newline; a key that is no text raises a TypeError; an anchor within itself has no end.
    """
    nodes, stack = 0, [(config, ())]
    while stack:
        node, path = stack.pop()
        nodes += 1
        if nodes > MOST_NODES or len(path) > DEEPEST:
            raise UserError(f"config: {_where(path)[:200]}: anchors without end: untie them")
        if not isinstance(node, dict | list | str | int | float | None):
            raise UserError(
                f"config: {_where(path)}: a {type(node).__name__} is no value here: quote it"
            )
        if isinstance(node, float) and not math.isfinite(node):
            raise UserError(f"config: {_where(path)}: {node} is no number: see config/README.md")
        if isinstance(node, str) and path[-1] != "description" and not node.isprintable():
            raise UserError(
                f"config: {_where(path)}: {ascii(node)[:80]} has unprintable characters: remove "
                "them"
            )
        for key in node if isinstance(node, dict) else ():
            if not isinstance(key, str) or not key.isprintable():
                raise UserError(
                    f"config: {_where(path)}: key {ascii(key)[:80]} is no word: rename it"
                )
        if isinstance(node, dict | list):
            pairs = node.items() if isinstance(node, dict) else enumerate(node)
            stack += [(child, (*path, key)) for key, child in pairs]


def _where(path) -> str:
    return ".".join(map(_shown, path)) or "top level"


def _shown(part) -> str:
    text = str(part)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _one_line(error) -> str:
    where = _where(error.absolute_path)
    if error.validator == "additionalProperties":
        known = [*error.schema.get("properties", {})]
        patterns = error.schema.get("patternProperties", {})
        unknown = sorted(
            key
            for key in error.instance
            if key not in known and not any(re.search(pattern, key) for pattern in patterns)
        )
        close = difflib.get_close_matches(unknown[0][:80], known, 1)
        shape = " and ".join(patterns)
        other = f"names match {shape}" if shape else "see config/README.md for the keys"
        hint = f"did you mean {close[0]!r}?" if close else other
        return f"config: {where}: unknown key {_shown(unknown[0])!r}: {hint}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"config: {where}: missing key {', '.join(missing)}: see config/README.md"
    message = " ".join(error.message.split())
    if error.validator == "type":
        words = error.validator_value
        kinds = " or ".join(TYPES[word] for word in ([words] if isinstance(words, str) else words))
        message = f"{_shown(json.dumps(error.instance, default=str))}: it must be {kinds}"
    return f"config: {where}: {message[:300]}: {_description(error) or 'see config/README.md'}"


def _description(error) -> str:
    """What the schema says of the key; of alternatives, what it says of them together."""
    while error is not None:
        if isinstance(error.schema, dict) and error.schema.get("description"):
            return error.schema["description"]
        error = error.parent
    return ""


def reference() -> str:
    """config/README.md: every key, its type and its description, from the schema."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from `schema.json` by `python -m scripts.first.config.check`; a test checks it.",
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
