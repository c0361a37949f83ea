"""Stage evaluation: one model on its benchmarks, question by question (Eq. 1, Eq. 2).

Reads a checkpoint and the benchmarks' test splits; writes predictions.parquet (a row a question),
ranks.parquet (the top-5 tokens' probabilities and hits, for Figure 3) and metrics.json, each with
all benchmarks in the given order. Prompts are never truncated. The prediction is the argmax over
the candidates' tokens, its confidence that token's full-vocabulary softmax probability, without a
temperature; with --posthoc, the model's validation result, also at its post-hoc temperatures, from
the same pass: columns `confidence_nll`, `confidence_ece` and so on, and a block `posthoc` of each
benchmark. They change no prediction.
"""

from pathlib import Path

from first_distill.errors import UserError, positive, whole
from first_distill.files import write_parquet
from first_distill.provenance import records
from first_distill.runtime.launch import launch

LABELS = ("scale", "family", "corpus", "method", "seed")


def main(argv: list[str] | None = None) -> int:
    """Evaluate one model on its benchmarks."""
    from first_distill import cli

    options = cli.parser("scripts.evaluation", __doc__)
    options.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    options.add_argument("--benchmarks", nargs="+", required=True, help="names of the test splits")
    options.add_argument("--tests", nargs="+", type=Path, required=True, help="same order, parquet")
    options.add_argument("--posthoc", nargs="?", type=Path, help="the model's validation.json")
    options.add_argument("--bins", type=positive, default=10, help="bins of the ECE")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    for name in LABELS:
        kind = whole if name == "seed" else str
        options.add_argument(f"--{name}", type=kind, required=True, help="label of the model")
    cli.add_inference_options(options)
    cli.add_bos_option(options)
    arguments = options.parse_args(argv)
    names = arguments.benchmarks
    if len(names) != len(arguments.tests) or len({*names}) < len(names):
        raise UserError(f"--benchmarks {' '.join(names)}: --tests: give one file for each, once")

    import pyarrow as pa

    from first_distill.calibration.summary import measure
    from first_distill.calibration.temperature_search import read_posthoc
    from first_distill.data.rows import read_rows
    from first_distill.models import checkpoints
    from first_distill.models.determinism import seed_everything
    from first_distill.models.predictions import gold_columns, predict, tables
    from first_distill.models.tokenizer import load_tokenizer
    from first_distill.provenance.made_by import provenance

    location, record = checkpoints.verify_checkpoint(arguments.model)
    tokenizer = load_tokenizer(location, arguments.bos)
    tests = dict(zip(names, map(read_rows, arguments.tests), strict=True))
    temperatures = read_posthoc(arguments.posthoc) if arguments.posthoc else {}
    seed_everything(0)
    model = checkpoints.load_model(arguments.model, arguments.dtype)
    predictions, ranks, benchmarks = [], [], {}
    for name, rows in tests.items():
        arrays = predict(model, rows, tokenizer, arguments.max_tokens, temperatures)
        table, ranked = tables(name, rows, *arrays)
        predictions.append(table)
        ranks.append(ranked)
        gold, log_probs, tempered = gold_columns(rows), arrays[0], arrays[-1]
        benchmarks[name] = measure(name, table, log_probs, gold, arguments.bins)
        benchmarks[name]["posthoc"] = {
            fit: {"temperature": t, **measure(name, table, tempered[fit], gold, arguments.bins)}
            for fit, t in temperatures.items()
        }
    write_parquet(arguments.output_dir / "predictions.parquet", pa.concat_tables(predictions))
    write_parquet(arguments.output_dir / "ranks.parquet", pa.concat_tables(ranks))
    records.write(
        arguments.output_dir / "metrics.json",
        {
            **{name: getattr(arguments, name) for name in LABELS},
            "model": checkpoints.weights_digest(record),
            "bos": tokenizer.bos_record,
            "benchmarks": benchmarks,
            "provenance": provenance("evaluation"),
        },
        ["predictions.parquet", "ranks.parquet"],
        filter(None, [arguments.model / checkpoints.RECORD, *arguments.tests, arguments.posthoc]),
    )
    return 0


if __name__ == "__main__":
    launch("scripts.evaluation", main)
