"""The configuration's files, read strictly: what YAML lets pass in silence, a run must not.

Snakemake reads them for itself afterwards. Of two equal keys it would take the last, it would run
the Python of a file that says `__use_yte__`, and much that is no YAML would end in a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from scripts.first.errors import UserError

STANDARD = "tag:yaml.org,2002:"
DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]{0,29})")


def read_files(paths: Iterable[str | Path]) -> list[dict]:
    """The content of those of the files that are there; UserError as `read_file` has it."""
    return [read_file(path) for path in paths if Path(path).is_file()]


def read_file(path: str | Path) -> dict:
    """The content of one file. UserError with one line that names the file, and the line in it.

    Refused: what is no YAML in UTF-8, what is no mapping at the top, keys that stand twice or are
    no words, anchors within themselves, whole numbers that YAML reads otherwise than people do
    (010 is 8 there, 1:30 is 90), and top-level keys that the schema does not have.
    """
    import yaml

    try:
        text = Path(path).read_bytes().decode("utf-8")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        if node is not None:
            _check(node, path)
        content = node and loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise UserError(
            f"config: {path}: no UTF-8 at byte {error.start}: save it as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"config: {path}{_place(error)}: correct it") from None
    except RecursionError:
        raise UserError(f"config: {path}: nested too deep: flatten it") from None
    except (ValueError, OverflowError) as error:  # of a date that is none, for one
        raise UserError(f"config: {path}: {_short(error)}: correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"config: {path}: no keys at its top level: see config/README.md")
    _check_top_level(content, path)
    return content


def _check(root, path: str | Path) -> None:
    """Check every node once. A stack and no recursion: text may nest deeper than Python calls."""
    done, above, stack = set(), set(), [(root, False)]
    while stack:
        node, leaving = stack.pop()
        if leaving:
            above.discard(id(node))
            continue
        if id(node) in above:
            raise UserError(f"config: {path}{_line(node)}: an anchor holds itself: untie it")
        if id(node) in done:
            continue
        done.add(id(node))
        if isinstance(node.value, str):
            if node.tag == f"{STANDARD}int" and not DECIMAL.fullmatch(node.value):
                raise UserError(
                    f"config: {path}{_line(node)}: {_short(node.value)}: write whole numbers in "
                    "plain decimal digits, without zeros in front"
                )
            continue
        above.add(id(node))
        stack.append((node, True))
        if node.value and isinstance(node.value[0], tuple):
            _check_keys(node, path)
            stack += [(child, False) for _, child in node.value]
        else:
            stack += [(child, False) for child in node.value]


def _check_keys(mapping, path: str | Path) -> None:
    seen: dict[str, int] = {}
    for key, _ in mapping.value:
        if key.tag == f"{STANDARD}merge":
            continue
        if key.tag != f"{STANDARD}str":
            shown = _short(key.value) if isinstance(key.value, str) else "a list or mapping"
            raise UserError(
                f"config: {path}{_line(key)}: key {shown} is no word: quote or rename it"
            )
        line = key.start_mark.line + 1
        if key.value in seen:
            raise UserError(
                f"config: {path}{_line(key)}: key {_short(key.value)!r} stands twice, first in "
                f"line {seen[key.value]}: keep one"
            )
        seen[key.value] = line


def _check_top_level(content: dict, path: str | Path) -> None:
    from scripts.first.config.check import schema

    known = schema()["properties"]
    for key, value in content.items():
        if key not in known:
            raise UserError(
                f"config: {path}: top level: unknown key {_short(key)!r}: one of {', '.join(known)}"
            )
        if known[key]["type"] == "object" and not isinstance(value, dict):
            raise UserError(f"config: {path}: {key}: holds no keys: see config/README.md")


def _line(node) -> str:
    return f", line {node.start_mark.line + 1}"


def _place(error) -> str:
    """The line and what is wrong there, of an error of PyYAML's."""
    mark = getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}" if mark else ""
    return f"{place}: {_short(getattr(error, 'problem', None) or error)}"


def _short(said: object) -> str:
    """One line of at most 80 printable characters."""
    line = " ".join(str(said).split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= 80 else f"{line[:77]}..."
