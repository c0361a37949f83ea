"""GGUF files that cannot become a model: one line each, and nothing left in the folder."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from first_distill.errors import UserError
from first_distill.files import sha256_file
from scripts import models
from tests import families, gguf_files
from tests import tiny_models as tiny


def convert(file: Path, folder: Path, *words: str) -> None:
    models.main(["gguf", "--file", str(file), "--output-dir", str(folder), *words])


@cache
def good() -> Path:
    return gguf_files.write(tiny.root() / "good.gguf")


def tokens(**changes) -> dict:
    """Byte-level metadata with some values replaced, or left out where they are None."""
    found = gguf_files.byte_level("gpt-2")
    found |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {key: value for key, value in found.items() if value is not None}


def own(**changes):
    """A file of one's own."""
    return lambda path: gguf_files.write(path, **changes)


def cut(share: float):
    def make(path: Path) -> None:
        content = good().read_bytes()
        path.write_bytes(content[: max(5, int(share * len(content)))])

    return make


CAPS = {"attn": 20.0, "final": 10.0}
NAMES = {name: None for name in ("tokens", "model", "merges", "token_type")}
UNREADABLE = "unreadable GGUF file: {file}: "
LINES = [
    (lambda path: None, "no such file: {file}: check the path"),
    (lambda path: path.mkdir(), "no such file: {file}: check the path"),
    (lambda path: path.write_bytes(b""), r"no GGUF file: {file}: it begins with b''"),
    (lambda path: path.write_text("version https://"), r"no GGUF file: {file}: .* b'vers', not"),
    *((cut(n / 100), UNREADABLE + ".*: compare its size and") for n in (0, 1, 9, 60, 99)),
    (
        own(without="blk.1.ffn_up.weight"),
        UNREADABLE + "no tensor, .* for model.layers.1.mlp.up_proj",
    ),
    (own(without="token_embd.weight"), UNREADABLE + "'token_embd.weight'"),
    (own(architecture="grok"), "unknown architecture: {file}: 'grok': transformers reads .*qwen2"),
    (own(architecture="t5"), "unknown architecture: {file}: 't5': transformers reads .*llama"),
    (own(**{"split.count": 3}), "one of 3 files of a model: {file}: join them into one first"),
    (own(**{"llama.rope.scaling.type": "yarn"}), "unread setting: {file}: .*type is 'yarn', which"),
    (own(**{"llama.rope.scaling.factor": 4.0}), "unread setting: {file}: llama.rope.*factor is 4"),
    (own(**{"llama.rope.scale_linear": 4.0}), "unread setting: {file}: llama.*linear is 4.0, wh"),
    (own(tokens=tokens(**NAMES)), "no tokenizer: {file}: it has no tokenizer.ggml.tokens"),
    (own(tokens=tokens(eos_token_id=None)), "no eos_token: {file}: it has no token tokenizer.ggml"),
    (own(tokens=tokens(bos_token_id=9999, add_bos_token=True)), "no bos_token: {file}: it has no"),
    (own(tokens=tokens(pre="viking")), "unknown split of text: {file}: .*pre is 'viking', which"),
    (own(tokens=tokens(pre=None)), "unknown split of text: {file}: .*pre is None, which"),
    (own(tokens=tokens(merges=["Zz q"])), UNREADABLE + ".*Token `Zz` out of vocabulary"),
    (own(**{"llama.block_count": 2**31}), UNREADABLE + "more layers than tensors: compare"),
    (own(**{"llama.attention.head_count": 3}), UNREADABLE + ".*: compare its size and"),
    (own(tokens=tokens(model="bert")), UNREADABLE + ".*tokenizer 'bert'"),
]


@pytest.mark.parametrize(("make", "line"), LINES)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, make, line):
    make(file := tmp_path / "a.gguf")
    with pytest.raises(UserError) as caught:
        convert(file, tmp_path / "mirror/owner/name")
    assert re.match(line.format(file=re.escape(str(file))), str(caught.value))
    assert "\n" not in str(caught.value)
    assert not [*(tmp_path / "mirror").rglob("*.*")]


def test_weights_that_transformers_leaves_out(tmp_path):
    """A bias that its Llama does not have: it would be dropped in silence."""
    file = gguf_files.write(tmp_path / "a.gguf", extra={"blk.0.attn_q.bias": (64,)})
    with pytest.raises(UserError, match=r"read only in part: \S+a.gguf: it has (\d+) weights, "):
        convert(file, tmp_path / "o/n")


def test_weights_beyond_the_dtype(tmp_path):
    file = gguf_files.write(tmp_path / "a.gguf", scale=1e6)
    with pytest.raises(UserError, match="infinite weights: .*a.gguf: as float16: use float32, or"):
        convert(file, tmp_path / "o/n", "--dtype", "float16")
    convert(file, tmp_path / "o/n")


