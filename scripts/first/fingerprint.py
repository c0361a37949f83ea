"""Fingerprint of a script's code: changes when its logic or an in-repo import's logic changes.

Snakemake does not notice an edited module behind a `shell:` command. Each rule therefore has the
fingerprint of its script in `params`. It hashes syntax trees without docstrings: comments, layout,
docstrings and file times change nothing.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "scripts"
OWN_SOURCE = Path(__file__).read_bytes()
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def fingerprint(module: str) -> str:
    """16 hexadecimal digits for a module such as `scripts.student` and all it imports here."""
    digest = hashlib.sha256()
    for name in sorted(closure(module)):
        digest.update(f"{name}\0{_parsed(name).digest}\0".encode())
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
        names |= _parsed(name).outside
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


@dataclass(frozen=True)
class Parsed:
    """What a module's source says: hash of its tree, packages from outside, imports as written.

    An import is (level, module or None, names); `import a` is (0, None, [a]).
    """

    digest: str
    outside: frozenset[str]
    imports: tuple[tuple[int, str | None, tuple[str, ...]], ...]


# By the hash of the source and of this module: never stale, wherever it was filled. The warm server
# fills it once for all jobs.
PARSED: dict[str, Parsed] = {}


@cache
def _parsed(module: str) -> Parsed:
    source = _path(module).read_bytes()
    key = hashlib.sha256(OWN_SOURCE + source).hexdigest()
    if key not in PARSED:
        PARSED[key] = _parse(ast.parse(source))
    return PARSED[key]


def _parse(tree: ast.Module) -> Parsed:
    imports = []
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            imports.append((0, None, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module, tuple(alias.name for alias in node.names)))
    outside = frozenset(_outside(tree))
    return Parsed(_tree_hash(tree), outside, tuple(imports))  # the hash last: it strips docstrings


@cache
def _imports(module: str) -> list[str]:
    is_package = _path(module).name == "__init__.py"
    names = []
    for level, base, aliases in _parsed(module).imports:
        if level == 0 and base is None:
            names += aliases
            continue
        base = base or ""
        if level:
            parts = module.split(".")
            parts = parts[: len(parts) - level + is_package]
            base = ".".join([*parts, base]).rstrip(".")
        names.append(base)
        names += [f"{base}.{name}" for name in aliases]
    # Importing a.b.c runs a/__init__.py and a/b/__init__.py too.
    parents = {".".join(n.split(".")[:i]) for n in names for i in range(1, n.count(".") + 1)}
    return sorted(n for n in {*names, *parents} if n and _path(n))


def _tree_hash(tree: ast.Module) -> str:
    for node in _walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            first = body[0] if body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    node.body = body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
