"""Stage knowledge: the teacher's top-k at every supervised position, offline (paper section 4.1).

Reads a fine-tuned teacher and one split of its corpus; writes a knowledge store
(knowledge/store.py) or one part of it, or merges parts (knowledge/extraction.py). Top-k and softmax
are over the full vocabulary, in float32. One extraction with the largest k serves every smaller k.
With --draws, ids are sampled instead (knowledge/sampling.py). With --posthoc, the tail is stored at
the teacher's own T by NLL too, for `logit_temperature`.
"""

from pathlib import Path

from first_distill.errors import UserError, positive
from first_distill.runtime.launch import launch


def main(argv: list[str] | None = None) -> int:
    """Extract the knowledge of one teacher on one split, or one part of it, or merge parts."""
    from first_distill import cli

    options = cli.parser("scripts.knowledge", __doc__)
    options.add_argument("--model", type=Path, required=True, help="fine-tuned teacher's folder")
    options.add_argument("--data", type=Path, required=True, help="split of the corpus (parquet)")
    options.add_argument("--posthoc", type=Path, help="the teacher's validation.json, for T")
    options.add_argument("--student", type=Path, help="base checkpoint: ids it lacks are left out")
    options.add_argument("--k", type=positive, required=True, help="tokens stored at each position")
    options.add_argument("--draws", type=positive, help="sample so many ids instead of the top k")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options.add_argument("--output-dir", type=Path, required=True, help="store folder to write")
    options.add_argument("--state-dir", type=Path, help="where a killed run's batches are kept")
    share = options.add_mutually_exclusive_group()
    share.add_argument("--part", metavar="I-of-N", help="extract one of N parts of the split")
    share.add_argument("--merge", type=Path, nargs="+", help="make the store of these parts")
    cli.add_encoding_options(options)
    cli.add_inference_options(options)
    arguments = options.parse_args(argv)

    from dataclasses import asdict

    import numpy as np

    from first_distill.calibration.temperature_search import read_posthoc
    from first_distill.data.rows import read_rows, scored_kind
    from first_distill.files import sha256_file
    from first_distill.knowledge.extraction import device_kind, extract, merge, parse_part
    from first_distill.knowledge.store import FORMAT, NO_RANK, write_store
    from first_distill.models import checkpoints
    from first_distill.models.checks import padding_ids
    from first_distill.models.determinism import seed_everything
    from first_distill.models.encoding import encode_rows
    from first_distill.models.loading import skeleton
    from first_distill.models.structure import output_size
    from first_distill.models.tokenizer import load_tokenizer
    from first_distill.provenance.made_by import provenance
    from first_distill.runtime.state import open_state, remove_state

    part = parse_part(arguments.part or "1-of-1")
    location, record = checkpoints.verify_checkpoint(arguments.model)
    tokenizer = load_tokenizer(location, arguments.bos)
    rows = read_rows(arguments.data)
    encoded, report = encode_rows(rows, tokenizer, arguments.block_length, arguments.append_eos)
    if not encoded:
        raise UserError(f"no row fits {arguments.block_length} tokens: {arguments.data}")
    outputs = output_size(skeleton(location))
    sources, shared = [arguments.model / checkpoints.RECORD, arguments.data], outputs
    if arguments.student:
        student, _ = checkpoints.verify_checkpoint(arguments.student, only=["config.json"])
        shared = output_size(skeleton(student))
        sources.append(arguments.student / checkpoints.RECORD)
    temperature = None
    if arguments.posthoc and not arguments.draws:
        temperature = read_posthoc(arguments.posthoc)["nll"]
        sources.append(arguments.posthoc)
    padding = padding_ids(tokenizer, outputs, shared)
    limit = min(NO_RANK, outputs - len(padding))
    k, max_tokens = arguments.draws or arguments.k, arguments.max_tokens
    if not 1 <= k <= limit:
        raise UserError(f"{k} ids a position: --k or --draws: must lie between 1 and {limit}")
    if arguments.draws and (arguments.part or arguments.merge):
        raise UserError("--draws: a sampled store has no parts: leave out --part and --merge")
    manifest = {
        "format": FORMAT,
        "vocabulary_size": outputs,
        "tokens": outputs - len(padding),
        "scored": scored_kind(rows),
        "mask": "first position = last prompt token; last position = last token read",
        "log": "natural",
        "block_length": arguments.block_length,
        "append_eos": arguments.append_eos,
        "dtype": arguments.dtype,
        "logit_temperature": temperature,
        "teacher": checkpoints.weights_digest(record),
        "tokenizer": tokenizer.sha256,
        "vocabulary": tokenizer.vocabulary_sha256(),
        "bos": tokenizer.bos_record,
        "corpus": sha256_file(arguments.data),
        "encoding": asdict(report),
        "provenance": provenance("knowledge"),
    }
    manifest |= {"draws": arguments.draws} if arguments.draws else {}
    # The manifest of a store describes it; that of a part, and a state, all that decided its bits.
    facts = {**manifest, "k": k, "max_tokens": max_tokens}
    facts["teacher_config"] = record["files"]["config.json"]["sha256"]
    if arguments.merge:
        arrays = merge(arguments.merge, encoded, facts)
    else:
        seed_everything(0)
        model = checkpoints.load_model(arguments.model, arguments.dtype)
        facts |= {"part": arguments.part, "device": device_kind()}
        state = open_state(arguments.state_dir, facts) if arguments.state_dir else None
        how = {"state": state, "padding": padding, "temperature": temperature}
        how["draws"] = arguments.draws
        arrays = extract(model, encoded, k, tokenizer.eos_id, max_tokens, part, **how)
    content = facts if arguments.part else manifest
    mass = arrays.get("padding", np.zeros(1, np.float32)).astype(np.float64)
    content["padding"] = {"share": float(mass.mean()), "largest": float(mass.max())}
    write_store(arguments.output_dir, arrays, content, sources)
    if arguments.state_dir:
        remove_state(arguments.state_dir)
    return 0


if __name__ == "__main__":
    launch("scripts.knowledge", main)
