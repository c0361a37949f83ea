"""The code fingerprint: no message counts, wherever its text stands."""

import ast

from first_distill.provenance import fingerprint as module
from tests.engineering.test_fingerprint import code, prints

CALLS = {"print", "warn", "fail", "exit", "progress", "advance"}
PARTS = {"JoinedStr": ["values"], "IfExp": ["body", "orelse"], "BinOp": ["left"], "Dict": ["keys"]}


def literals(node: ast.AST) -> list[ast.Constant]:
    """The literal texts in an expression, less those in calls and in braces."""
    parts = [getattr(node, name) for name in PARTS.get(type(node).__name__, ())]
    inner = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    own = [node] if isinstance(getattr(node, "value", None), str) else []
    return own + [text for one in inner for text in literals(one)]


def variables(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def messages(function: ast.AST, known: dict, modules: set[str]) -> tuple[list[ast.AST], set[str]]:
    """Expressions and names that end in messages alone; known: {function: {parameter: does it}}."""
    nodes, found = [*ast.walk(function)], []
    for node in nodes:
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found += node.exc.args
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            base = getattr(getattr(node.func, "value", None), "id", "")
            takes = known.get(name, {}) if not hasattr(node.func, "attr") or base in modules else {}
            found += node.args if name in CALLS else []
            found += [value for one, value in zip(takes, node.args, strict=False) if takes[one]]
            found += [k.value for k in node.keywords if k.arg == "help" or takes.get(k.arg)]
    size = -1
    while size < len(found):  # the values of variables, which may have variables in them
        size, inside = len(found), {id(part) for one in found for part in ast.walk(one)}
        loads = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
        names = {n.id for n in loads} - {n.id for n in loads if id(n) not in inside}
        loops = (n for n in nodes if isinstance(n, ast.For) and names & variables(n.target))
        tables = {name for loop in loops for name in variables(loop.iter)}  # read by a loop
        for node in (n for n in nodes if isinstance(n, ast.Assign | ast.AugAssign)):
            target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
            wanted = tables if isinstance(node.value, ast.Dict) else names
            if getattr(target, "id", "") in wanted and id(node.value) not in inside:
                found.append(node.value)
    return found, names


def test_rewording_all_messages_changes_nothing(repository):
    """Texts that are raised, printed or shown as help, through variables and parameters too."""
    before, known, new = prints(), {}, None
    trees = {path: ast.parse(path.read_text()) for path in code(repository)}
    for path in [p for p in trees if {*p.parts, p.stem} & {*module.SERVICE}]:
        del trees[path]  # no text in it counts
    modules = {path.stem for path in trees}
    functions = [n for t in trees.values() for n in ast.walk(t) if isinstance(n, ast.FunctionDef)]
    while known != new:
        known = new or {}
        names = {f: messages(f, known, modules)[1] for f in functions}
        new = {f.name: {a.arg: a.arg in names[f] for a in f.args.args} for f in functions}
    texts = {t for f in functions for m in messages(f, known, modules)[0] for t in literals(m)}
    assert len(texts) > 400, len(texts)
    for text in texts:
        text.value += " reworded"
    for path, tree in trees.items():
        path.write_text(ast.unparse(tree))
    assert prints() == before
