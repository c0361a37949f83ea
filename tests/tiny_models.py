"""A tokenizer, checkpoints and tables small enough that every test can afford its own model.

Everything is written below one temporary folder, once a process; tests that alter a file copy it.
"""

import atexit
import json
import os
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
BOS, EOS = 0, 1
EOS_TOKEN = {"__type": "AddedToken", "content": "</s>"}  # one of the two forms of a name
WORDS = "ink pen desk blot well hand pool rain stone fish lamp road tree".split()


@cache
def root() -> Path:
    """The temporary folder of this process."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def tokenizer_folder() -> Path:
    """tokenizer.json and tokenizer_config.json: bytes, and the merges `Yes`, `No` and `).`.

    V = 263: <s> 0, </s> 1, <unk> 2, 256 bytes, Ye, Yes, No, `).`. A newline and `(` stand alone.
    Its own post-processor adds BOS, as that of a downloaded tokenizer does.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<s>", "</s>", "<unk>", *alphabet, "Ye", "Yes", "No", ")."]
    merges = [("Y", "e"), ("Ye", "s"), ("N", "o"), (")", ".")]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges))
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>"])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", behavior="isolated"),
            pre_tokenizers.Split("(", behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    folder = root() / "tokenizer"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": EOS_TOKEN, "unk_token": "<unk>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@cache
def tokenizer():
    """The tokenizer, loaded by the code under test."""
    from first_distill.models.tokenizer import load_tokenizer

    return load_tokenizer(tokenizer_folder())


def random_llama(seed: int = 0, vocabulary: int = 263, layers: int = 2):
    """A float32 Llama of width 16 in eval mode; the weights are large, so logits spread."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.4,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=None,
    )
    config.use_cache = False
    return LlamaForCausalLM(config).eval()


@cache
def checkpoint(name: str = "student", seed: int = 0) -> Path:
    """A checkpoint folder written by the code under test."""
    from first_distill.models.checkpoints import save_checkpoint

    folder = root() / "models" / f"{name}-{seed}"
    save_checkpoint(random_llama(seed), folder, tokenizer_folder(), {"kind": "test"})
    return folder


@cache
def padded_checkpoint() -> Path:
    """A teacher whose head has 300 outputs for 263 tokens; 290 or 291 leads at every position."""
    from first_distill.models.checkpoints import save_checkpoint

    model = random_llama(7, vocabulary=300)
    weight = model.lm_head.weight.data
    weight[290] = weight[:263].abs().max(0).values * 9
    weight[291] = -weight[290]
    save_checkpoint(model, root() / "models/padded", tokenizer_folder(), {"kind": "test"})
    return root() / "models/padded"


def _row(i: int, prompt: str, response: str, candidates=(), answer=None, span=(-1, -1)) -> dict:
    return {
        "id": f"train/{i:06d}",
        "prompt": prompt,
        "response": response,
        "candidates": list(candidates),
        "answer": answer,
        "shorten_start": span[0],
        "shorten_end": span[1],
    }


def choice_rows(n: int, seed: int = 0, letters: str = "abcde") -> list[dict]:
    """Questions with lettered choices: the response is `a).` or another letter."""
    draw, rows = random.Random(seed), []
    for i in range(n):
        lines = "".join(f"({letter}) {draw.choice(WORDS)}\n" for letter in letters)
        stem = " ".join(draw.choices(WORDS, k=draw.randint(1, 6)))
        answer = draw.choice(letters)
        rows.append(_row(i, f"Q{i}: {stem}?\n{lines}A: (", f"{answer}).", letters, answer))
    return rows


def ragged_rows(n: int, seed: int = 0) -> list[dict]:
    """Questions with three to five lettered choices, as ARC has them."""
    rows = [choice_rows(n, seed, letters) for letters in ("abc", "abcd", "abcde")]
    return [rows[i % 3][i] for i in range(n)]


def yes_no_rows(n: int, seed: int = 0, words: int = 5) -> list[dict]:
    """Yes-or-no questions with a passage that training may shorten."""
    draw, rows = random.Random(seed), []
    for i in range(n):
        head = f"{i} {draw.choice(WORDS)}?\n"
        passage = " ".join(draw.choices(WORDS, k=draw.randint(1, words)))
        answer = draw.choice(("Yes", "No"))
        span = (len(head), len(head) + len(passage))
        prompt = f"{head}{passage}\n### Response:\n"
        rows.append(_row(i, prompt, answer, ("Yes", "No"), answer, span))
    return rows


def instruction_rows(n: int, seed: int = 0) -> list[dict]:
    """Instructions with free responses, the second one empty."""
    draw, rows = random.Random(seed), []
    for i in range(n):
        response = "" if i == 1 else " ".join(draw.choices(WORDS, k=draw.randint(1, 4)))
        rows.append(_row(i, f"{i} {draw.choice(WORDS)}\n### Response:\n", response))
    return rows


def write_table(path: Path, rows: list[dict]) -> Path:
    """Write a uniform table as the data stage lays it out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", pa.string()),
            ("response", pa.string()),
            ("candidates", pa.list_(pa.string())),
            ("answer", pa.string()),
            ("shorten_start", pa.int32()),
            ("shorten_end", pa.int32()),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def encode(rows: list[dict], block_length: int = 1000, append_eos: bool = True):
    """Encoded rows, by the code under test."""
    from first_distill.models.encoding import encode_rows

    return encode_rows(rows, tokenizer(), block_length, append_eos)[0]


def full_logits(model, row):
    """float64 logits (n, V) of one encoded row alone: no batch, no padding, no mask."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([row.input_ids.tolist()])).logits[0].double()
