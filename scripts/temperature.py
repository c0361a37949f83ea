"""Stage temperature: the c of Eq. 4 with the lowest ECE on the validation split (paper 5.5).

Reads the knowledge store of the validation split; writes coarse.csv, refined.csv (the whole curve)
and selected.json. Never reads a test split or a model.
"""

from pathlib import Path

from first_distill.errors import positive
from first_distill.runtime.launch import launch


def main(argv: list[str] | None = None) -> int:
    """Search the temperature of one teacher on one corpus."""
    from first_distill import cli

    options = cli.parser("scripts.temperature", __doc__)
    add = options.add_argument
    add("--knowledge", type=Path, required=True, help="knowledge store of the validation split")
    add("--k", type=positive, default=5, help="tokens a position")
    add("--bins", type=positive, default=10, help="bins of the ECE")
    add("--output-dir", type=Path, required=True, help="folder to write")
    arguments = options.parse_args(argv)

    import numpy as np
    import pandas

    from first_distill.calibration.metrics import expected_calibration_error
    from first_distill.calibration.temperature_search import search_temperature
    from first_distill.errors import UserError
    from first_distill.files import write_csv
    from first_distill.knowledge.store import MANIFEST, KnowledgeStore
    from first_distill.models.batching import scored_positions
    from first_distill.provenance import records
    from first_distill.provenance.made_by import provenance

    store = KnowledgeStore.open(arguments.knowledge)
    scored = store.manifest["scored"]
    mask = scored_positions(np.diff(store.offsets), scored)
    if not mask.any():
        raise UserError(
            f"no position to score: {arguments.knowledge}: its rows have no response: extract "
            "the knowledge of a split that has"
        )
    probabilities = store.probabilities(arguments.k)[mask]
    correct = store.arrays["gold_rank"][mask] == 0
    result = search_temperature(probabilities, correct, arguments.bins)
    curves = {"coarse.csv": result.coarse, "refined.csv": result.refined}
    for name, curve in curves.items():
        write_csv(arguments.output_dir / name, pandas.DataFrame(curve), floats="%.6f")
    confidence = probabilities[:, 0].clip(0.0, 1.0)
    records.write(
        arguments.output_dir / "selected.json",
        {
            "c": result.best["c"],
            "coarse_c": result.coarse_c,
            "at_edge": result.at_edge,
            "ece": result.best["ece"],
            "nll": result.best["nll"],
            "accuracy": float(correct.mean()),
            "n": int(mask.sum()),
            "k": arguments.k,
            "bins": arguments.bins,
            "scored": scored,
            "teacher_ece": expected_calibration_error(confidence, correct, arguments.bins),
            "teacher_confidence": float(confidence.mean()),
            "provenance": provenance("temperature"),
        },
        curves,
        [arguments.knowledge / MANIFEST],
    )
    return 0


if __name__ == "__main__":
    launch("scripts.temperature", main)
