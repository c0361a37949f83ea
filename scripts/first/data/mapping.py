"""What an entry of `datasets` finds in an official row: fields, choices, labels, the answer.

A path is a column, or `column.key` of a struct; of a list of structs it gives the list of that key.
A field whose path ends in `?` may be null or empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.first.errors import UserError, listed

REPAIR = "correct the row in the source, or set `unusable: drop`"
UNLABELLED = "give it one, use a labelled split, or set `unusable: drop`"
WHOLE = re.compile(r"(-?\d+)\.0")  # how a column of integers is written once it had a gap


class Unusable(UserError):
    """A row that cannot be used. `reason`: under what it is counted where such rows are dropped."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def paths(entry: Mapping[str, Any]) -> list[str]:
    """All paths of an entry, without `?`; the columns that are read."""
    found = [entry.get("id"), entry.get("answer"), *entry.get("fields", {}).values()]
    found += [*entry.get("where", {})]
    choices, labels = entry.get("choices"), entry.get("labels")
    found += choices if isinstance(choices, list) else [choices]
    found += [labels] if isinstance(labels, str) else []
    return list(dict.fromkeys(path.removesuffix("?") for path in found if path))


def column(path: str, names: list[str] | Mapping[str, Any]) -> str:
    """The column, one of `names` or not, of a path; names may themselves have dots."""
    return path if path in names else path.split(".")[0]


def value(raw: Mapping[str, Any], path: str, what: str) -> Any:
    """What lies at a path of a row; UserError where a struct has no such key."""
    found, *keys = column(path, raw), *path.split(".")[1:]
    if found not in raw:
        raise UserError(f"no column {found}: {what}: it has {listed(raw)}: correct the entry")
    if found == path:
        return raw[path]
    content = raw[found]
    for key in keys:
        content = _inner(content, key, path, what)
    return content


def _inner(content: Any, key: str, path: str, what: str) -> Any:
    if isinstance(content, list):
        return [_inner(own, key, path, what) for own in content]
    if content is None:
        return None
    if not isinstance(content, Mapping) or key not in content:
        found = listed(content) if isinstance(content, Mapping) else kind(content)
        raise UserError(f"no {key} at {path}: {what}: there is {found}: correct the entry")
    return content[key]


def kind(content: Any) -> str:
    """What a value is, in a message: null, text, a list, or the name of another type."""
    names = {type(None): "null", str: "text", list: "a list", dict: "a struct"}
    return names.get(type(content), type(content).__name__)


def text(content: Any, what: str, where: str, may_be_empty: bool = False) -> str:
    """A value as text; UserError, with `what` it is and `where`, if it is no text or invisible.

    An integer is its digits. may_be_empty: null is empty text.
    """
    if content is None and may_be_empty:
        return ""
    if isinstance(content, int) and not isinstance(content, bool):
        return str(content)
    if not isinstance(content, str):
        raise Unusable("not text", f"{what} is {kind(content)}, not text: {where}: {REPAIR}")
    if not content.isascii() and any("\ud800" <= c <= "\udfff" for c in content):
        raise Unusable("not text", f"{what} has half of a surrogate pair: {where}: {REPAIR}")
    # Zero-width characters are not a question.
    if not may_be_empty and not any(c.isprintable() and not c.isspace() for c in content):
        raise Unusable("empty text", f"empty {what}: {where}: {REPAIR}")
    return content


def fields(entry: Mapping[str, Any], raw: Mapping[str, Any], what: str) -> dict[str, str]:
    """{field: its text} of a row."""
    found = {}
    for name, path in entry.get("fields", {}).items():
        plain = path.removesuffix("?")
        found[name] = text(value(raw, plain, what), plain, what, may_be_empty=plain != path)
    return found


def choices(entry: Mapping[str, Any], raw: Mapping[str, Any], what: str) -> list[str]:
    """Texts of a row's choices, at least two; trailing columns that are null or empty are none."""
    wanted = entry["choices"]
    if isinstance(wanted, list):
        found = [value(raw, path, what) for path in wanted]
        while found and found[-1] in (None, ""):
            found.pop()
    else:
        found = value(raw, wanted, what)
        if not isinstance(found, list):
            own = f"{kind(found)}, not a list of choices"
            raise Unusable(
                "no choices",
                f"{wanted} is {own}: {what}: {REPAIR}, or correct the entry's `choices`",
            )
    if len(found) < 2:
        raise Unusable(
            "fewer than two choices",
            f"{len(found)} choices: {what}: a question has two or more: {REPAIR}",
        )
    return [text(own, what=f"choice {i}", where=what) for i, own in enumerate(found, start=1)]


def gold(entry: Mapping[str, Any], raw: Mapping[str, Any], count: int, what: str) -> int:
    """Index of the right one of `count` choices or candidates.

    The row's answer is looked up among its labels: a column, the entry's list, or 0, 1, 2 and so
    on; of two choices also false and true. UserError for rows without an answer, and for answers
    that are no label.
    """
    labels, answer = entry.get("labels"), value(raw, entry["answer"], what)
    if answer is None or answer != answer:  # null, or NaN
        raise Unusable("no answer", f"no answer (unlabelled row): {what}: {UNLABELLED}")
    if isinstance(labels, str):
        found = value(raw, labels, what)
        if not isinstance(found, list) or len(found) != count or None in found:
            found = found if isinstance(found, list) else [found]
            own = listed("null" if one is None else one for one in found) or "empty"
            raise Unusable(
                "choices without labels",
                f"{count} choices, but {labels} is {own}: {what}: {REPAIR}",
            )
        labels = found
    elif isinstance(labels, list):
        labels = labels[:count]
    elif "choices" in entry and count == 2 and _canonical(answer) in ("false", "true"):
        labels = [False, True]  # not of words: false may stand for the first or for the second
    else:
        labels = list(range(count))
    names = [_canonical(label) for label in labels]
    if len({*names}) < len(names):
        raise Unusable(
            "a label stands twice", f"labels {listed(names)}: {what}: one stands twice: {REPAIR}"
        )
    if (own := _canonical(answer)) in names:
        return names.index(own)
    if is_unlabelled(answer):
        raise Unusable("no answer", f"no answer (unlabelled row): {what}: {UNLABELLED}")
    # Not to be dropped: with labels that are wrong for all rows, some would still be found.
    raise UserError(
        f"answer {answer!r:.60} is not one of {listed(names)}: {what}: correct the entry's "
        "`labels`, or the row in the source"
    )


def is_unlabelled(answer: Any) -> bool:
    """Whether an answer that is no label says that there is none."""
    return answer is None or answer != answer or _canonical(answer) in ("", "-1")


def _canonical(label: Any) -> str:
    """A label as text, the same for 1, 1.0, "1" and "1.0", and for true, True and "true"."""
    name = str(label).strip()
    if whole := WHOLE.fullmatch(name):
        return whole[1]
    return name.lower() if name.lower() in ("true", "false") else name


def admitted(entry: Mapping[str, Any], rows: list[dict], what: str) -> Iterator[int]:
    """Numbers of the rows that have the values of the entry's `where`; all without it.

    A null value is empty text.
    """
    wanted = {
        path: {_canonical(own) for own in (values if isinstance(values, list) else [values])}
        for path, values in entry.get("where", {}).items()
    }
    for i, raw in enumerate(rows):
        found = {path: value(raw, path, what) for path in wanted}
        if all(_canonical("" if found[p] is None else found[p]) in wanted[p] for p in wanted):
            yield i
