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
    from scripts.first.calibration.recalibration import RECALIBRATIONS
    from scripts.first.training.losses import STUDENT_SIDES
    from scripts.first.training.settings import add_training_options

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
        "--recalibration", choices=RECALIBRATIONS, default="none", help="A.1, Eq. 3 or Eq. 4"
    )
    group.add_argument("--delta", type=float, default=0.1, help="Eq. 3's shift")
    group.add_argument("--ls-space", choices=("prob", "log"), default="prob", help="Eq. 3's space")
    group.add_argument("--c", type=float, help="Eq. 4's temperature, fixed")
    group.add_argument("--selected", type=Path, help="Eq. 4's temperature from selected.json")
    group.add_argument(
        "--student-side",
        choices=STUDENT_SIDES,
        default="full_vocab",
        help="the student's side of Eq. 5; softmax_same_c is renorm where Eq. 4 has no part",
    )
    group.add_argument(
        "--ts-positions", choices=("all", "answer_only"), default="all", help="where Eq. 4 acts"
    )
    cli.add_encoding_options(options)
    add_training_options(options)
    cli.add_validation_options(options)
    return options


def recalibration_settings(arguments) -> dict:
    """Settings of the recalibration: {}, delta and space, or c, the temperature of Eq. 4."""
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


def knowledge_loss(arguments):
    """Eq. 5 against the teacher's stored knowledge, re-calibrated."""
    from scripts.first.knowledge.store import KnowledgeStore
    from scripts.first.training.knowledge_loss import KnowledgeLoss

    if arguments.knowledge is None:
        raise UserError("objective knowledge needs a store: give --knowledge")
    settings, side = recalibration_settings(arguments), arguments.student_side
    if side == "softmax_same_c" and "c" not in settings:
        # Without a temperature of Eq. 4 the authors' two sides are both A.1, that is `renorm`.
        side = "renorm"
    store = KnowledgeStore.open(arguments.knowledge)
    name, positions = arguments.recalibration, arguments.ts_positions
    return KnowledgeLoss(store, arguments.k, name, settings, side, positions)


def main(argv: list[str] | None = None) -> int:
    """Train one student."""
    arguments = build_parser().parse_args(argv)

    from scripts.first.distributed.comm import process_group
    from scripts.first.knowledge.store import MANIFEST
    from scripts.first.provenance import records
    from scripts.first.training.cross_entropy import CrossEntropy
    from scripts.first.training.finetune import finetune

    with process_group():
        loss, made_from = CrossEntropy(), []
        facts = {"kind": "student", "method": arguments.method}
        if arguments.objective == "knowledge":
            loss = knowledge_loss(arguments)
            facts |= {
                "knowledge": loss.store.manifest["files"],
                "recalibration": {"name": loss.recalibration, "k": loss.k, **loss.settings},
                "student_side": loss.student_side,
                "ts_positions": loss.ts_positions,
            }
            if arguments.pair is not None:
                records.read(arguments.pair)
            made_from = [arguments.knowledge / MANIFEST, arguments.selected, arguments.pair]
        made_from = list(filter(None, made_from))
        finetune("student", arguments, loss, arguments.method, made_from, **facts)
    return 0


if __name__ == "__main__":
    launch("scripts.student", main)
