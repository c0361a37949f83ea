"""Nothing that a user is given runs: no pickle, no remote code, whatever lies in a folder."""

from __future__ import annotations

import ast
import io
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from scripts.first.config.load import validated
from scripts.first.errors import UserError
from scripts.first.files import describe_files, read_json, write_json
from scripts.first.models.checkpoints import save_checkpoint
from scripts.first.plan.scales import load_config
from tests import tiny_models as tiny
from tests.sealed import reseal
from tests.system.faults import WHOLE, tried
from tests.system.faults.forked import ROOT, refusal, script

SOURCES = [p for d in ("scripts", "benchmarks") for p in sorted((ROOT / d).rglob("*.py"))]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "_pickle"}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"from_pretrained", "from_config"}
# Modules by a name that the project's own code gives, never a file or an option.
IMPORTERS = {"warm.py", "startup.py", "isolated.py", "__main__.py"}


def findings(tree: ast.AST, name: str) -> list[str]:
    """Ways by which a file could run what it reads."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names}
            names |= {(getattr(node, "module", None) or "").split(".")[0]}
            found += [f"import {module}" for module in sorted(names & MODULES)]
        if not isinstance(node, ast.Call):
            continue
        words, function = {k.arg: ast.unparse(k.value) for k in node.keywords}, node.func
        text = ast.unparse(function)
        if isinstance(function, ast.Name) and function.id in CALLS:
            found.append(text)
        if re.fullmatch(
            r"(torch|np|numpy)\.load|yaml\.(unsafe_|full_)?load|pandas\.read_pickle", text
        ):
            found.append(text)
        if text in ("os.system", "os.popen") or words.get("shell", "False") != "False":
            found.append(f"a shell: {text}")
        if words.get("allow_pickle", "False") != "False":
            found.append("allow_pickle")
        if text.split(".")[-1] in LOADERS and words.get("trust_remote_code") != "False":
            if text != "from_config":  # the plan's own function of that name
                found.append(f"{text} without trust_remote_code=False")
        if text.endswith("Model.from_pretrained") or "ForCausalLM.from_pretrained" in text:
            if words.get("use_safetensors") != "True":
                found.append(f"{text} without use_safetensors=True")
        if text == "importlib.import_module" and name not in IMPORTERS:
            found.append(text)
    return found


def test_no_source_has_a_way_to_run_what_it_reads():
    bad = {str(p): findings(ast.parse(p.read_text()), p.name) for p in SOURCES}
    assert {path: what for path, what in bad.items() if what} == {}
    assert len(SOURCES) > 80
    text = "\n".join(path.read_text() for path in RULES)
    assert not re.search(r"pickle|\beval\b|\bexec\b|torch\.load|trust_remote_code|^\s*run:", text)
    tried("sources with a way to run what they read", len(SOURCES), len(SOURCES), 0, "none has one")


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from dill import load",
        "torch.load(path)",
        "np.load(p, allow_pickle=True)",
        "yaml.load(text)",
        "eval(text)",
        "subprocess.run(line, shell=True)",
        "AutoModelForCausalLM.from_pretrained(f, trust_remote_code=False)",
        "AutoModelForCausalLM.from_pretrained(f, use_safetensors=True)",
        "AutoConfig.from_pretrained(f, trust_remote_code=trust)",
        "importlib.import_module(option)",
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert findings(ast.parse(line), "new.py")


class Payload:
    """What writes a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "a pickle ran"))


