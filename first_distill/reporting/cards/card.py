"""The model card of a student, in the layout of the Hugging Face Hub: what it is, how good, whence.

Reads the student's record.json, its evaluation's metrics.json, the report.json of its corpus and
benchmarks, the record of its base, and of a distilled student the knowledge's manifest.json, the
teacher's base and the selected.json of c, where there are any; writes README.md and its record.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from first_distill.calibration.intervals import LEVEL
from first_distill.errors import UserError
from first_distill.files import read_text
from first_distill.provenance.made_by import commit
from first_distill.provenance.records import place
from first_distill.reporting.names import HEADLINE, METERS, printed
from first_distill.reporting.output import publish, read
from first_distill.reporting.runs import read_metrics

TEMPLATE = Path(__file__).with_name("card.md.j2")
WEIGHTS = "model.safetensors"
BESIDE = ("smooth_ece", "nll", "brier", "auroc")  # meters without an interval
ENGLISH = {"csqa", "boolq", "obqa", "alpaca", "movie"}  # where they are not generated
BOS = {"auto": "", "always": ",add_bos_token=True", "never": ",add_bos_token=False"}


def run(args: argparse.Namespace) -> None:
    """Make the model card of one student."""
    student = read("record.json", args.record, "method", "corpus", "settings", "files")
    benchmarks = read_metrics([args.metrics])
    labels = {name: benchmarks[0][name] for name in ("scale", "family", "corpus", "method", "seed")}
    reports = {
        own["dataset"]: own for own in (read("report.json", p, "source") for p in args.reports)
    }
    if missing := [own["benchmark"] for own in benchmarks if own["benchmark"] not in reports]:
        raise UserError(f"no report: --reports: {missing[0]}: give the report.json of each dataset")
    evaluated = read("metrics.json", args.metrics, "model")["model"]
    _same(args.metrics, student["files"][WEIGHTS]["sha256"], evaluated, what="metrics")
    knowledge = read("manifest.json", args.manifest, "teacher") if args.manifest else None
    if ("knowledge" in student) is not bool(knowledge):
        raise UserError(
            f"no knowledge: --manifest: {args.record}: give that of a distilled student"
        )
    if knowledge:
        _same(args.manifest, student["knowledge"], knowledge["files"], what="knowledge")
    origins = {"base": args.base, "teacher's base": args.teacher_base}
    terms = {what: _origin(path) for what, path in origins.items() if path}
    generated = reports[labels["corpus"]]["source"]["kind"] == "world"
    own_work = generated and all(own["kind"] == "pretrained" for own in terms.values())
    content = {
        **labels,
        "name": "{scale}-{family}-{corpus}-{method}-seed{seed}".format(**labels),
        "student": student,
        "weights": student["files"][WEIGHTS],
        "splits": reports[labels["corpus"]]["splits"],
        "sources": {name: {"repo": None, **own["source"]} for name, own in reports.items()},
        "base": terms["base"],
        "own_work": own_work,
        "terms": terms,
        "knowledge": knowledge,
        "teacher": _teacher(args.manifest, knowledge) if knowledge else None,
        "teacher_base": terms.get("teacher's base"),
        "search": read("selected.json", args.selected, "c", "at_edge") if args.selected else None,
        "benchmarks": benchmarks,
        "folder": f"results/{Path(place(args.record) or args.record).parent}",
        "english": reports.keys() <= ENGLISH
        and all(own["source"]["kind"] != "world" for own in reports.values()),
        "commit": commit(),
        "bos_option": BOS[student["bos"]["policy"]],
        "level": LEVEL,
        "headline": HEADLINE,
        "beside": {name: METERS[name] for name in BESIDE},
    }
    single = [args.record, args.metrics, args.base, args.manifest, args.teacher_base, args.selected]
    sources = [*filter(None, single), *args.reports, TEMPLATE]
    publish(args.output_prefix, "card", sources, md=rendered(read_text(TEMPLATE), content))


def rendered(template: str, content: dict) -> str:
    """Return the card; every name of the template must be in its content."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printed"] = printed
    return environment.from_string(template).render(content) + "\n"


def _origin(path: str) -> dict:
    """{name, kind, repo, commit, licence} of a base model, None where its record has none."""
    record = read("record.json", path, "kind")
    commit = record.get("commit") or record.get("mirrored_revision")
    own = {"name": Path(path).parent.name, "kind": record["kind"], "commit": commit}
    hub = record["kind"] in ("hub", "mirror")
    return own | {"repo": record["repo"] if hub else None, "licence": record.get("licence")}


def _teacher(path: str, knowledge: dict) -> dict:
    """{place, weights}: where the teacher of some knowledge was trained, sha256 of its weights."""
    trained = [source for source in knowledge["made_from"] if source.endswith("/record.json")]
    if not trained:
        raise UserError(f"no teacher: {path}: its record does not name one: extract it again")
    return {"place": f"results/{Path(trained[0]).parent}", "weights": knowledge["teacher"]}


def _same(path: str, own: object, other: object, what: str) -> None:
    if own != other:
        raise UserError(f"{what} of another student: {path}: give those of the student")
