"""From a GGUF file to a model of a mirror: config, weights, tokenizer and, last, `gguf.json`.

transformers reads the file and dequantises it. What it leaves out in silence would change the
model's numbers, so it is checked here: every value of the file must be in the result.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from first_distill.errors import UserError, few, writing
from first_distill.files import (
    atomic_path,
    describe,
    describe_files,
    read_json,
    scratch_folder,
    write_json,
)
from first_distill.models.sources.gguf_tokens import check_reading, write_tokenizer

RECORD = "gguf.json"
CONFIG, WEIGHTS, SCRATCH = "config.json", "model.safetensors", "conversion"
# Settings that change a model's numbers and that transformers leaves out, and values that do not.
UNREAD = ("rope.scaling.type", "rope.scaling.factor", "rope.scale_linear", "attention.scale")
UNREAD += ("attention.clamp_kqv", "embedding_scale", "residual_scale", "logit_scale")
NEUTRAL = (None, "none", 0, 1)
# Layers of the Gemma whose attention is scaled by the width of its heads, as llama.cpp has it.
SCALED_BY_WIDTH = {"gemma2": 46, "gemma3": 62}
ROPE_FACTORS = "rope_freqs.weight"  # of Llama 3.1 and later: divides each rotary frequency
COMPARE = "compare its size and sha256 with its publisher's"


def convert(file: Path, folder: Path, dtype: str) -> dict:
    """Write the model of a GGUF file to `folder`, weights as `dtype`; the content of its record.

    Weights are the dequantised values, rounded once to `dtype`. Raises UserError for a file that is
    damaged, holds no tokenizer, or describes a model that transformers would read only in part, and
    for a folder that holds anything else.
    """
    package = importlib.util.find_spec("gguf")
    if package is None or package.origin is None:  # the second: a folder of this name
        raise UserError("package not installed: gguf, which reads GGUF files: run `make gguf`")
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repo = "/".join(folder.absolute().parts[-2:])
    try:
        validate_repo_id(repo)
    except HFValidationError:
        advice = "use letters, digits, . _ and -"
        raise UserError(f"--output-dir: {repo!r} is no OWNER/NAME: {advice}") from None
    source = describe(_checked(file))
    _refuse_other_content(folder, {"sha256": source["sha256"], "dtype": dtype})
    with _one_line(file):
        from gguf import GGUFReader

        reader = GGUFReader(file)
        metadata = {key: field.contents() for key, field in reader.fields.items()}
    about = _about(file, metadata, reader.tensors)
    with scratch_folder(folder / SCRATCH) as made, writing(folder / WEIGHTS):
        with _one_line(file):
            write_tokenizer(file, metadata, made)
        _write_model(file, metadata, reader.tensors, made, dtype)
        check_reading(file, made)
        (folder / RECORD).unlink(missing_ok=True)
        names = sorted(path.name for path in made.iterdir())
        for name in names:
            with atomic_path(folder / name) as temporary:
                (made / name).replace(temporary)
        # A mirror has no revisions; where one is asked for, this tells which file it was.
        record = {"file": file.name, "revision": source["sha256"][:40], **source, **about}
        record |= {"dtype": dtype, "versions": {n: version(n) for n in ("gguf", "transformers")}}
        write_json(folder / RECORD, {**record, "files": describe_files(folder, names)})
    return record


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"no such file: {file}: check the path")
    with file.open("rb") as stream:
        start = stream.read(4)
    if start != b"GGUF":
        raise UserError(f"no GGUF file: {file}: it begins with {start!r}, not b'GGUF': {COMPARE}")
    return file


def _refuse_other_content(folder: Path, wanted: dict) -> None:
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if not names or f".{SCRATCH}.part" in names:  # the second: left by a killed conversion
        return
    record = {}
    if RECORD in names:
        with contextlib.suppress(UserError):
            record = read_json(folder / RECORD)
    if not wanted.items() <= record.items():
        held = few(sorted(names))
        if record:
            held = f"{record.get('file')} as {record.get('dtype')}"
        raise UserError(f"folder not empty: {folder}: it holds {held}: name another folder")


@contextlib.contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Turn errors of gguf and transformers about the file's content into one line."""
    try:
        yield
    except Exception as error:  # tokenizers raises no other class for a broken vocabulary
        if isinstance(error, UserError | MemoryError) or getattr(error, "errno", None):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise UserError(f"unreadable GGUF file: {file}: {reason}: {COMPARE}") from None


