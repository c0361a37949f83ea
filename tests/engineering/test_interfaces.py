"""Only supported interfaces: no private names of other packages, none of their objects patched."""

import ast
import keyword
import re

import pytest

from tests import tiny_models as tiny

IMPORTER = ("sys.modules", "sys.meta_path", "sys.path_hooks", "sys.path_importer_cache")
# Variables that their packages document as settings.
SETTINGS = ("torch.backends.", "torch.utils.deterministic.", "sys.argv", "sys.std", "tempfile.temp")
# Documented in spite of their underscore: methods of named tuples.
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}


def sources() -> dict[str, str]:
    """{file: Python} of all scripts, benchmarks and rules."""
    globs = ("scripts/**/*.py", "benchmarks/**/*.py", "Snakefile", "rules/*.smk")
    paths = [path for pattern in globs for path in sorted(tiny.REPOSITORY.glob(pattern))]
    names = {path.relative_to(tiny.REPOSITORY).as_posix(): path.read_text() for path in paths}
    return {name: text if name[-3:] == ".py" else python_of(text) for name, text in names.items()}


def python_of(rules: str) -> str:
    """Rules as Python: each directive as a call with its values as arguments."""
    parts = []
    for block in re.split(r"(?m)^(?=\S)", rules):
        word = re.match(r"(\w+):", block)
        if re.match(r"(use )?rule |checkpoint ", block):
            directives = re.split(r"(?m)^    (?=\w+:)", block)[1:]
            parts += [f"f({one.partition(':')[2]}\n)\n" for one in directives]
        elif word and word[1] in ("onstart", "onerror", "onsuccess"):
            parts.append("if True:" + block.partition(":")[2])
        elif word and not keyword.iskeyword(word[1]):
            parts.append(f"f({block.partition(':')[2]}\n)\n")
        else:
            parts.append(block)
    return "".join(parts)


def violations(text: str) -> list[str]:
    """Private names, and assignments to names of other modules, each as `line: code`."""
    nodes = list(ast.walk(ast.parse(text)))
    imports = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
    outside = {(a.asname or a.name).split(".")[0] for n in imports for a in n.names} | {"workflow"}
    own = {getattr(n, "name", "") for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and of(n) in ("self", "cls")}

    def is_bad(node: ast.AST) -> bool:
        code = ast.unparse(node) if isinstance(node, ast.expr) else ""
        patched = re.match(r"\w*", code)[0] in outside and not code.startswith(SETTINGS)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return bool(re.search(r"[ .]_(?!_)", ast.unparse(node)))
        if isinstance(node, ast.Call) and of(node) in ("getattr", "setattr", "delattr"):
            target = re.match(r"\w*", ast.unparse(node.args[0]))[0]
            private = re.search(r", '_(?!_)(\w+)'", code)
            return bool(private) or of(node) != "getattr" and target in outside
        if not isinstance(node, ast.Attribute):
            return False
        known = node.attr in NAMED_TUPLE or node.attr in own and of(node) != "super()"
        private = re.match("_(?!_)", node.attr) and not known
        stored = isinstance(node.ctx, ast.Store | ast.Del) and patched
        return bool(private) or stored or code in IMPORTER

    return [f"{node.lineno}: {ast.unparse(node)}" for node in nodes if is_bad(node)]


def of(node: ast.Attribute | ast.Call) -> str:
    """What an attribute belongs to, or what is called."""
    return ast.unparse(node.value if isinstance(node, ast.Attribute) else node.func)


def test_only_supported_interfaces():
    found = {name: violations(text) for name, text in sources().items()}
    bad = [f"{name}:{one}" for name in found for one in found[name]]
    assert len(found) > 60 and not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("planted", "count"),
    [
        ("import os\nos._exit(1)", 1),
        ("workflow.execute = print", 1),
        ("import logging\nlogging.raiseExceptions = False", 1),
        ("from importlib.machinery import SourceFileLoader as S\nS.set_data = print", 1),
        ("import weakref\ngetattr(weakref.finalize, '_registry', ())", 1),
        ("from torch.distributed.tensor._utils import compute_local_shape", 1),
        ("import sys\nsys.modules['x'] = None", 1),
        ("import shutil\nsetattr(shutil, 'copy', print)", 1),
        ("class H(Base):\n    def _x(self):\n        return super()._x()", 1),
        (python_of("rule a:\n    params:\n        x=lambda w: workflow._rules,\n"), 1),
        (python_of("onerror:\n    workflow._scheduler.stop()\n"), 1),
        ("class A:\n    def _b(self):\n        self._c = self.d = 1\nA()._b()", 0),
        ("import sys, os\nsys.argv = []\nos.environ['A'] = ''\ngetattr(sys, 'argv')", 0),
    ],
)
def test_a_planted_patch_is_found(planted, count):
    assert len(violations(planted)) == count
