"""One tokenizer interface for training, extraction and evaluation.

transformers' AutoTokenizer says which tokens are BOS and EOS and whether BOS is put. The text is
read by `tokenizer.json` as it stands: many classes rebuild the tokenizer from its vocabulary and
forget the rest, such as SmolLM2's split of digits. `vocab.json` with `merges.txt` is read by the
class. A `tokenizer.model` without these is read by sentencepiece itself, since its conversion is
known to be wrong for OpenLlama. No other module turns text into ids.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from first_distill.errors import UserError
from first_distill.files import sha256_file

JSON, MODEL, SLOW = ("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt")
CONFIG, NAMES, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
# Classes that put BOS unless add_bos_token says otherwise; the first is that of a bare file.
PUT_BOS = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer")
ADVICE = "use the files that its model was published with"


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """Text to token ids: the prefix, BOS or nothing, then the text, never EOS.

    Special-token text inside a string (`</s>`, `<unk>`) is ordinary text: it can never become BOS
    or EOS. A vocabulary of whole words, the tiny world's, has no pieces to spell it with
    and reads it as any unknown word. bos_id is None where no BOS is declared. policy: `auto` (the
    prefix is what the tokenizer puts itself), `always` (BOS) or `never`. special_ids: those that
    no text becomes.
    """

    encode_raw: Callable[[list[str]], list[list[int]]]  # without prefix
    pieces: dict[str, int]
    bos_id: int | None
    eos_id: int
    prefix: tuple[int, ...]
    policy: str
    special_ids: frozenset[int]
    sha256: str

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return len(self.pieces)

    @property
    def bos_record(self) -> dict:
        """What is put before every text, for records: {policy, ids}."""
        return {"policy": self.policy, "ids": list(self.prefix)}

    def tokens(self) -> list[tuple[str, int]]:
        """Every token with its id, in the order of the ids."""
        return sorted(self.pieces.items(), key=lambda item: item[1])

    def vocabulary_sha256(self) -> str:
        """Hash of every token with its id, and of EOS, independent of the file format.

        Two families may declare different BOS and put none.
        """
        content = json.dumps([self.tokens(), self.eos_id])
        return hashlib.sha256(content.encode()).hexdigest()

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, the prefix first."""
        return [[*self.prefix, *ids] for ids in self.encode_raw(texts)]

    def encode(self, text: str) -> list[int]:
        """Ids of one text, the prefix first."""
        return self.encode_many([text])[0]


def load_tokenizer(folder: str | Path, bos: str = "auto") -> TextTokenizer:
    """Load the tokenizer of a checkpoint folder in Hugging Face layout; `bos` is the policy.

    Raises UserError if the folder has no tokenizer, a file of it cannot be read, or BOS or EOS is
    needed or named but no token of the files.
    """
    folder = Path(folder)
    forms = (JSON, MODEL, SLOW)
    form = next((f for f in forms if all((folder / name).is_file() for name in f)), None)
    if form is None:
        expected = "tokenizer.json, tokenizer.model, or vocab.json with merges.txt"
        raise UserError(f"no tokenizer: {folder}: expected {expected}: {ADVICE}")
    settings = _settings(folder)
    read = _by_sentencepiece if form == MODEL else partial(_by_transformers, form=form)
    try:
        encode_raw, pieces, special, names, put = read(folder, settings)
    except (UserError, MemoryError):
        raise
    except ImportError as error:
        raise UserError(f"package not installed: {folder}: {_line(error)}: install it") from None
    except Exception as error:  # the bare one of tokenizers, and any of a class
        if "auto_map" in settings[CONFIG]:
            advice = "its own code is never run: use a model whose tokenizer transformers has"
            raise UserError(f"auto_map: {folder / CONFIG}: {advice}") from None
        raise UserError(f"unreadable tokenizer: {folder}: {_line(error)}: {ADVICE}") from None
    for name, token in names.items():
        if token is not None and token not in pieces:
            found = f"{token!r} is no token of {form[0]}"
            raise UserError(f"no {name}: {folder}: {found}: name one of its tokens in {CONFIG}")
        if token is None and (name == "eos_token" or bos == "always"):
            advice = f"name a token of {form[0]} in {CONFIG}"
            if name == "bos_token":
                advice = f"use bos: auto, or {advice}"
            raise UserError(f"no {name}: {folder}: none is named: {advice}")
    ids = {name: pieces.get(token) for name, token in names.items()}
    put = {"auto": put, "always": (ids["bos_token"],), "never": ()}[bos]
    return TextTokenizer(
        *(encode_raw, pieces, ids["bos_token"], ids["eos_token"], put, bos),
        *(frozenset(special), _digest(folder, form)),
    )


