"""The layout: small packages, imports that run one way, files of at most 300 lines."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from statistics import median

from first_distill import ROOT

# From the ground up: a package imports only from those before it (docs/architecture.md).
ORDER = (
    "ground",
    "config",
    "runtime",
    "provenance",
    "hub",
    "world",
    "data",
    "models",
    "calibration",
    "knowledge",
    "distributed",
    "training",
    "reporting",
    "plan",
    "scripts",
)
FILES = sorted(p for d in ("first_distill", "scripts") for p in (ROOT / d).rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """`training` for first_distill.training.loop; first_distill.errors is on the ground."""
    parts = module.split(".")
    if parts[0] == "scripts":
        return "scripts"
    return parts[1] if len(parts) > 1 and parts[1] in ORDER else "ground"


def imports() -> dict[str, set[str]]:
    """{module: modules of this repository that it imports, in functions too}."""
    modules = {dotted(path) for path in FILES}
    found = defaultdict(set)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                package = ".".join(path.relative_to(ROOT).parent.parts)
                base = resolve_name("." * node.level + (node.module or ""), package)
                names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            found[dotted(path)] |= modules & set(names) - {"scripts", "first_distill"}
    return found


def test_imports_run_one_way():
    against = {
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in names
        if ORDER.index(room(name)) > ORDER.index(room(module))
    }
    assert against == set()


def test_no_module_imports_itself_over_others():
    graph = {module: names - {module} for module, names in imports().items()}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(FILES) - 2  # or CycleError


def test_packages_and_files_are_small():
    others = (path for name in ("tests", "benchmarks") for path in (ROOT / name).rglob("*.py"))
    lengths = {path: len(path.read_text().splitlines()) for path in [*FILES, *others]}
    assert {path: n for path, n in lengths.items() if n > 300} == {}
    sizes = {path: lengths[path] for path in FILES}
    assert median(n for path, n in sizes.items() if path.name != "__init__.py") <= 130
    packages = defaultdict(list)
    for path in FILES:
        if path.name != "__init__.py" and path.parent != ROOT / "scripts":
            packages[path.parent].append(path.name)
    assert {path: names for path, names in packages.items() if len(names) > 10} == {}
