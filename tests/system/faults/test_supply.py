"""No code in a folder of data or weights is run: no pickle's, no remote code."""

import ast
import io
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from first_distill.files import (
    describe_files,
    read_json,
    read_sealed,
    sha256_file,
    write_json,
    write_sealed,
)
from first_distill.models.checkpoints import save_checkpoint
from tests import tiny_models as tiny
from tests.sealed import reseal
from tests.system.faults import tried
from tests.system.faults.forked import ROOT, refusal, script

FOLDERS = ("first_distill", "scripts", "benchmarks")
SOURCES = [path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py"))]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
CALLS = (ast.Call, ast.Import, ast.ImportFrom)
# In the source of one of them.
FORBIDDEN = re.compile(
    r"^(import|from) .*\b(pickle|dill|cloudpickle|joblib|marshal|shelve|_pickle)\b"
    r"|^(eval|exec|compile|__import__|os\.system|os\.popen|pandas\.read_pickle)\("
    r"|^((torch|np|numpy)\.load|yaml\.(unsafe_|full_)?load)\("
    r"|\b(shell|allow_pickle)=(?!False)"
    r"|\.(from_pretrained|from_config)\((?!.*trust_remote_code=False)"
    r"|(Model|ForCausalLM)\w*\.from_pretrained\((?!.*use_safetensors=True)"
)


def findings(source: str) -> list[str]:
    """Calls and imports by which a file could run what it reads."""
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, CALLS)]
    return [text for text in map(ast.unparse, nodes) if FORBIDDEN.search(text)]


# The one reader of pickles: tensors alone, where a model's key allows it.
ALLOWED = ["torch.load(path, map_location='cpu', mmap=True, weights_only=True)"]


def test_no_source_has_a_way_to_run_what_it_reads():
    found = {p.relative_to(ROOT).as_posix(): findings(p.read_text()) for p in SOURCES}
    assert {name: f for name, f in found.items() if f} == {"first_distill/hub/unpickle.py": ALLOWED}
    assert len(SOURCES) > 80
    text = "\n".join(path.read_text() for path in RULES)
    assert not re.search(r"pickle|\beval\b|\bexec\b|torch\.load|trust_remote_code|^\s*run:", text)
    tried("sources with a way to run what they read", len(SOURCES), len(SOURCES), 0, "none has one")


@pytest.mark.parametrize(
    "line",
    """\
import pickle
torch.load(path)
np.load(p, allow_pickle=True)
yaml.load(text)
eval(text)
subprocess.run(line, shell=True)
AutoModelForCausalLM.from_pretrained(f, trust_remote_code=False)
AutoModelForCausalLM.from_pretrained(f, use_safetensors=True)
AutoConfig.from_pretrained(f, trust_remote_code=trust)""".splitlines(),
)
def test_the_search_finds_what_it_looks_for(line):
    assert findings(line)


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
    train = f"{common} --train {table} --validation {table} --epochs 3 --batch-size 4 --seed 1"
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
    describe(model)
    assert [status for status, _ in stages(tmp_path, model)] == [0, 0, 0]
    count = 3 * len(PICKLES)
    tried("pickles and code beside a checkpoint's safetensors", count, count, 0, "ignored")


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
    """In place of the parts from which a run resumes, with valid notes on them."""
    model = checkpoint(tmp_path / "model")
    (tmp_path / "t").write_text("a file where the folder is to be: training ends, its state stays")
    assert stages(tmp_path, model, FIRST_CHECKPOINT_MINUTES="0")[0][0] == 2
    (tmp_path / "t").unlink()
    parts = sorted((tmp_path / ".state").rglob("*.safetensors"))
    assert parts
    for part in parts:
        planted(part.parent, part.name, "optimizer.pt", "process-0.pkl")
        note = read_sealed(part.with_suffix(".json"))
        new = {"bytes": part.stat().st_size, "sha256": sha256_file(part)}
        write_sealed(part.with_suffix(".json"), {**note, **new})
    line = refusal(stages(tmp_path, model)[0])
    assert any(str(part) in line for part in parts)
    tried("a pickle as a sealed part of a run's state", 1, 1, 0, line)


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
        saw = "transformers' own code was used"
    else:
        saw = [refusal(one) for one in found][0]
        assert str(model) in saw
    assert not list((tmp_path / "modules").rglob("*modeling*"))
    tried(f"auto_map with code, model type {kind}", 3, 3, 0, saw)
