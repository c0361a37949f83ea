"""Fingerprint of the code behind a result: it changes when, and only when, a number could.

Snakemake does not notice an edited module behind a `shell:` command, so each rule carries the
fingerprint of its stage in `params`. It hashes the definitions (functions, classes, constants) that
the stage's functions reach, numbered in the order in which they refer to each other: neither their
names nor the modules that they stand in count. Comments, docstrings, annotations, import
statements, messages and the packages in `SERVICE` do not count either.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from importlib.util import resolve_name
from pathlib import Path

from first_distill import ROOT

PACKAGES = ("scripts", "first_distill")  # of this repository
LAUNCHER = "first_distill.distributed.launcher.main"  # of trainings in several processes
REPORTING = "first_distill.reporting"
# The functions that each result is computed in; rules, records and states name the stage alone.
STAGES = {
    **{n: [f"scripts.{n}.main"] for n in ("data", "knowledge", "temperature", "evaluation")},
    **{name: [f"scripts.{name}.main", LAUNCHER] for name in ("teacher", "student")},
    **{name: [f"scripts.models.{name}"] for name in ("tokenizer", "pretrain", "prune")},
    "base_model": [f"scripts.models.{n}" for n in ("copy", "hub", "folder")],
    "pair": ["first_distill.models.checks.check_pair"],
    "cell": [f"{REPORTING}.tables.cells.run"],
    "claims": [f"{REPORTING}.claims.claims.run"],
    **{f"table{n}": [f"{REPORTING}.tables.table{n}.run"] for n in (1, 2)},
    **{name: [f"{REPORTING}.tables.{name}.run"] for name in ("posthoc", "data_report")},
    **{f"figure{n}": [f"{REPORTING}.figures.figure{n}.run"] for n in (2, 3, 5, 6)},
    "ablation": [f"{REPORTING}.ablations.page.run"],
    "ablations": [f"{REPORTING}.ablations.page.join"],
    "meters": [f"{REPORTING}.figures.meters.run"],
    "card": [f"{REPORTING}.cards.card.run"],
    "page": [f"{REPORTING}.page.page.run"],
}
# Files that count as they are, beside the code of a stage.
TEXTS = {"page": ("first_distill/reporting/page/templates/*", "report/*.rst")}
# Packages that report, store, fetch and run: no number is computed in them.
SERVICE = ("errors", "files", "runtime", "provenance", "hub", "config")
ERRORS = {
    "UserError",
    "Unusable",
    "ArgumentTypeError",
    "fail",
    "exit",
}  # calls that end in a message
MESSAGES = {"print", "warn", "progress", "advance", "parser", "add_parser", "add_argument_group"}
# Keywords of argparse; and those by which a function is told words of its message.
HELP = {"help", "description", "metavar", "epilog", "prog", "what", "advice"}
# Fields of syntax trees that change nothing when the program runs.
IGNORED = {"kind", "ctx", "type_comment", "type_params", "returns", "annotation", "simple"}
# In a reduced text: a text assigned to a local variable, and a name of this repository.
WORDS, REFERENCE = "\0(\\w+)\1([^\2]*)\2", "\3([^\3]+)\3"
OURS = re.compile(rf"({'|'.join(PACKAGES)})(\.|$)").match  # a dotted name of this repository
DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def fingerprint(stage: str) -> str:
    """16 hexadecimal digits of the code of a stage, a key of `STAGES`."""
    texts = [path for pattern in TEXTS.get(stage, ()) for path in sorted(ROOT.glob(pattern))]
    parts = [*_reached(STAGES[stage]), *(path.read_text(encoding="utf-8") for path in texts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def third_party(stage: str) -> set[str]:
    """Import names of the packages from outside that a stage can import, in any function."""
    names = {origin.split(".")[0] for m in _imported(STAGES[stage]) for origin in m.origins()}
    return names - sys.stdlib_module_names - {*PACKAGES}


def _reached(entries: list[str]) -> Iterator[str]:
    """Texts of all statements that can run, with the numbers of those that they refer to."""
    # An import runs what stands between the definitions of a module, from top to bottom.
    between = [imported.between for imported in _imported(entries, SERVICE)]
    between.sort(key=lambda statements: [s.reduced[0] for s in statements])
    queue = [s for group in (*map(_definitions, entries), *between) for s in group]
    numbers: dict[Statement, int] = {}
    for statement in queue:  # it grows
        text, references = statement.reduced
        groups = [_definitions(path) for path in references]
        new = dict.fromkeys(s for group in groups for s in group if s not in numbers)
        numbers |= {s: number for number, s in enumerate(new, start=len(numbers))}
        queue += new
        if text:
            yield f"{text} {[[numbers[s] for s in group] for group in groups]}"


def _definitions(path: str) -> list[Statement]:
    """The statements that define `path`, such as first_distill.cli.parser; [] for a service."""
    found, name = module(path), ""
    if not found:
        base, _, name = path.rpartition(".")
        found = module(base)
    if not found or _is_service(found.name):
        return []
    if not name:  # the module itself is handed on
        return [s for statements in found.names.values() for s in statements]
    if name in found.names:
        return found.names[name]
    return [s for origin in found.imports.get(name, ()) for s in _definitions(origin)]


def _imported(entries: list[str], without: tuple[str, ...] = ()) -> list[Module]:
    """The modules of functions and all that these import of this repository, less `without`."""
    found: dict[str, Module] = {}
    queue = [*entries]
    for name in queue:  # it grows
        one = module(name) or module(name.rpartition(".")[0])
        if one and one.name not in found and not (without and _is_service(one.name)):
            found[one.name] = one
            queue += one.origins()
    return list(found.values())


def _is_service(name: str) -> bool:
    return name.removeprefix("first_distill.").split(".")[0] in SERVICE


@cache
def module(name: str) -> Module | None:
    """A module of this repository, parsed once in a process; None for any other name."""
    base = ROOT.joinpath(*name.split("."))
    paths = (base.with_suffix(".py"), base / "__init__.py") if OURS(name) else ()
    return next((Module(name, p) for p in paths if p.is_file()), None)


class Module:
    """A parsed module: what it imports, what it defines, and what stands between."""

    def __init__(self, name: str, path: Path):
        self.name, self.package = name, ".".join(path.relative_to(ROOT).parent.parts)
        self.imports: dict[str, list[str]] = {}  # {name here: dotted names that it may stand for}
        self._collect(tree := ast.parse(path.read_bytes()))
        self.names: dict[str, list[Statement]] = {}
        self.between: list[Statement] = []
        for node in tree.body:
            statement = Statement(self, node)
            for bound in sorted(_bound(node)):
                self.names.setdefault(bound, []).append(statement)
            if isinstance(node, DEFINITION):  # a decorator of this repository may register it
                inner = [n for decorator in node.decorator_list for n in ast.walk(decorator)]
                acts = any(OURS(path) for n in inner for path in self.paths(n))
            else:  # an assignment, too, may be to more than names
                stored = (n for n in ast.walk(node) if isinstance(getattr(n, "ctx", 0), ast.Store))
                places = any(isinstance(n, ast.Attribute | ast.Subscript) for n in stored)
                acts = places or not isinstance(node, ast.Assign | ast.AnnAssign)
            if acts:
                self.between.append(statement)

    def origins(self) -> list[str]:
        """Dotted names of all that the module imports."""
        return [origin for origins in self.imports.values() for origin in origins]

    def _collect(self, node: ast.AST) -> None:
        """Note all imports, in functions too, but those for types alone."""
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            origin, bound = alias.name, alias.asname or alias.name
            if isinstance(node, ast.ImportFrom):
                base = resolve_name("." * node.level + (node.module or ""), self.package)
                origin = f"{base}.{alias.name}"
            elif not alias.asname:  # `import a.b` binds a
                origin = bound = alias.name.split(".")[0]
            self.imports.setdefault(bound, []).append(origin)
        for child in node.orelse if _is_guard(node) else ast.iter_child_nodes(node):
            self._collect(child)

    def paths(self, node: ast.AST) -> list[str]:
        """Dotted names that an expression may stand for; [] for a local name and all else."""
        if isinstance(node, ast.Name):
            own = [f"{self.name}.{node.id}"] if node.id in self.names else []
            return list(dict.fromkeys(self.imports.get(node.id, own)))
        if isinstance(node, ast.Attribute):
            bases = self.paths(node.value)
            if all(module(base) or not OURS(base) for base in bases):
                return [f"{base}.{node.attr}" for base in bases]
        return []


class Statement:
    """A top-level statement, reduced to a text that holds what can change a number."""

    def __init__(self, module: Module, node: ast.stmt):
        self.module, self.node = module, node

    @cached_property
    def reduced(self) -> tuple[str, list[str]]:
        """The text, with `@` for each name of this repository, and these names."""
        self._nonlocal = {x for n in ast.walk(self.node) for x in getattr(n, "names", ())}
        self._scope: ast.AST = self.node  # the innermost function or class
        text, old = self._write(self.node), None
        while text != old:  # what only a dropped text loads is dropped next
            old = text
            text = re.sub(WORDS, lambda w, all=text: w[0] * (f"Load(id={w[1]!a})" in all), text)
        text = re.sub(WORDS, r"\2", text)
        return re.sub(REFERENCE, "@", text), re.findall(REFERENCE, text)

    def _write(self, node: object) -> str:
        """Like `ast.dump`, whose text depends on the version of Python."""
        if isinstance(node, list):
            return f"[{''.join(map(self._write, node))}]"
        if not isinstance(node, ast.AST):
            return ascii(node)
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            return ""
        if _is_guard(node):
            return self._write(node.orelse) if node.orelse else ""
        if paths := self.module.paths(node):
            return "".join(f"\3{path}\3" if OURS(path) else path for path in paths)
        outer, self._scope = self._scope, node if isinstance(node, DEFINITION) else self._scope
        unnamed = {"name"} if node is self.node and isinstance(node, DEFINITION) else set()
        fields = [
            f"{name}={self._write(value)}"
            for name, value in _fields(node).items()
            if name not in IGNORED | unnamed and value is not None and value != []
        ]
        self._scope = outer
        kind = "Assign" if isinstance(node, ast.AnnAssign) else type(node).__name__
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            kind = "Load"
        text = f"{kind}({','.join(fields)})"
        if kind == "Assign" and not isinstance(outer, ast.ClassDef) and _is_words(node.value):
            first, *others = _fields(node)["targets"]
            local = isinstance(first, ast.Name) and first.id not in self._nonlocal
            if local and not others and not self.module.paths(first):
                return f"\0{first.id}\1{text}\2"
        return text


def _fields(node: ast.AST) -> dict[str, object]:
    """Fields of a node, less messages."""
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.AnnAssign):
        return {"targets": [node.target], "value": node.value}
    if isinstance(node, ast.Raise):
        return {"exc": node.exc.func if isinstance(node.exc, ast.Call) else node.exc}
    if isinstance(node, ast.Assert):
        return {"test": node.test}
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in ERRORS:
            return {"func": node.func}
        fields["keywords"] = [k for k in node.keywords if k.arg not in HELP]
        if called in MESSAGES:
            fields["args"] = [a for a in node.args if not _is_words(a)]
    return fields


def _bound(node: ast.stmt) -> set[str]:
    """Names that a top-level statement defines."""
    if isinstance(node, DEFINITION):
        return {node.name}
    stored = (n for n in ast.walk(node) if isinstance(getattr(n, "ctx", None), ast.Store))
    inner = {n.name for n in ast.walk(node) if isinstance(n, DEFINITION)}
    return inner | {n.id for n in stored if isinstance(n, ast.Name)}


def _is_guard(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, or `if __name__ == "__main__":`: no stage's numbers see the body."""
    test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
    return test.endswith("TYPE_CHECKING") or test.startswith("__name__ ==")


def _is_words(node: ast.AST) -> bool:
    """A literal text, a variable, or a choice of two of these."""
    choice = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return all(isinstance(one, ast.Constant | ast.JoinedStr | ast.Name) for one in choice)
