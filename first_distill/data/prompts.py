"""Official rows become uniform rows: an entry's mapping, rendered by its templates.

Texts of rows are used byte for byte. A prompt ends right before the first character that the model
has to produce. Out-of-domain benchmarks have the same prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any

from first_distill.data import mapping
from first_distill.errors import UserError, reason

if TYPE_CHECKING:
    from jinja2 import Environment

LETTERS = {"lower": ascii_lowercase, "upper": ascii_uppercase}
PLACE = "\ue000\ue001\ue000"  # private characters: where a text that may be shortened will stand


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a uniform table.

    candidates: what may follow the prompt, in the order of the choices; empty for a corpus of free
    text. answer: the right candidate, None if there is none.
    shorten_start, shorten_end: prompt[start:end] may be shortened in training; -1, -1 if nothing
    may.
    """

    prompt: str
    response: str
    candidates: tuple[str, ...] = ()
    answer: str | None = None
    shorten_start: int = -1
    shorten_end: int = -1


def jinja() -> Environment:
    """Jinja2 for templates that know the row's fields alone and print only text and numbers.

    The text of anything else, such as a list, is that of Python and may differ from run to run.
    """
    from jinja2 import StrictUndefined, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def finalize(value: Any) -> Any:
        if isinstance(value, str | int | float | Undefined):  # the last one complains itself
            return value
        hint = ": add its ()" if callable(value) else ""
        raise TypeError(f"it prints {mapping.kind(value)}, not text or a number{hint}")

    options = {"undefined": StrictUndefined, "keep_trailing_newline": True, "finalize": finalize}
    environment = ImmutableSandboxedEnvironment(**options)
    environment.globals.clear()
    del environment.filters["random"]
    return environment


class Prompt:
    """The templates of an entry of `datasets`, whose `prompt` holds them."""

    def __init__(self, entry: Mapping[str, Any], dataset: str) -> None:
        self.entry, self.dataset = entry, dataset
        templates = entry["prompt"]
        self.candidates = templates.get("candidates")
        self.shorten = templates.get("shorten")
        if self.candidates is not None and "answer" not in entry:
            raise UserError(
                f"no answer: entry {dataset}: its prompt has candidates: name its column"
            )
        environment, self.templates = jinja(), {}
        for part in ("text", "response"):
            try:
                self.templates[part] = environment.from_string(templates[part])
            except Exception as error:  # such as Python's, of what Jinja2 made of the template
                raise self._error(part, error) from None

    def row(self, raw: Mapping[str, Any], what: str) -> Row:
        """The uniform row of an official row; UserError, with `what`, if it is not usable."""
        entry, values = self.entry, mapping.fields(self.entry, raw, what)
        candidates: tuple[str, ...] = ()
        answer = None
        if self.candidates is not None:
            given = self.candidates
            candidates = tuple(LETTERS[given] if isinstance(given, str) else given)
            if "choices" in entry:
                texts = mapping.choices(entry, raw, what)
                if len(texts) > len(candidates):
                    raise mapping.Unusable(
                        "more choices than candidates",
                        f"{len(texts)} choices: {what}: the prompt has {len(candidates)} "
                        f"candidates: {mapping.REPAIR}, or correct the prompt",
                    )
                candidates = candidates[: len(texts)]
                pairs = zip(candidates, texts, strict=True)
                values["choices"] = [{"letter": a, "text": b} for a, b in pairs]
            answer = candidates[mapping.gold(entry, raw, len(candidates), what)]
        prompt, start, end = self._render("text", values, what), -1, -1
        if passage := values.get(self.shorten):
            head, *tail = self._render("text", {**values, self.shorten: PLACE}, what).split(PLACE)
            if [prompt] != [head + passage + part for part in tail]:
                raise UserError(
                    f"prompt of {self.dataset}: {self.shorten}, which may be shortened, must stand "
                    f"in it once and unchanged: {what}: correct the template"
                )
            start, end = len(head), len(head) + len(passage)
        response = self._render("response", {**values, "answer": answer}, what)
        return Row(prompt, response, candidates, answer, start, end)

    def _render(self, part: str, values: dict[str, Any], what: str) -> str:
        try:
            return self.templates[part].render(values)
        except Exception as error:  # a template is the user's program
            raise self._error(part, error, what) from None

    def _error(self, part: str, error: Exception, what: str = "") -> UserError:
        place = f"prompt of {self.dataset}: {part}: {reason(error)}"
        return UserError(f"{place}{what and ': '}{what}: correct the template")
