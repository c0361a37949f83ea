"""One entry of `datasets`: where official rows lie, and how a row becomes a question."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, get_args

from jinja2 import Environment, TemplateSyntaxError, meta
from pydantic import AfterValidator, BeforeValidator, Field

from first_distill.config.types import (
    HUB_NAME,
    Commit,
    Folder,
    Fraction,
    HubId,
    Line,
    Model,
    Name,
    Rows,
    Split,
    Unique,
    key,
)
from first_distill.errors import reason

LISTED = 20  # known names in a hint


def fields_of(template: str) -> set[str]:
    """Names that a template takes from the row."""
    jinja = Environment()
    jinja.globals.clear()
    return meta.find_undeclared_variables(jinja.parse(template))


def _template(text: str) -> str:
    try:
        fields_of(text)
        Environment().compile(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"template, line {error.lineno}: {error.message}") from None
    except Exception as error:  # such as Python's, of what Jinja2 made of the template
        raise ValueError(f"template: {reason(error)}") from None
    return text


def _whole(label):
    """1.0 as 1, also in lists and mappings: pydantic would take it for true."""
    if isinstance(label, dict):
        return {name: _whole(own) for name, own in label.items()}
    if isinstance(label, list):
        return [_whole(own) for own in label]
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _label(label):
    """Say at once what pydantic would say of each type; a list may be another form of the key."""
    several = label if isinstance(label, list) else [label]
    if all(isinstance(own, str | bool | int) for own in several):
        return label
    raise ValueError(
        'should be text, a whole number, true or false: quote what is text, "" is an empty cell'
    )


Checks = Iterator[tuple[bool, str, str]]  # (whether it is wrong, dotted key, what is wrong)
Template = Annotated[str, Field(max_length=20_000), AfterValidator(_template)]
Column = Annotated[Line, Field(min_length=1)]
Label = Annotated[
    bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | Line, BeforeValidator(_label)
]
Labels = Annotated[list[Label], Unique, Field(min_length=2)]
Words = Annotated[list[Column], Unique, Field(min_length=2)]


class Prompt(Model):
    text: Template = key("Template of the prompt, of an entry's fields and `choices`.")
    response: Template = key("Template of the response; may also use `answer`.")
    candidates: Literal["lower", "upper"] | Words = key(
        "Letters of the choices, or the words to choose from; none: free text.", None
    )
    shorten: Name = key("Field that may be shortened in training, where a row is too long.", None)


class Dataset(Model):
    repo: HubId = key("Id on the hub.", None)
    revision: Commit = key("Full commit on the hub.", None)
    name: str = key(
        "Configuration of the hub dataset or of the folder.", None, pattern=f"^{HUB_NAME}$"
    )
    mirror: HubId = key("What a mirror has in the place of `repo`.", None)
    path: Folder = key("Your own file, or folder of files, instead of `repo`.", None, min_length=1)
    splits: dict[Split, Column] = key("The official split of each split; `train` of a single file.")
    validation_share: Fraction = key("Replaces the scale's, where splits share one.", None)
    test_share: Fraction = key("Share of the test split, where it shares an official one.", None)
    rows: dict[Split, Rows] = key("Draw so many rows of a split.", None)
    where: Annotated[dict[Column, Label | list[Label]], BeforeValidator(_whole)] = key(
        "Only rows with these values.", None
    )
    duplicates: Literal["refuse", "drop"] = key(
        "Questions that stand in two splits; default refuse.", None
    )
    unusable: Literal["refuse", "drop"] = key(
        "Rows without an answer, a choice and the like; default refuse.", None
    )
    id: Column = key("Column of the official id, which must be unique.", None)
    fields: dict[Name, Column] = key(
        "Texts of the templates: a column each, `column?` if optional."
    )
    choices: Column | Annotated[list[Column], Field(min_length=2), Unique] = key(
        "Column of the choices' texts, or one column a choice.", None
    )
    labels: Annotated[Column | Labels, BeforeValidator(_whole)] = key(
        "Column of the choices' labels, or their list; default 0, 1, 2 ...", None
    )
    answer: Column = key("Column of the right choice's label.", None)
    prompt: Name | Prompt = key("Name of one of `prompts`, or templates.")


def used(scale: dict) -> dict[str, set[str]]:
    """{dataset: splits that a scale needs}: benchmarks, then corpora, then pretraining text."""
    columns = [pair for benchmarks in scale["settings"].values() for pair in benchmarks.items()]
    found: dict[str, set[str]] = {}
    for benchmark, _ in columns:
        found.setdefault(benchmark, set()).add("test")
    for _, corpus in columns:
        found.setdefault(corpus, set()).update(("train", "validation"))
    recipes = [model["pretrain"] for model in scale["models"].values() if "pretrain" in model]
    for recipe in (*(scale.get("tokenizers") or {}).values(), *recipes):
        for name in recipe.get("text", ()):
            found.setdefault(name, set()).add("train")
    return found


def entry_for(name: str, config: dict, data: dict) -> dict:
    """An entry as stage data gets it: its prompt's templates in place of their name, and what the
    key `data` of a scale says of its rows and of its validation and training shares."""
    entry = config["datasets"][name]
    prompt = config["prompts"].get(str(entry["prompt"]), entry["prompt"])
    rows = {**entry.get("rows", {}), **data.get("rows", {}).get(name, {})}
    shares = {name: data[name] for name in ("validation_share", "train_share") if name in data}
    return {**shares, **entry, "prompt": prompt, "rows": rows}


def dataset_checks(datasets: dict, prompts: dict) -> Checks:
    """Checks of every entry of `datasets`, by itself and with its prompt."""
    for name, entry in datasets.items():
        where = f"datasets.{name}"
        yield name == "none", where, "reserved name; choose another"
        both = "repo" in entry and "path" in entry
        what = f"has no effect beside repo {entry.get('repo')}; leave one out or rename it"
        yield both, f"{where}.path", what
        for own in ("revision", "name", "mirror"):
            folder = own == "name" and "path" in entry  # its README.md may have configurations
            useless = own in entry and "repo" not in entry and not folder
            yield useless, f"{where}.{own}", "has no effect without repo"
        known = ("train validation test", "train validation", "train", "test")
        splits = " ".join(split for split in get_args(Split) if split in entry["splits"])
        what = f"has {splits or 'none'}; needs one of {', or '.join(known)}"
        yield splits not in known, f"{where}.splits", what
        origins = [*entry["splits"].values()]
        shared = origins.count(entry["splits"].get("test")) > 1
        yield shared and "test_share" not in entry, where, "missing key test_share: test is a part"
        useless = "test_share" in entry and not shared
        yield useless, f"{where}.test_share", "has no effect where test has its own official split"
        useless = entry["splits"].get("validation") != entry["splits"].get("train")
        what = "has no effect where validation has its own official split"
        yield useless and "validation_share" in entry, f"{where}.validation_share", what
        for split in entry.get("rows", {}):
            what = f"datasets.{name} has no such split"
            yield split not in entry["splits"], f"{where}.rows.{split}", what
        prompt, where = entry["prompt"], f"{where}.prompt"
        if isinstance(prompt, str):
            yield (
                prompt not in prompts,
                where,
                f"{prompt!r} is not in prompts: {hint(prompt, prompts)}",
            )
            prompt = prompts[prompt]
        yield from _prompt_checks(name, entry, prompt, where)


def _prompt_checks(name: str, entry: dict, prompt: dict, where: str) -> Checks:
    given, answers = {*entry["fields"]}, "candidates" in prompt
    for own in ("answer", "choices", "self", "true", "false", "none"):
        taken = own in given
        yield taken, f"datasets.{name}.fields.{own}", "reserved name; choose another"
    yield (
        answers and "answer" not in entry,
        f"datasets.{name}",
        "missing key answer: its prompt has candidates",
    )
    for own in ("answer", "choices", "labels"):
        useless = own in entry and not answers
        yield useless, f"datasets.{name}.{own}", "has no effect: its prompt has no candidates"
    letters = prompt.get("candidates") in ("lower", "upper")
    missing = letters and "choices" not in entry
    yield missing, f"datasets.{name}", "missing key choices: its prompt has letters as candidates"
    labels, words = entry.get("labels"), prompt.get("candidates")
    if isinstance(words, list) and isinstance(labels, list) and "choices" not in entry:
        what = f"{len(labels)} labels for {len(words)} candidates of its prompt"
        yield len(labels) != len(words), f"datasets.{name}.labels", what
    given |= {"choices"} if "choices" in entry else set()
    for part, more in (("text", set()), ("response", {"answer"} if answers else set())):
        for field in sorted(fields_of(prompt[part]) - given - more):
            known = ", ".join(sorted(given | more))
            yield True, where, f"its {part} has the unknown field {field!r}: one of {known}"
    shorten, known = prompt.get("shorten"), entry["fields"]
    what = f"{shorten!r} is not in fields: {hint(str(shorten), known)}"
    yield "shorten" in prompt and shorten not in known, f"{where}.shorten", what


def used_checks(scale: dict, datasets: dict) -> Checks:
    """Checks of what a scale makes of the datasets; they are known to be there."""
    settings, world = scale["settings"], scale["data"].get("world")
    for setting, columns in settings.items():
        for benchmark, corpus in columns.items():
            path = f"settings.{setting}.{benchmark}"
            yield benchmark not in datasets, path, f"not in datasets: {hint(benchmark, datasets)}"
            own = benchmark == corpus
            misplaced = (
                setting in ("in_domain", "out_of_domain") and (setting == "in_domain") != own
            )
            yield misplaced, path, f"trained on {corpus} is not {setting}"
    pairs = [(name, pair) for name, columns in settings.items() for pair in columns.items()]
    for i, (setting, pair) in enumerate(pairs):
        twice = pair in [other for _, other in pairs[:i]]
        yield twice, f"settings.{setting}.{pair[0]}", f"trained on {pair[1]}: the same column twice"
    shown = scale["figures"].get("benchmark")
    benchmarks = list(dict.fromkeys(name for columns in settings.values() for name in columns))
    missing = shown is not None and shown not in benchmarks
    yield (
        missing,
        "figures.benchmark",
        f"{shown!r} is not in settings: {hint(str(shown), benchmarks)}",
    )
    for stage in ("teacher", "student"):
        for corpus in scale[stage]["training"].get("per_corpus", {}):
            path = f"{stage}.training.per_corpus.{corpus}"
            yield corpus not in datasets, path, f"not in datasets: {hint(corpus, datasets)}"
    columns = {name for part in settings.values() for pair in part.items() for name in pair}
    for name, wanted in used(scale).items():
        entry, path = datasets[name], f"{'settings' if name in columns else 'data'}: {name}"
        lacking = ", ".join(sorted(wanted - {*entry["splits"]}))
        yield bool(lacking), path, f"datasets.{name} has no split {lacking}"
        free = "test" in wanted and "answer" not in entry
        yield (
            free,
            path,
            f"datasets.{name} is no benchmark: its prompt has no candidates",
        )
        nowhere = not world and not {"repo", "path"} & {*entry}
        what = f"datasets.{name} has no repo and no path, and the scale no data.world"
        yield nowhere, path, what
        foreign = world and name not in (*world["sizes"], "pretraining")
        yield bool(foreign), path, "is not generated by data.world"
        counted = name != "pretraining" or "train" in scale["data"].get("rows", {}).get(name, {})
        yield not counted, f"data.rows.{name}", "missing key train"
    for name, rows in scale["data"].get("rows", {}).items():
        path = f"data.rows.{name}"
        yield name not in datasets, path, f"not in datasets: {hint(name, datasets)}"
        for split in rows:
            useless = split not in datasets[name]["splits"]
            yield useless, f"{path}.{split}", f"datasets.{name} has no such split"


def hint(name: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown name."""
    known = list(known)
    if close := difflib.get_close_matches(name[:80], known, 1):
        return f"did you mean {close[0]!r}?"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"one of {', '.join(known[:LISTED]) or 'none'}{more}"
