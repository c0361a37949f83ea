"""One tokenizer interface for training, extraction and evaluation.

Reads `tokenizer.model` (sentencepiece) if a checkpoint has one, else `tokenizer.json`. The
sentencepiece file comes first because it is the original: OpenLlama's converted fast tokenizer is
known to be wrong. No other module turns text into ids.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import read_json, sha256_file

TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """Text to token ids, always with BOS in front and never with EOS behind.

    Special-token text inside a string (`</s>`, `<unk>`) is ordinary text: it can never become BOS
    or EOS. A vocabulary of whole words, the tiny world's, has no pieces to spell it with
    and reads it as any unknown word.
    """

    encode_raw: Callable[[list[str]], list[list[int]]]  # without BOS and EOS
    pieces: dict[str, int]
    bos_id: int
    eos_id: int
    sha256: str

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return len(self.pieces)

    def tokens(self) -> list[tuple[str, int]]:
        """Every token with its id, in the order of the ids."""
        return sorted(self.pieces.items(), key=lambda item: item[1])

    def vocabulary_sha256(self) -> str:
        """Hash of every token with its id, and of BOS and EOS, independent of the file format."""
        content = json.dumps([self.tokens(), self.bos_id, self.eos_id])
        return hashlib.sha256(content.encode()).hexdigest()

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, BOS first."""
        return [[self.bos_id, *ids] for ids in self.encode_raw(texts)]

    def encode(self, text: str) -> list[int]:
        """Ids of one text, BOS first."""
        return self.encode_many([text])[0]


def load_tokenizer(folder: str | Path) -> TextTokenizer:
    """Load the tokenizer of a checkpoint folder in Hugging Face layout.

    Raises UserError if the folder has no tokenizer file or the file names no BOS or EOS.
    """
    folder = Path(folder)
    for name, load in zip(TOKENIZER_FILES, (_from_sentencepiece, _from_json), strict=True):
        if (folder / name).is_file():
            return load(folder / name)
    raise UserError(
        f"no tokenizer: {folder}: expected one of {', '.join(TOKENIZER_FILES)}: "
        "remake the model's folder with its rule in rules/models.smk"
    )


def _from_sentencepiece(path: Path) -> TextTokenizer:
    import sentencepiece

    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(f"unreadable tokenizer: {path}: {error}: fetch it again") from None
    for name, token_id in (("bos_token", model.bos_id()), ("eos_token", model.eos_id())):
        if token_id < 0:  # sentencepiece's value for none
            raise UserError(f"no {name}: {path}: use a tokenizer that has one")

    pieces = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    encode_raw = partial(model.encode, out_type=int)
    return TextTokenizer(encode_raw, pieces, model.bos_id(), model.eos_id(), sha256_file(path))


def _from_json(path: Path) -> TextTokenizer:
    # As many threads as the job has: with more, concurrent jobs only slow each other.
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAYON_NUM_THREADS", threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false" if threads == "1" else "true")
    import tokenizers

    try:
        model = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception for a broken file
        raise UserError(f"unreadable tokenizer: {path}: {error}: remake it") from None
    model.encode_special_tokens = True
    model.no_padding()
    model.no_truncation()

    def encode_raw(texts):
        encodings = model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    pieces = model.get_vocab(with_added_tokens=True)
    bos_id, eos_id = (_special_id(path, model, name) for name in ("bos_token", "eos_token"))
    return TextTokenizer(encode_raw, pieces, bos_id, eos_id, sha256_file(path))


def _special_id(path: Path, model, name: str) -> int:
    config_path = path.with_name("tokenizer_config.json")
    token = read_json(config_path).get(name)
    token = token.get("content") if isinstance(token, dict) else token
    token_id = model.token_to_id(token) if token else None
    if token_id is None:
        raise UserError(f"no {name}: {config_path}: name a token of {path.name} as {name}")
    return token_id
