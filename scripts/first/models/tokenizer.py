"""One tokenizer interface for training, extraction and evaluation.

Reads `tokenizer.model` (sentencepiece) where a checkpoint has one, else `tokenizer.json`.
The sentencepiece file comes first because it is the original: OpenLlama's converted fast tokenizer
is known to be wrong. Nothing but this module turns text into ids.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.files import sha256_file

TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")


class TextTokenizer:
    """Text to token ids, always with BOS in front and never with EOS behind.

    Special-token text inside a string (`</s>`, `<unk>`) is ordinary text: it can never become BOS
    or EOS. A vocabulary of whole words, the tiny world's, has no pieces to spell it with
    and reads it as any unknown word.
    """

    def __init__(
        self,
        encode_many,
        pieces: dict[str, int],
        bos_id: int,
        eos_id: int,
        sha256: str,
    ):
        self._encode_many = encode_many
        self._pieces = pieces
        self.vocabulary_size = len(pieces)
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.sha256 = sha256

    def tokens(self) -> list[tuple[str, int]]:
        """Every token with its id, in the order of the ids."""
        return sorted(self._pieces.items(), key=lambda item: item[1])

    def vocabulary_sha256(self) -> str:
        """Hash of every token with its id, and of BOS and EOS, whatever file format they lie in."""
        content = json.dumps([self.tokens(), self.bos_id, self.eos_id])
        return hashlib.sha256(content.encode()).hexdigest()

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, BOS first."""
        return [[self.bos_id, *ids] for ids in self._encode_many(texts)]

    def encode(self, text: str) -> list[int]:
        """Ids of one text, BOS first."""
        return self.encode_many([text])[0]


def load_tokenizer(folder: str | Path) -> TextTokenizer:
    """Load the tokenizer of a checkpoint folder in Hugging Face layout.

    Raises UserError where the folder has no tokenizer file or the file names no BOS or EOS.
    """
    folder = Path(folder)
    if (folder / "tokenizer.model").is_file():
        return _from_sentencepiece(folder / "tokenizer.model")
    if (folder / "tokenizer.json").is_file():
        return _from_json(folder / "tokenizer.json")
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
        if token_id < 0:  # sentencepiece's way to say that there is none
            raise UserError(f"no {name}: {path}: use a tokenizer that has one")
    return TextTokenizer(
        lambda texts: model.encode(texts, out_type=int),
        {model.id_to_piece(i): i for i in range(model.vocab_size())},
        model.bos_id(),
        model.eos_id(),
        sha256_file(path),
    )


def _from_json(path: Path) -> TextTokenizer:
    # As many threads as the job was given: with more, jobs side by side only slow each other.
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
    ids = _special_ids(path, model)

    def encode_many(texts):
        encodings = model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    return TextTokenizer(
        encode_many,
        model.get_vocab(with_added_tokens=True),
        ids["bos_token"],
        ids["eos_token"],
        sha256_file(path),
    )


def _special_ids(path: Path, model) -> dict[str, int]:
    config_path = path.with_name("tokenizer_config.json")
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"unreadable tokenizer settings: {config_path}: {error}") from None
    found = {}
    for name in ("bos_token", "eos_token"):
        token = config.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        token_id = model.token_to_id(token) if token else None
        if token_id is None:
            raise UserError(f"no {name}: {config_path}: name a token of {path.name} as {name}")
        found[name] = token_id
    return found