@pytest.fixture
def planted(tmp_path):
    """plant(folder, *names): files with the payload, which must not have run in the end."""
    ran = tmp_path / "RAN"
    plain = pickle.dumps(Payload(ran))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:  # as torch.save writes them
        file.writestr("archive/data.pkl", plain)
        file.writestr("archive/version", "3\n")
    array = io.BytesIO()
    np.save(array, np.asarray([Payload(ran)], dtype=object), allow_pickle=True)
    code = f"from pathlib import Path\nPath({str(ran)!r}).write_text('code ran')\n".encode()
    kinds = {".pkl": plain, ".npy": array.getvalue(), ".py": code, ".bin": archive.getvalue()}

    def plant(folder: Path, *names: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_bytes(kinds.get(Path(name).suffix, archive.getvalue()))

    pickle.loads(plain)
    assert ran.read_text() == "a pickle ran"
    ran.unlink()
    yield plant
    assert not ran.exists(), ran.read_text()


PICKLES = ("pytorch_model.bin", "model.pt", "model.pkl", "optimizer.pt", "scheduler.pt")
PICKLES += ("adapter_model.bin", "training_args.bin", "tf_model.h5", "rng_state.pth", "x.npy")
CODE = ("modeling.py", "tokenization.py", "conftest.py", "sitecustomize.py")


def checkpoint(folder: Path) -> Path:
    save_checkpoint(tiny.random_llama(0), folder, tiny.tokenizer_folder(), {"kind": "test"})
    return folder


def describe(folder: Path) -> None:
    """A valid record of whatever lies there."""
    names = sorted(p.name for p in folder.iterdir() if p.name != "record.json")
    reseal(folder / "record.json", {"kind": "x", "files": describe_files(folder, names)})


def stages(tmp_path: Path, model: Path, **changes: str) -> list[tuple[int, str]]:
    """What loads a model: training, extraction, evaluation."""
    table = tiny.write_table(tmp_path / "t.parquet", tiny.choice_rows(4))
    common = f"--model {model} --block-length 400"
    train = f"{common} --train {table} --validation {table} --epochs 1 --batch-size 4 --seed 1"
    evaluate = f"--model {model} --tests {table} --output-dir {tmp_path}/e --scale tiny --seed 1"
    evaluate += " --family alder --corpus csqa --method finetune --benchmarks csqa"
    train += f" --learning-rate 0.01 --output-dir {tmp_path}/t --state-dir {tmp_path}/.state"
    extract = f"{common} --data {table} --k 5 --output-dir {tmp_path}/k"
    lines = {"teacher": train, "knowledge": extract, "evaluation": evaluate}
    return [script(tmp_path, module, line, **changes) for module, line in lines.items()]


def test_pickles_beside_safetensors_are_not_looked_at(tmp_path, planted):
    model = checkpoint(tmp_path / "model")
    planted(model, *PICKLES, *CODE)
    planted(tmp_path / ".state", *PICKLES)
    for recorded in (False, True) if WHOLE else (True,):
        if recorded:
            describe(model)
        assert [status for status, _ in stages(tmp_path, model)] == [0, 0, 0]
        shutil.rmtree(tmp_path / "t")
    count = 3 * len(PICKLES) * (2 if WHOLE else 1)
    tried("pickles and code beside a checkpoint's safetensors", count, count, 0, "nothing: ignored")


@pytest.mark.parametrize("disguised", [False, True])
def test_pickles_instead_of_safetensors(tmp_path, planted, disguised):
    """Under their own names, and as model.safetensors; the record is valid."""
    model = checkpoint(tmp_path / "model")
    (model / "model.safetensors").unlink()
    planted(model, *PICKLES, *(["model.safetensors"] if disguised else []))
    describe(model)
    for found in stages(tmp_path, model):
        line = refusal(found)
        assert str(model) in line
    kind = "named model.safetensors" if disguised else "instead of safetensors"
    tried(f"pickles {kind}", 3, 3, 0, line)


def test_pickled_state_is_not_resumed_from(tmp_path, planted):
    """In the very folders that a run resumes from: as parts, with the seal of a valid one."""
    model = checkpoint(tmp_path / "model")
    assert stages(tmp_path, model, FIRST_CHECKPOINT_MINUTES="0")[0][0] == 0
    shutil.rmtree(tmp_path / "t")
    # Killed between two steps: state as it is, its part then replaced.
    from scripts.first.files import sha256_file

    place = next(iter(_state(tmp_path, model)))
    part = place / "step-00000001" / "process-0.safetensors"
    planted(part.parent, part.name, "optimizer.pt", "process-0.pkl")
    note = {"step": 1, "curve": [], "schedule": {}, "bytes": part.stat().st_size}
    write_json(part.with_suffix(".json"), {**note, "sha256": sha256_file(part)})
    line = refusal(stages(tmp_path, model)[0])
    assert str(part) in line
    tried("a pickle as a sealed part of a run's state", 1, 1, 0, line)


def _state(tmp_path: Path, model: Path) -> list[Path]:
    """The folder that a run of `stages` would resume from: it is named in advance by its facts."""
    from scripts.first.runtime import state

    found, wanted = [], state.open_state

    def spy(folder, facts):
        found.append(wanted(folder, facts))
        raise UserError("enough")

    import scripts.first.training.finetune as tuning
    from scripts import teacher

    table = tmp_path / "t.parquet"
    line = f"--model {model} --block-length 400 --train {table} --validation {table} --epochs 1"
    line += f" --batch-size 4 --seed 1 --learning-rate 0.01 --output-dir {tmp_path}/t"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="enough"):
        patch.setattr(tuning, "open_state", spy)
        teacher.main([*line.split(), "--state-dir", str(tmp_path / ".state")])
    return found


REMOTE = {
    "AutoConfig": "modeling.EvilConfig",
    "AutoModelForCausalLM": "modeling.EvilModel",
    "AutoTokenizer": ["modeling.EvilTokenizer", None],
}


@pytest.mark.parametrize("kind", ["llama", "evil"])
def test_remote_code_is_never_run(tmp_path, planted, kind):
    """auto_map in both configurations, its module in the folder, and variables that invite it."""
    model = checkpoint(tmp_path / "model")
    planted(model, *CODE)
    for name in ("config.json", "tokenizer_config.json"):
        content = read_json(model / name)
        if name == "config.json":
            content["model_type"] = kind
        write_json(model / name, {**content, "auto_map": REMOTE, "trust_remote_code": True})
    describe(model)
    names = ("TRUST_REMOTE_CODE", "HF_HUB_TRUST_REMOTE_CODE", "TRANSFORMERS_TRUST_REMOTE_CODE")
    names += ("HF_DATASETS_TRUST_REMOTE_CODE", "HF_TRUST_REMOTE_CODE")
    changes = dict.fromkeys(names, "1") | {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    found = stages(tmp_path, model, **changes)
    if kind == "llama":  # known to transformers: its own code is used
        assert [status for status, _ in found] == [0, 0, 0]
        said = "nothing: transformers' own code was used"
    else:
        said = [refusal(one) for one in found][0]
        assert str(model) in said
    assert not list((tmp_path / "modules").rglob("*modeling*"))
    tried(f"auto_map with code, model type {kind}", 3, 3, 0, said)


def test_configuration_cannot_switch_it_on():
    """At every place where the configuration has a mapping."""
    places = [*_mappings(load_config(), ())]
    assert len(places) > 100
    places = places if WHOLE else places[:: len(places) // 12]
    for place in places:
        config = load_config()
        target = config
        for key in place:
            target = target[key]
        target["trust_remote_code"] = True
        with pytest.raises(UserError, match="trust_remote_code") as caught:
            validated(config)
        assert "\n" not in str(caught.value)
    count = len(places)
    tried("trust_remote_code in the configuration", count, count, 0, str(caught.value))


def _mappings(value, place: tuple):
    if isinstance(value, dict):
        yield place
        for key, inner in value.items():
            yield from _mappings(inner, (*place, key))
