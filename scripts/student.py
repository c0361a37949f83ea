"""Stage student: train the small model from its base, by hard labels or knowledge (Eq. 5).

Reads a base checkpoint, data/{corpus}/{train,validation}.parquet and, for objective `knowledge`,
the teacher's store of the training split and a temperature; writes a checkpoint folder in Hugging
Face layout and validation.json.
"""

from pathlib import Path

from first_distill.errors import UserError, positive
from first_distill.runtime.launch import launch


def build_parser():
    """Options of one student's training."""
    from first_distill import cli
    from first_distill.calibration.recalibration import RECALIBRATIONS
    from first_distill.training.losses import STUDENT_SIDES
    from first_distill.training.settings import add_finetuning_options

    options = cli.parser("scripts.student", __doc__)
    add_finetuning_options(options)
    add = options.add_argument_group("method").add_argument
    add("--method", required=True, help="name of the method, for the record")
    add("--objective", choices=("hard_labels", "knowledge"), required=True)
    add("--knowledge", type=Path, help="knowledge store of the training split")
    add("--pair", nargs="?", type=Path, help="record of `scripts.models pair`, if it was made")
    add("--k", type=positive, default=5, help="tokens a position that are matched")
    add(
        "--recalibration",
        choices=RECALIBRATIONS,
        default="none",
        help="A.1, Eq. 3, Eq. 4, softmax(z / T), or shares of draws",
    )
    add("--delta", type=float, default=0.1, help="Eq. 3's shift")
    add("--ls-space", choices=("prob", "log"), default="prob", help="Eq. 3's space")
    add("--c", help="Eq. 4's temperature: a number, or the selected.json that holds it")
    text = "the student's side of Eq. 5; softmax_same_c is renorm where Eq. 4 has no part"
    add("--student-side", choices=STUDENT_SIDES, default="full_vocab", help=text)
    positions = ("all", "answer_only")
    add("--ts-positions", choices=positions, default="all", help="where Eq. 4 acts")
    return options


def recalibration_settings(arguments) -> dict:
    """Settings of the recalibration: {}, delta and space, or c, the temperature of Eq. 4.

    The T of `logit_temperature` and the draws of `sampled` are the store's.
    """
    from first_distill.calibration.temperature_search import read_temperature

    name, k, delta = arguments.recalibration, arguments.k, arguments.delta
    if (arguments.c is None) is (name == "prob_softmax"):
        advice = "give" if arguments.c is None else "leave out"
        raise UserError(f"--recalibration {name}: {advice} --c")
    if name == "label_smoothing":
        if not (0 < delta < 1 and k > 1):
            raise UserError(f"delta = {delta}, k = {k}: --delta must lie in (0, 1), --k above 1")
        return {"delta": delta, "space": arguments.ls_space}
    if name == "prob_softmax":
        return {"c": read_temperature(arguments.c, what="--c")["c"]}
    return {}


def knowledge_loss(arguments):
    """Eq. 5 against the teacher's stored knowledge, re-calibrated."""
    from first_distill.knowledge.store import KnowledgeStore
    from first_distill.training.knowledge_loss import KnowledgeLoss

    if arguments.knowledge is None:
        raise UserError("objective knowledge needs a store: give --knowledge")
    settings, side = recalibration_settings(arguments), arguments.student_side
    if side == "softmax_same_c" and "c" not in settings:
        # Without a temperature of Eq. 4 the authors' two sides are both A.1, that is `renorm`.
        side = "renorm"
    store = KnowledgeStore.open(arguments.knowledge)
    name, positions, k = arguments.recalibration, arguments.ts_positions, arguments.k
    if name == "logit_temperature":
        settings = {"t": store.logit_temperature}
    if name == "sampled":
        settings, k = {"draws": store.draws}, store.k
    elif "draws" in store.manifest:
        raise UserError(f"--recalibration {name}: a sampled store: --knowledge: use `sampled`")
    return KnowledgeLoss(store, k, name, settings, side, positions)


def main(argv: list[str] | None = None) -> int:
    """Train one student."""
    arguments = build_parser().parse_args(argv)

    from first_distill.distributed.comm import process_group
    from first_distill.knowledge.store import MANIFEST
    from first_distill.provenance import records
    from first_distill.training.finetune import finetune
    from first_distill.training.losses import CrossEntropy

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
            search = arguments.c if arguments.c and arguments.c.endswith(".json") else None
            files = (arguments.knowledge / MANIFEST, search, arguments.pair)
            made_from = [path for path in files if path]
        finetune("student", arguments, loss, arguments.method, made_from, **facts)
    return 0


if __name__ == "__main__":
    launch("scripts.student", main)
