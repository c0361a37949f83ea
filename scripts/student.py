"""Stage student: train the small model from its base, by hard labels or knowledge (Eq. 5).

Reads a base checkpoint, data/{corpus}/{train,validation}.parquet and, for objective `knowledge`,
the teacher's store of the training split and a temperature; writes a checkpoint folder in Hugging
Face layout and validation.json.
"""

from __future__ import annotations

from pathlib import Path

from scripts.first.errors import UserError
from scripts.first.runtime.launch import launch


def build_parser():
    """Options of one student's training."""
    from scripts.first import cli

    options = cli.parser("scripts.student", __doc__)
    options.add_argument("--model", type=Path, required=True, help="base checkpoint folder")
    options.add_argument("--train", type=Path, required=True, help="training split (parquet)")
    options.add_argument(
        "--output-dir", type=Path, required=True, help="checkpoint folder to write"
    )
    group = options.add_argument_group("method")
    group.add_argument("--method", required=True, help="name of the method, for the record")
    group.add_argument("--objective", choices=("hard_labels", "knowledge"), required=True)
    group.add_argument("--knowledge", type=Path, help="knowledge store of the training split")
    group.add_argument("--pair", type=Path, help="record of `scripts.models pair`, if it was made")
    group.add_argument("--k", type=int, default=5, help="tokens a position that are matched")
    group.add_argument(
        "--recalibration",
        choices=("none", "label_smoothing", "prob_softmax"),
        default="none",
        help="A.1, Eq. 3 or Eq. 4",
    )
    group.add_argument("--delta", type=float, default=0.1, help="Eq. 3's shift")
    group.add_argument("--ls-space", choices=("prob", "log"), default="prob", help="Eq. 3's space")
    group.add_argument("--c", type=float, help="Eq. 4's temperature, fixed")
    group.add_argument("--selected", type=Path, help="Eq. 4's temperature from selected.json")
    group.add_argument(
        "--student-side",
        choices=("full_vocab", "renorm", "softmax_same_c", "tail_bucket"),
        default="full_vocab",
        help="the student's side of Eq. 5; softmax_same_c is renorm where Eq. 4 has no part",
    )
    group.add_argument(
        "--ts-positions", choices=("all", "answer_only"), default="all", help="where Eq. 4 acts"
    )
    cli.add_encoding_options(options)
    cli.add_training_options(options)
    cli.add_validation_options(options)
    return options


def recalibration_settings(arguments) -> dict:
    """Settings of the recalibration: {} or delta and space or c, the temperature."""
    from scripts.first.provenance import records

    if arguments.recalibration != "prob_softmax":
        for name in ("c", "selected"):
            if getattr(arguments, name) is not None:
                raise UserError(
                    f"--{name}: has no effect on {arguments.recalibration}: leave it out"
                )
    if arguments.recalibration == "label_smoothing":
        if not 0 < arguments.delta < 1:
            raise UserError(f"delta = {arguments.delta}: --delta: it must lie in (0, 1)")
        if arguments.k < 2:
            raise UserError(f"k = {arguments.k}: --k: label smoothing needs at least 2 tokens")
        return {"delta": arguments.delta, "space": arguments.ls_space}
    if arguments.recalibration == "prob_softmax":
        if (arguments.c is None) == (arguments.selected is None):
            raise UserError("prob_softmax needs a temperature: give either --c or --selected")
        c = arguments.c
        if c is None:
            c = records.read(arguments.selected).get("c")
            c = None if isinstance(c, bool) else c
        if not (isinstance(c, int | float) and 0 < c <= 1):
            raise UserError(f"c = {c}: {arguments.selected or '--c'}: it must lie in (0, 1]")
        return {"c": c}
    return {}


def main(argv: list[str] | None = None) -> int:
    """Train one student."""
    from scripts.first.cli import training_settings
    from scripts.first.training.finetune import tune

    arguments = build_parser().parse_args(argv)
    settings = training_settings(arguments)
    if arguments.objective == "hard_labels":
        from scripts.first.training.cross_entropy import train_on_labels

        def fit(model, corpus, state):
            eos = corpus.tokenizer.eos_id
            return train_on_labels(model, corpus.train, settings, eos, arguments.method, state)

        tune("student", arguments, fit, kind="student", method=arguments.method)
        return 0
    if arguments.knowledge is None:
        raise UserError("objective knowledge needs a store: give --knowledge")

    from scripts.first.knowledge.store import MANIFEST, KnowledgeStore
    from scripts.first.provenance import records
    from scripts.first.training.knowledge_loss import (
        MatchingLoss,
        Recalibration,
        check_outputs,
        check_store,
    )
    from scripts.first.training.loop import train

    settings_of_method = recalibration_settings(arguments)
    if arguments.pair is not None:
        records.read(arguments.pair)
    store = KnowledgeStore.open(arguments.knowledge)
    store.check_k(arguments.k)  # a mistake should cost no time
    recalibration = Recalibration(
        arguments.k, arguments.recalibration, settings_of_method, arguments.ts_positions
    )
    c = settings_of_method.get("c")
    if arguments.student_side == "softmax_same_c" and c is None:
        # Without a temperature of Eq. 4 the authors' two sides are both A.1, that is `renorm`.
        arguments.student_side = "renorm"

    def fit(model, corpus, state):
        check_outputs(store, model.config.vocab_size, arguments)
        loss = MatchingLoss(corpus.train, store, recalibration, arguments.student_side, c)
        rows, eos = corpus.train, corpus.tokenizer.eos_id
        return train(model, rows, loss, "sequence_mean", settings, eos, arguments.method, state)

    tune(
        "student",
        arguments,
        fit,
        check=lambda corpus: check_store(store, corpus.tokenizer, arguments),
        made_from=[
            arguments.knowledge / MANIFEST,
            *filter(None, [arguments.selected, arguments.pair]),
        ],
        kind="student",
        method=arguments.method,
        knowledge=store.manifest["files"],
        recalibration={"name": arguments.recalibration, "k": arguments.k, **settings_of_method},
        student_side=arguments.student_side,
        ts_positions=arguments.ts_positions,
    )
    return 0


if __name__ == "__main__":
    launch("scripts.student", main)