def _by_sentencepiece(folder: Path, settings: dict) -> tuple:
    import sentencepiece

    path = folder / MODEL[0]
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        advice = "put the tokenizer.json of its model beside it"
        raise UserError(f"no SentencePiece model: {path}: {_line(error)}: {advice}") from None
    config, names = settings[CONFIG], {}
    for name, own in (("bos_token", model.bos_id()), ("eos_token", model.eos_id())):
        declared = settings[NAMES].get(name) or config.get(name)
        declared = declared.get("content") if isinstance(declared, dict) else declared
        names[name] = declared or (model.id_to_piece(own) if own >= 0 else None)  # -1: it has none
    pieces = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    special = [i for i in pieces.values() if model.is_control(i)]
    special += _added(settings).values()
    pieces |= _added(settings)
    kind = config.get("tokenizer_class") or PUT_BOS[0]
    puts = config.get("add_bos_token", kind.removesuffix("Fast") in PUT_BOS)
    put = (pieces.get(names["bos_token"]),) if puts and names["bos_token"] else ()
    return partial(model.encode, out_type=int), pieces, special, names, put


def _by_transformers(folder: Path, settings: dict, form: tuple[str, ...]) -> tuple:
    # As many threads as the job has: with more, concurrent jobs only slow each other.
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAYON_NUM_THREADS", threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false" if threads == "1" else "true")
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    content = _read(folder / form[0])
    # An absolute path: AutoTokenizer takes one such as deepseek-ai/x for a repository it knows.
    place, local = folder.absolute(), {"local_files_only": True}
    found = reader = AutoTokenizer.from_pretrained(place, trust_remote_code=False, **local)
    if not isinstance(found, PreTrainedTokenizerFast):
        what = f"{type(found).__name__} reads no tokenizer.json"
        raise UserError(f"tokenizer_class: {folder / CONFIG}: {what}: use another model")
    names = {"bos_token": found.bos_token or None, "eos_token": found.eos_token or None}
    if form == JSON and type(found) is not PreTrainedTokenizerFast:
        local |= names
        reader = PreTrainedTokenizerFast.from_pretrained(place, trust_remote_code=False, **local)
    model, encoding = _plain(reader), _plain(found).encode("x")
    put = encoding.ids[: [*encoding.special_tokens_mask, 0].index(0)]

    def encode_raw(texts):
        encodings = model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    known, added = content, []
    if form == JSON:
        known, added = content["model"]["vocab"], content.get("added_tokens", [])
    if isinstance(known, list):  # of Unigram: pieces with their scores
        known = {piece: i for i, (piece, _) in enumerate(known)}
    known = known | _added(settings) | {one["content"]: one["id"] for one in added}
    # A class adds tokens of its own (padding, masks) and those that are named but unknown.
    pieces = model.get_vocab(with_added_tokens=True)
    pieces = {piece: i for piece, i in pieces.items() if known.get(piece) == i}
    special = [i for i, token in model.get_added_tokens_decoder().items() if token.special]
    return encode_raw, pieces, special, names, tuple(put)


def _plain(tokenizer):
    """The `tokenizers.Tokenizer` inside, to which the text of a special token is ordinary text."""
    model = tokenizer.backend_tokenizer
    model.encode_special_tokens = True
    model.no_padding()
    model.no_truncation()
    return model


def _settings(folder: Path) -> dict[str, dict]:
    """Contents of the files that name tokens; {} for one that is not there."""
    names = (CONFIG, NAMES, ADDED)
    return {n: _read(folder / n) if (folder / n).is_file() else {} for n in names}


def _added(settings: dict[str, dict]) -> dict[str, int]:
    """{token: id} of the tokens that are added to a vocabulary, as these files declare them."""
    tokens = settings[CONFIG].get("added_tokens_decoder", {}).items()
    plain = {token: int(i) for token, i in settings[ADDED].items()}
    return plain | {token["content"]: int(i) for i, token in tokens}


def _read(path: Path) -> dict:
    """A JSON object."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"damaged tokenizer: {path}: {error}: {ADVICE}") from None
    if not isinstance(content, dict):
        raise UserError(f"damaged tokenizer: {path}: it is no JSON object: {ADVICE}")
    return content


def _digest(folder: Path, names: tuple[str, ...]) -> str:
    """sha256 of the vocabulary's file, or of the hashes of its files."""
    hashes = [sha256_file(folder / name) for name in names]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .:")