def _about(file: Path, metadata: dict, tensors: list) -> dict:
    """{architecture, quantization} of a file that transformers reads."""
    from gguf import LlamaFileType

    architecture, kind = (metadata.get(f"general.{k}") for k in ("architecture", "file_type"))
    if architecture not in (known := _architectures()):
        raise UserError(
            f"unknown architecture: {file}: {architecture!r}: transformers reads {', '.join(known)}"
        )
    if (parts := metadata.get("split.count", 1)) > 1:
        raise UserError(f"one of {parts} files of a model: {file}: join them into one first")
    for key in (f"{architecture}.{name}" for name in UNREAD):
        if (value := metadata.get(key)) not in NEUTRAL:
            raise UserError(
                f"unread setting: {file}: {key} is {value!r}, which transformers does not read "
                "from GGUF: use the model's safetensors"
            )
    names = {one.value: one.name for one in LlamaFileType}
    used = Counter(tensor.tensor_type.name for tensor in tensors)
    quantization = {"file_type": names.get(kind, kind), "tensors": dict(sorted(used.items()))}
    return {"architecture": architecture, "quantization": quantization}


def _architectures() -> list[str]:
    """Names of the architectures that transformers reads, as GGUF files spell them."""
    from transformers.integrations import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS

    # Not these: parts of any file, and encoder-decoders.
    names = {*GGUF_CONFIG_MAPPING, *GGUF_CONFIG_ARCHS} - {"general", "tokenizer", "t5", "umt5"}
    spelled = {"qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss"}
    spelled |= {"minimax_m2": "minimax-m2"}
    return sorted(spelled.get(name, name) for name in names)


def _write_model(file: Path, metadata: dict, tensors: list, folder: Path, dtype: str) -> None:
    """config.json and model.safetensors, without anything that belongs to a quantised model."""
    with _one_line(file):
        plain = _plain(file, _changes(metadata, tensors), dtype)
    numbers = sum(tensor.n_elements for tensor in tensors if tensor.name != ROPE_FACTORS)
    used = sum(parameter.numel() for parameter in plain.parameters())
    if numbers != used:
        raise UserError(
            f"read only in part: {file}: it has {numbers} weights, the model that transformers "
            f"makes of it {used}: use the model's safetensors"
        )
    if not all(parameter.isfinite().all() for parameter in plain.parameters()):
        raise UserError(f"infinite weights: {file}: as {dtype}: use float32, or {COMPARE}")
    with scratch_folder(folder / "model") as saved:
        plain.save_pretrained(saved, max_shard_size="1000GB")
        for name in (CONFIG, WEIGHTS):
            (saved / name).replace(folder / name)


def _changes(metadata: dict, tensors: list) -> dict:
    """What transformers' configuration of the file lacks or assumes."""
    architecture = metadata["general.architecture"]
    own = {key.removeprefix(f"{architecture}."): value for key, value in metadata.items()}
    if own["block_count"] > len(tensors):
        raise ValueError("more layers than tensors")
    named = {tensor.name: tensor for tensor in tensors}
    changes = {"vocab_size": len(named.get("output.weight", named["token_embd.weight"]).data)}
    for key in ("attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window"):
        if key in own:
            changes[key.removeprefix("attention.")] = own[key]
    if architecture in SCALED_BY_WIDTH:
        width = own["embedding_length"] // own["attention.head_count"]
        if own["block_count"] != SCALED_BY_WIDTH[architecture]:
            width = own.get("attention.key_length", width)
        changes["query_pre_attn_scalar"] = width
    if ROPE_FACTORS in named:
        factors = named[ROPE_FACTORS].data.tolist()
        changes["rope_parameters"] = {  # LongRoPE at one length divides frequencies by factors
            "rope_type": "longrope",
            "rope_theta": own.get("rope.freq_base", 10000.0),
            "original_max_position_embeddings": own["context_length"],
            "short_factor": factors,
            "long_factor": factors,
            "factor": 1.0,
            "attention_factor": 1.0,
        }
    return changes


def _plain(file: Path, changes: dict, dtype: str):
    """The model, of a class and a configuration that know of no quantisation.

    The loaded one cannot be saved: transformers goes on to take it for quantised.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    place = {"gguf_file": file.name, "local_files_only": True}
    config = AutoConfig.from_pretrained(file.parent, trust_remote_code=False, **place, **changes)
    loaded, report = AutoModelForCausalLM.from_pretrained(
        file.parent,
        config=copy.deepcopy(config),
        dtype=dtype,
        output_loading_info=True,
        use_safetensors=True,
        trust_remote_code=False,
        **place,
    )
    if lost := sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])}):
        raise ValueError(f"no tensor, or one of another shape, for {few(lost)}")
    with torch.device("meta"):
        plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    return plain