def test_a_token_that_gets_another_id(tmp_path):
    """transformers spells `<｜end｜>` anew, and would add it behind the model's outputs."""
    changed = tokens()
    changed["tokenizer.ggml.tokens"][2] = "<｜end｜>"
    with pytest.raises(UserError, match="another eos_token: .*a.gguf: .* '<｜end｜>' the id 400"):
        convert(gguf_files.write(tmp_path / "a.gguf", tokens=changed), tmp_path / "o/n")


def test_a_tokenizer_that_the_architecture_overrules(tmp_path):
    """transformers reads any folder of Qwen2 with the tokenizer of Qwen2."""
    file = gguf_files.write(tmp_path / "a.gguf", architecture="qwen2")
    with pytest.raises(UserError, match="not the model's own tokenizer: .*as Qwen2Tokenizer, with"):
        convert(file, tmp_path / "o/n")


def test_without_the_package(tmp_path):
    """In a Python with no packages at all."""
    line = [sys.executable, "-S", "-m", "scripts.models", "gguf", "--file", str(good())]
    line += ["--output-dir", str(tmp_path / "o/n")]
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(line, cwd=tiny.REPOSITORY, env=kept, capture_output=True, text=True)
    said = "error: package not installed: gguf, which reads GGUF files: run `make gguf`\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_with_a_folder_of_its_name(tmp_path):
    (tmp_path / "gguf").mkdir()
    line = [sys.executable, "-S", "-m", "scripts.models", "gguf", "--file", str(good())]
    line += ["--output-dir", str(tmp_path / "o/n")]
    places = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{tiny.REPOSITORY}"}
    done = subprocess.run(line, cwd=tmp_path, env=os.environ | places, capture_output=True)
    assert done.returncode == 2 and b"package not installed: gguf" in done.stderr


def test_a_folder_that_is_no_repository(tmp_path):
    with pytest.raises(UserError, match="--output-dir: 'o x/n:' is no OWNER/NAME"):
        convert(good(), tmp_path / "o x/n:")


def test_the_record_and_the_line(tmp_path, capsys):
    folder = tmp_path / "mirror/owner/name"
    convert(good(), folder, "--dtype", "bfloat16")
    digest = sha256_file(good())
    record = json.loads((folder / "gguf.json").read_text())
    assert record["sha256"] == digest and record["bytes"] == good().stat().st_size
    assert record["architecture"] == "llama" and record["dtype"] == "bfloat16"
    kinds = {"F16": 3, "F32": 5, "Q4_1": 8, "Q8_0": 5}
    assert record["quantization"] == {"file_type": "MOSTLY_Q4_1", "tensors": kinds}
    assert record["versions"].keys() == {"gguf", "transformers"}
    assert {*record["files"], "gguf.json"} == {path.name for path in folder.iterdir()}
    assert all(f["sha256"] == sha256_file(folder / n) for n, f in record["files"].items())
    place = f"{{hub: {{repo: owner/name, revision: {digest[:40]}}}}}"
    assert capsys.readouterr().out.endswith(f"under models: NAME: {place}\n")


def test_the_folder_of_another_file_stays(tmp_path):
    """The same file may be converted again; so may what a killed conversion has left."""
    folder = tmp_path / "o/n"
    convert(good(), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "gguf.json").unlink()
    with pytest.raises(UserError, match="folder not empty: .*config.json, .* and 1 more: name ano"):
        convert(good(), folder)
    (folder / ".conversion.part").mkdir()
    convert(good(), folder)
    convert(good(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(UserError, match="it holds good.gguf as float32: name another folder"):
        convert(good(), folder, "--dtype", "bfloat16")
    other = gguf_files.write(tmp_path / "other.gguf", tied=True)
    with pytest.raises(UserError, match="folder not empty: .*o/n: it holds good.gguf as float32"):
        convert(other, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "scaled_by"), [(2, 32), (46, 16)])
def test_what_gemma_caps_and_scales_by(tmp_path, layers, scaled_by):
    """Heads of 32; in the largest model, as in llama.cpp, the width of 64 over 4 heads."""
    pieces = families.tokenizer("sentencepiece") / "tokenizer.model"
    own = {f"gemma2.{key}_logit_softcapping": value for key, value in CAPS.items()}
    own |= {"gemma2.attention.key_length": 32, "gemma2.attention.sliding_window": 24}
    file = gguf_files.gemma2(tmp_path / "a.gguf", pieces, layers, **own)
    convert(file, tmp_path / "o/n")
    config = json.loads((tmp_path / "o/n/config.json").read_text())
    assert {key: config[f"{key}_logit_softcapping"] for key in CAPS} == CAPS
    assert config["query_pre_attn_scalar"] == scaled_by and config["sliding_window"] == 24
