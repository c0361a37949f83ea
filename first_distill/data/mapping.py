"""What an entry of `datasets` finds in an official row: fields, choices, labels, the answer.

A path is a column, or `column.key` of a struct; of a list of structs it gives the list of that key.
A field whose path ends in `?` may be null or empty, unless a column has that very name. Where a
struct lacks a key that others have, there is null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from first_distill.errors import UserError, listed

REPAIR = "correct the row in the source, or set `unusable: drop`"
UNLABELLED = "give it one, use a labelled split, or set `unusable: drop`"
WHOLE = re.compile(r"(-?\d+)\.0")  # how a column of integers is written once it had a gap


class Unusable(UserError):
    """A row that cannot be used. `reason`: under what it is counted where such rows are dropped."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def paths(entry: Mapping[str, Any]) -> list[str]:
    """All paths of an entry, as they stand in it; the columns that are read."""
    return list(dict.fromkeys([*_needed(entry), *entry.get("fields", {}).values()]))


def _needed(entry: Mapping[str, Any]) -> list[str]:
    """The paths but for those of fields, which alone may be optional."""
    choices, labels = entry.get("choices"), entry.get("labels")
    found = [entry.get("id"), entry.get("answer"), *entry.get("where", {})]
    found += choices if isinstance(choices, list) else [choices]
    found += [labels] if isinstance(labels, str) else []
    return [path for path in found if path]


def column(path: str, names: list[str] | Mapping[str, Any]) -> str:
    """The column, one of `names` or not, of a path; names may have dots or a last `?`."""
    known = [name for name in (path, path.removesuffix("?")) if name in names]
    return known[0] if known else path.split(".")[0]


def check_keys(
    entry: Mapping[str, Any], splits: Mapping[str, list[dict]], place: Callable[[str, int], str]
) -> None:
    """UserError for a key of a path that no struct has, in any row of {official split: its rows}.

    place: the name of a row, given its split and number.
    """
    optional = [path.removesuffix("?") for path in entry.get("fields", {}).values()]
    for path in dict.fromkeys([*_needed(entry), *optional]):
        first, *keys = path.split(".")
        found = [
            (raw.get(first), split, i)
            for split, rows in splits.items()
            for i, raw in enumerate(rows)
            if keys and path not in raw
        ]
        for key in keys:
            structs = [(own, *at) for content, *at in found for own in _structs(content)]
            if structs and not any(key in own for own, *_ in structs):
                own, split, i = structs[0]
                there = f"{place(split, i)}: there is {listed(own) or 'an empty struct'}"
                raise UserError(f"no {key} at {path}: {there}: correct the entry")
            found = [(own.get(key), *at) for own, *at in structs]


def _structs(content: Any) -> list[Mapping[str, Any]]:
    if isinstance(content, list):
        return [own for part in content for own in _structs(part)]
    return [content] if isinstance(content, Mapping) else []


def value(raw: Mapping[str, Any], path: str, what: str) -> Any:
    """What lies at a path of a row, None where its struct lacks the key; UserError for no struct.

    :func:`check_keys` refuses paths that no row has.
    """
    if path in raw:
        return raw[path]
    first, *keys = path.split(".")
    if first not in raw:
        raise UserError(f"no column {first}: {what}: it has {listed(raw)}: correct the entry")
    content = raw[first]
    for key in keys:
        content = _inner(content, key, path, what)
    return content


def _inner(content: Any, key: str, path: str, what: str) -> Any:
    if isinstance(content, list):
        return [_inner(own, key, path, what) for own in content]
    if content is None:
        return None
    if not isinstance(content, Mapping):
        there = f"there is {kind(content)}"
        raise UserError(f"no {key} at {path}: {what}: {there}: correct the entry")
    return content.get(key)


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
        plain = path if path in raw else path.removesuffix("?")
        own = value(raw, plain, what)
        found[name] = text(own, plain, what, may_be_empty=plain != path)
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
        if count > len(labels):
            raise Unusable(
                "choices without labels",
                f"{count} choices, but `labels` lists {len(labels)}: {what}: {REPAIR}, or correct "
                "the entry's `labels`",
            )
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
    quote = ""
    if any(isinstance(label, bool) for label in labels) and own.lower() in ("yes", "no"):
        quote = ' (quote "yes" and "no", which YAML takes for true and false)'
    # Not to be dropped: with labels that are wrong for all rows, some would still be found.
    raise UserError(
        f"answer {answer!r:.60} is not one of {listed(names)}: {what}: correct the entry's "
        f"`labels`{quote}, or the row in the source"
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
