"""A hub on loopback with small real repositories; the scripts run against it as users run them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import tiny_models as tiny
from tests.questions import entry, question
from tests.system.hub.server import Hub, Repository

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_canary0123456789"
# Variables that redirect a run or hold a token of the user's.
OTHERS = ("HF_", "HUGGING", "FIRST_", "TRANSFORMERS_", "XDG_", "SLURM")


def model_files(max_shard_size: str, width: int) -> dict[str, bytes]:
    """A random Llama as transformers saves it, with files that must not be fetched."""
    import tempfile

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(width)
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": 4}
    sizes |= {"vocab_size": 263, "num_attention_heads": 2, "max_position_embeddings": 512}
    model = LlamaForCausalLM(LlamaConfig(**sizes, bos_token_id=tiny.BOS, eos_token_id=tiny.EOS))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        paths = [*Path(folder).iterdir(), *tiny.tokenizer_folder().iterdir()]
        files = {path.name: path.read_bytes() for path in paths}
    unwanted = {"README.md": b"---\nlicense: mit\n---\n", "pytorch_model.bin": b"\x80\x04pickle."}
    return files | unwanted | {"modeling_evil.py": b"raise SystemExit('remote code ran')\n"}


@pytest.fixture(scope="session")
def whole_files():
    """One file of weights."""
    return model_files("1GB", 64)


@pytest.fixture(scope="session")
def sharded_files():
    """Several shards and their index."""
    files = model_files("60KB", 32)
    assert sum(name.endswith(".safetensors") for name in files) > 2
    return files


@pytest.fixture(scope="session")
def dataset_files():
    """CommonsenseQA's schema; the training split is large enough to be stored apart."""
    names = {"train": range(600), "validation": range(600, 610), "test": range(610, 615)}
    files = {"README.md": b"---\nlicense: mit\n---\n", "notes.bin": b"not a table"}
    for split, numbers in names.items():
        keys = ["" if split == "test" else "ABCDE"[i % 5] for i in numbers]
        rows = [
            {**question(i, key), "id": hashlib.md5(b"%d" % i).hexdigest()}
            for i, key in zip(numbers, keys, strict=True)
        ]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        files[f"data/{split}-00000-of-00001.parquet"] = sink.getvalue().to_pybytes()
    return files


@pytest.fixture
def hub():
    """A hub with nothing on it."""
    served = Hub()
    yield served
    served.close()


@pytest.fixture
def whole(hub, whole_files):
    """(repository, commit) of the model in one file."""
    repository = hub.add(Repository("model", "acme/whole"))
    return repository, repository.commit(whole_files)


@pytest.fixture
def sharded(hub, sharded_files):
    """(repository, commit) of the model in shards."""
    repository = hub.add(Repository("model", "acme/sharded", licence="llama2"))
    return repository, repository.commit(sharded_files)


@pytest.fixture
def questions(hub, dataset_files):
    """(repository, commit) of the dataset."""
    repository = hub.add(Repository("dataset", "acme/questions", licence="mit"))
    return repository, repository.commit(dataset_files)


class User:
    """One user's machine: a home with a hub cache, a folder to write to, an environment."""

    def __init__(self, folder: Path, hub: Hub):
        self.folder, self.hub = folder, hub
        self.out, self.logs = folder / "out", []
        kept = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
        cache = folder / "cache"
        self.environment = kept | {
            **{"HOME": str(folder), "HF_HOME": str(cache), "HF_ENDPOINT": hub.url},
            **{"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        }

    def run(self, *words: str, **changes: str):
        """Run `python -m WORDS...` and keep its output."""
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.logs.append(done.stdout + done.stderr)
        # At that level the library logs tracebacks of what it recovers from.
        assert "HF_DEBUG" in changes or "Traceback" not in self.logs[-1], self.logs[-1]
        return done

    def model(self, repository: str, revision: str, **changes: str):
        """Fetch a model to out/NAME."""
        place = ["--repo", repository, "--revision", revision, "--output-dir"]
        name = repository.split("/")[1]
        return self.run("scripts.models", "hub", *place, str(self.out / name), **changes)

    def data(self, repository: str, revision: str, **changes: str):
        """Prepare a dataset to out/NAME."""
        found = json.dumps(entry("csqa", repo=repository, revision=revision))
        place = ["--output-dir", str(self.out / repository.split("/")[1])]
        return self.run("scripts.data", "--dataset", "csqa", "--entry", found, *place, **changes)

    def record(self, name: str) -> bytes:
        """record.json of a model."""
        return (self.out / name / "record.json").read_bytes()


@pytest.fixture
def user(tmp_path, hub):
    """A user of that hub."""
    return User(tmp_path, hub)


def last_line(done) -> str:
    """The one line of a failed script: status 2, one `error: ...`, and it is the last line."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert lines[-1].startswith("error: ")
    return lines[-1]


def verified(user: User, name: str, **changes: str):
    """Run a stage that verifies the model's files, wherever they lie."""
    target = user.out / f"{name}-copy"
    words = ["copy", "--source", str(user.out / name), "--output-dir", str(target)]
    return user.run("scripts.models", *words, **changes)


def completes(user, name: str, commit: str) -> None:
    """The next run succeeds; each file is compared with the Hub's hash as it is fetched."""
    done = user.model(f"acme/{name}", commit)
    assert done.returncode == 0, done.stderr
    assert json.loads(user.record(name))["commit"] == commit
