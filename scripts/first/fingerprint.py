"""Fingerprint of a script's code: changes when its logic or an in-repo import's logic changes.

Snakemake does not notice an edited module behind a `shell:` command. Each rule therefore has the
fingerprint of its script in `params`. It hashes syntax trees without docstrings: comments, layout,
docstrings and file times change nothing.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "scripts"
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def fingerprint(module: str) -> str:
    """16 hexadecimal digits for a module such as `scripts.student` and all it imports here."""
    digest = hashlib.sha256()
    for name in sorted(closure(module)):
        digest.update(f"{name}\0{_tree_hash(name)}\0".encode())
    return digest.hexdigest()[:16]


def closure(module: str) -> set[str]:
    """The module and its transitive imports within this repository."""
    found, queue = set(), [module]
    while queue:
        name = queue.pop()
        if name not in found and _path(name):
            found.add(name)
            queue += _imports(name)
    return found


def third_party(module: str) -> set[str]:
    """Packages from outside, by import name, that a module and its closure can import.

    Imports inside functions count. Those under `if TYPE_CHECKING:` do not: they never run.
    """
    names = set()
    for name in closure(module):
        names |= _outside(_tree(name))
    return names - sys.stdlib_module_names - {PACKAGE}


def _blocks(node: ast.AST) -> list[ast.AST]:
    """The statements (handlers, cases) right below one. Expressions hold none: half the time."""
    return [child for block in BLOCKS for child in getattr(node, block, ())]


def _walk(node: ast.AST):
    """A node and all statements below it."""
    queue = [node]
    while queue:
        yield (found := queue.pop())
        queue += _blocks(found)


def _outside(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return set() if node.level else {node.module.split(".")[0]}
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return set().union(*map(_outside, node.orelse))
    return set().union(*map(_outside, _blocks(node)))


def _path(module: str) -> Path | None:
    if module.split(".")[0] != PACKAGE:
        return None
    base = ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


@cache
def _imports(module: str) -> list[str]:
    is_package = _path(module).name == "__init__.py"
    names = []
    for node in _walk(_tree(module)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base]).rstrip(".")
            names.append(base)
            names += [f"{base}.{alias.name}" for alias in node.names]
    # Importing a.b.c runs a/__init__.py and a/b/__init__.py too.
    parents = {".".join(n.split(".")[:i]) for n in names for i in range(1, n.count(".") + 1)}
    return sorted(n for n in {*names, *parents} if n and _path(n))


@cache
def _tree_hash(module: str) -> str:
    tree = _tree(module)
    for node in _walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            first = body[0] if body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    node.body = body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
