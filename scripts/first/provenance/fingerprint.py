"""Fingerprint of the code behind a result: it changes when, and only when, a number could.

Snakemake does not notice an edited module behind a `shell:` command, so each rule carries the
fingerprint of its stage in `params`. It is a hash of the syntax trees of the stage's module and of
all it imports from this repository, statement by statement and whatever file they stand in. What
cannot change a number is left out: comments, layout, docstrings, annotations, import statements,
names and places of modules, texts for people, and the packages in `SERVICE`.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts.first import ROOT

PACKAGE = "scripts"
# The module that computes each result; a rule, a record and a state name the stage, not the module.
STAGES = {
    "data": "scripts.data",
    "models": "scripts.models",
    "pair": "scripts.first.models.vocabulary_check",
    "teacher": "scripts.teacher",
    "knowledge": "scripts.knowledge",
    "temperature": "scripts.temperature",
    "student": "scripts.student",
    "evaluation": "scripts.evaluation",
    "cell": "scripts.first.reporting.tables.cells",
    "table1": "scripts.first.reporting.tables.table1",
    "table2": "scripts.first.reporting.tables.table2",
    "data_report": "scripts.first.reporting.tables.data_report",
    "figure2": "scripts.first.reporting.figures.figure2",
    "figure3": "scripts.first.reporting.figures.figure3",
    "figure5": "scripts.first.reporting.figures.figure5",
    "figure6": "scripts.first.reporting.figures.figure6",
    "claims": "scripts.first.reporting.claims.claims",
}
# Modules that report, store, fetch and run: no number is computed in them.
SERVICE = ("errors", "files", "runtime", "provenance", "hub", "config")
# Calls whose text arguments are for people, and keywords that are so in any call.
MESSAGES = {"UserError", "print", "fail", "warn", "progress", "add_parser", "parser", "exit"}
HELP = {"help", "description", "metavar", "epilog", "prog", "title"}


def fingerprint(stage: str) -> str:
    """16 hexadecimal digits of the code of a stage (a key of `STAGES`)."""
    digest = hashlib.sha256()
    for statement in sorted(s for name in closure(stage) for s in _source(name).statements):
        digest.update(bytes.fromhex(statement))
    return digest.hexdigest()[:16]


def closure(stage: str) -> set[str]:
    """Modules of this repository that can change a stage's numbers."""
    return {name for name in _reached(STAGES[stage]) if not _is_service(name)}


def third_party(stage: str) -> set[str]:
    """Import names of the packages from outside that a stage can import, in any function."""
    names = {n.split(".")[0] for m in _reached(STAGES[stage]) for n in _source(m).imports}
    return names - sys.stdlib_module_names - {PACKAGE}


def _is_service(module: str) -> bool:
    return module.removeprefix("scripts.first.").split(".")[0] in SERVICE


def _reached(module: str) -> set[str]:
    """A module and its transitive imports within this repository."""
    found: set[str] = set()
    queue = [module]
    while queue:
        if (name := queue.pop()) not in found and _path(name):
            found.add(name)
            queue += [n for n in _source(name).imports if n.split(".")[0] == PACKAGE]
    return found


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class Source:
    """A module's top-level statements, each as a hash, and the dotted names that it may import."""

    statements: tuple[str, ...]
    imports: frozenset[str]


def _source(module: str) -> Source:
    path = _path(module)
    status = os.stat(path)
    return _parse(path, status.st_mtime_ns, status.st_size)


@cache
def _parse(path: Path, changed: int, size: int) -> Source:
    tree = ast.parse(path.read_bytes())
    imports = frozenset(_imported(tree))
    tree = _Numbers(_modules(tree)).visit(tree)
    hashes = (hashlib.sha256(ast.dump(node).encode()).hexdigest() for node in tree.body)
    return Source(tuple(hashes), imports)


def _imported(node: ast.AST) -> Iterable[str]:
    """Dotted names of all imports but those for types; `a` and `a.b` for `from a import b`."""
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise SyntaxError(f"relative import of {node.module}: write the whole name")
        yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def _modules(tree: ast.AST) -> set[str]:
    """Names that stand for modules of this repository: `records` in `records.read(path)`."""
    pairs = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE
        for alias in node.names
    ]
    return {name for base, name in pairs if _path(f"{base}.{name}")}


class _Numbers(ast.NodeTransformer):
    """Reduces a syntax tree to what numbers can depend on."""

    def __init__(self, modules: set[str]):
        self.modules = modules

    def visit_Import(self, node):
        return None

    visit_ImportFrom = visit_Import

    def visit_If(self, node):
        test = ast.unparse(node.test)
        if test.endswith("TYPE_CHECKING") or test.startswith("__name__ =="):
            return None
        return self._block(node)

    def visit_Name(self, node):
        node.id = "module" if node.id in self.modules else node.id
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_Raise(self, node):
        exception = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=exception and self.visit(exception), cause=None)

    def visit_Assert(self, node):
        node.msg = None
        return self.generic_visit(node)

    def visit_Call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        node.keywords = [k for k in node.keywords if k.arg not in HELP]
        if name in MESSAGES:
            node.args = [a for a in node.args if not isinstance(a, ast.Constant | ast.JoinedStr)]
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.returns = None
        return self._block(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _block(self, node):
        self.generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            first = body[0] if body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                body.pop(0)
        return node

    visit_Module = visit_ClassDef = visit_For = visit_While = visit_With = visit_Try = _block
    visit_ExceptHandler = _block
