"""The working points: real rows, a tokenizer and Llama-shaped models, made once in `scratch`.

Rows come from the hub at the revisions that config/datasets.yaml pins, or from FIRST_DATA_MIRROR;
they are never committed. The models have about 5M parameters in their body (a student; its teacher
has twice as many layers) and an untied output head of 32,000 or 128,256 tokens. `TinyBench` is the
tiny scale itself: its generated world, its bundled models.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from benchmarks.harness import HERE
from first_distill.config.datasets import entry_for
from first_distill.config.load import load, own_files
from first_distill.errors import UserError

ROOT = HERE.parent
DATASETS = ("csqa", "boolq", "obqa", "alpaca")
BODY = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
ONE_BILLION = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
VOCABULARIES = (32_000, 128_256)
BLOCK = 512  # tokens; longer rows are shortened, as at the scale `paper`
TEACHER_STEPS = 80


class Bench:
    """Paths of the benchmarks' inputs; `demo` enables those that run the whole demo.

    `block`: longest row in tokens; `max_tokens`: tokens of one forward pass.
    """

    block, max_tokens = BLOCK, 2048

    def __init__(self, scratch: Path | None = None, demo: bool = False):
        self.scratch = scratch or HERE / "scratch"
        self.demo = demo

    @cached_property
    def cuda(self) -> bool:
        """Whether there is a GPU to run on."""
        import torch

        return torch.cuda.is_available()

    def prepared(self, dataset: str) -> dict[str, Path]:
        """Uniform tables of a real dataset, by split, prepared by the project's own stage."""
        folder = self.scratch / "data" / dataset
        if not (folder / "report.json").is_file():
            # All rows, whatever a scale draws of them.
            entry = entry_for(dataset, load(own_files()), {"validation_share": 0.1})
            words = ["--dataset", dataset, "--entry", json.dumps(entry)]
            run_script("scripts.data", *words, "--output-dir", folder)
        return {path.stem: path for path in folder.glob("*.parquet")}

    def tokenizer(self) -> Path:
        """A byte-level BPE of 32,000 tokens, trained on the rows."""
        folder = self.scratch / "tokenizer"
        if not (folder / "tokenizer.json").is_file():
            text = [self.prepared(name)["train"] for name in ("csqa", "boolq", "alpaca")]
            words = ["tokenizer", "--kind", "bpe", "--vocabulary-size", VOCABULARIES[0]]
            run_script("scripts.models", *words, "--text", *text, "--output-dir", folder)
        return folder

    def model(self, vocabulary: int = VOCABULARIES[0], role: str = "student") -> Path:
        """A checkpoint: `student` random, `teacher` twice as deep and random too.

        `trained` is the student's shape after some hundred steps on Alpaca: stored knowledge
        should come from a model that has learnt something.
        """
        folder = self.scratch / "models" / f"{role}-{vocabulary}"
        if not (folder / "record.json").is_file():
            if role == "trained":
                self._train(folder)
            else:
                layers = BODY["num_hidden_layers"] * (2 if role == "teacher" else 1)
                self._random(folder, vocabulary, {**BODY, "num_hidden_layers": layers})
        return folder

    def one_billion(self, vocabulary: int) -> Path:
        """A random checkpoint of Llama-3.2-1B's shape, for GPUs."""
        folder = self.scratch / "models" / f"1b-{vocabulary}"
        if not (folder / "record.json").is_file():
            self._random(folder, vocabulary, ONE_BILLION)
        return folder

    def _random(self, folder: Path, vocabulary: int, architecture: dict) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        from first_distill.models.checkpoints import save_checkpoint

        torch.manual_seed(1)
        config = LlamaConfig(vocab_size=vocabulary, pad_token_id=None, **architecture)
        save_checkpoint(LlamaForCausalLM(config), folder, self.tokenizer(), {"kind": "random"})

    def _train(self, folder: Path) -> None:
        rows = TEACHER_STEPS * 16
        words = ["--text", self.prepared("alpaca")["train"], "--tokenizer", self.tokenizer()]
        words += ["--architecture", json.dumps(BODY), "--supervise", "all", "--max-rows", rows]
        words += ["--block-length", 128, "--epochs", 1, "--batch-size", 16, "--seed", 1]
        words += ["--learning-rate", 2e-3, "--output-dir", folder]
        run_script("scripts.models", "pretrain", *words)


class TinyBench(Bench):
    """The tiny scale: its encoding, its base models (teachers' weights are not tuned here)."""

    family = "alder"

    def __init__(self, scratch: Path | None = None):
        super().__init__(scratch)
        self.config = load(own_files())
        self.settings = self.config["scales"]["tiny"]
        self.block = self.settings["encoding"]["block_length"]
        self.max_tokens = self.settings["evaluation"]["max_tokens"]
        self.vocabulary = json.loads((self.model() / "config.json").read_text())["vocab_size"]

    def prepared(self, dataset: str) -> dict[str, Path]:
        """A dataset of the generated world, as the tiny scale prepares it."""
        folder = self.scratch / "tiny" / dataset
        if not (folder / "report.json").is_file():
            run_script("scripts.data", *self.data_words(dataset), "--output-dir", folder)
        return {path.stem: path for path in folder.glob("*.parquet")}

    def data_words(self, dataset: str) -> list[object]:
        """Options of `scripts.data` that make it, but for the folder."""
        data = self.settings["data"]
        entry = json.dumps(entry_for(dataset, self.config, data))
        world = json.dumps(data["world"])
        return ["--dataset", dataset, "--entry", entry, "--world-settings", world]

    def tokenizer(self) -> Path:
        """The bundled models'."""
        return self.model()

    def model(self, vocabulary: int | None = None, role: str = "student") -> Path:
        """The bundled base model of a role."""
        role = "student" if role == "student" else "teacher"
        return ROOT / "resources" / "tiny" / f"{self.family}-{role}"


def run_script(module: str, *words: object) -> None:
    """Run one of the project's scripts as a user would; RuntimeError with its stderr on failure."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.returncode:
        return
    last = done.stderr.strip().splitlines()[-1:]
    if last and last[0].startswith("error: "):
        raise UserError(last[0].removeprefix("error: "))
    raise RuntimeError(f"{' '.join(command[1:4])} failed: {done.stderr.strip()[-2000:]}")


def machine() -> dict:
    """Facts about this machine, without names of host or user."""
    import torch

    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", info.read_text()) if info.is_file() else None
    facts = {
        "cpu": found.group(1).strip() if found else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def commit() -> str:
    """The commit that is measured, with `-dirty` where tracked files differ from it."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        return "unknown"  # not a clone
    git = ["git", "-C", str(ROOT)]
    short = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
    sources = [".", ":!benchmarks/results"]  # without what this run itself changes
    dirty = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *sources], check=False)
    return short + ("-dirty" if dirty.returncode else "")


def machine_name(facts: dict) -> str:
    """A file name for a machine: its GPU, or its processor and number of cores."""
    words = facts.get("gpu") or f"{facts['cpu']} {facts['cores']} cores"
    return re.sub(r"[^a-z0-9.]+", "-", re.sub(r"\(.*?\)", "", words).lower()).strip("-")
