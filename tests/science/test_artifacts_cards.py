"""Model cards: valid for the Hub, their numbers those of the evaluation, every method described."""

import re

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from first_distill import ROOT
from first_distill.errors import UserError
from first_distill.files import read_json
from first_distill.provenance import records
from tests.science.artifacts_world import CANDIDATES, artifact, write_run

SETTINGS = {"epochs": 5.0, "learning_rate": 0.0033, "micro_batch_size": None}
WORLD = {"kind": "world", "settings": {}}
PRETRAINED = {"kind": "pretrained", "base": None}
HUB = {"kind": "hub", "repo": "me/base-1b", "commit": "ab" * 20, "licence": "apache-2.0"}
CSQA = {"kind": "hub", "repo": "tau/commonsense_qa", "revision": "cd" * 20}
WHERE = "alder/csqa/first_ts/seed1"


class World:
    """Records of one student, below results/tiny of a folder; `options` are those of its card."""

    def __init__(
        self, folder, recalibration=None, base=PRETRAINED, source=WORLD, bos="auto", **more
    ):
        self.root = root = folder / "results/tiny"
        self.student, self.dataset = root / "student" / WHERE, more.pop("dataset", "csqa")
        labels = dict(zip(("family", "corpus", "method", "seed"), WHERE.split("/"), strict=True))
        labels |= {"scale": "tiny", "corpus": self.dataset, "seed": 1, "benchmark": self.dataset}
        self.student.mkdir(parents=True)
        (self.student / "model.safetensors").write_bytes(b"weights of a student")
        names = ("models/alder-student", "models/alder-teacher", "teacher/alder/csqa")
        for name in names:
            self.record(f"{name}/record.json", base)
        files = {}
        if recalibration:
            (root / "knowledge/alder/csqa/train").mkdir(parents=True)
            store = root / "knowledge/alder/csqa/train/knowledge.safetensors"
            store.write_bytes(b"knowledge")
            manifest = {"teacher": "ef" * 32, "positions": 2160, "rows": 720}
            path = store.with_name("manifest.json")
            sources = [root / "teacher/alder/csqa/record.json"]
            records.write(path, manifest, [store.name], sources)
            files = {"knowledge": records.read(path)["files"], "recalibration": recalibration}
            files |= {"student_side": "full_vocab", "ts_positions": "all"}
        content = {
            "kind": "student",
            "method": "first_ts",
            **files,
            "corpus": {"train": "12" * 32, "validation": "34" * 32},
            "settings": SETTINGS,
            "bos": {"policy": bos, "ids": []},
            "encoding": {"dropped_rows": ["train/000007"]},
            "block_length": 160,
            "append_eos": True,
            "processes": 1,
            "provenance": {"stage": "student", "code": "56" * 8, "packages": {"torch": "2"}},
        }
        records.write(self.student / "record.json", content, ["model.safetensors"])
        splits = {"train": {"rows": 720}, "validation": {"rows": 480}}
        report = {"dataset": self.dataset, "source": source, "splits": splits}
        self.record(f"data/{self.dataset}/report.json", report)
        evaluation = root / "evaluation" / WHERE
        write_run(evaluation, labels, 300, 0.7, 0.1, np.random.default_rng(4))
        metrics = records.read(evaluation / "metrics.json")
        weights = records.read(self.student / "record.json")["files"]["model.safetensors"]
        metrics["model"] = weights["sha256"]
        self.metrics = metrics["benchmarks"][self.dataset]
        self.metrics |= more.pop("values", {})
        records.write(evaluation / "metrics.json", metrics, metrics.pop("files"))
        self.options = {
            "record": self.student / "record.json",
            "metrics": evaluation / "metrics.json",
            "reports": [root / f"data/{self.dataset}/report.json"],
            "base": root / "models/alder-student/record.json",
            "output_prefix": self.student / "README",
        }
        if recalibration:
            self.options["manifest"] = root / "knowledge/alder/csqa/train/manifest.json"
            self.options["teacher_base"] = root / "models/alder-teacher/record.json"

    def record(self, name: str, content: dict) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        records.write(self.root / name, content, content.get("files", ()))

    def card(self, **options) -> ModelCard:
        artifact("card", **{**self.options, **options})
        return ModelCard.load(self.student / "README.md")


EQ4 = {"name": "prob_softmax", "k": 5, "c": 0.44}


def test_the_hub_reads_every_number(tmp_path):
    """Values and intervals of metrics.json; what the Hub writes of its data says the same."""
    world = World(tmp_path, EQ4)
    card = world.card()
    found = {own.metric_type: own for own in card.data.eval_results}
    assert found.keys() == {"accuracy", "ece", "trust"}
    for name, own in found.items():
        assert own.metric_value == pytest.approx(world.metrics[name], abs=1e-4)
        low, high = world.metrics["intervals"][name]
        expected = {"n": 300, "level": 0.95, "low": round(low, 4), "high": round(high, 4)}
        assert own.metric_args == pytest.approx(expected)
        assert (own.dataset_type, own.dataset_split) == ("csqa", "test")
        text = f"{world.metrics[name]:.1f} [{low:.1f}, {high:.1f}]"
        assert text in card.text.split("## Metrics")[1]
    again = ModelCardData(**card.data.to_dict() | {"model_name": card.data.model_name})
    assert again.eval_results == card.data.eval_results
    # The words of the generated world are of no language.
    assert (card.data.license, card.data.language, card.data.base_model) == ("mit", None, None)
    assert card.data.library_name == "transformers" and "calibration" in card.data.tags


@pytest.mark.parametrize(
    ("recalibration", "text"),
    [
        (None, "cross-entropy with the labels"),
        ({"name": "none", "k": 5}, "normalised over the k tokens (appendix A.1)"),
        (EQ4, "Eq. 4, .*, c = 0.44"),
        ({"name": "label_smoothing", "k": 5, "delta": 0.1, "space": "log"}, "Eq. 3, .*log-prob"),
        ({"name": "logit_temperature", "k": 5, "t": 1.24493}, r"softmax(z / T) .*, T = 1.2449"),
        ({"name": "sampled", "k": 50, "draws": 50}, "shares of 50 draws"),
    ],
    ids=str,
)
def test_every_method_is_described(tmp_path, recalibration, text):
    card = World(tmp_path, recalibration).card().text
    first, _, rest = text.partition(".*")
    (line,) = [one for one in card.splitlines() if first in one and rest in one]
    assert ("Eq. 5, KL(target, student)" in card) is bool(recalibration)
    assert ("results/tiny/teacher/alder/csqa" in card) is bool(recalibration)
    assert "1 training rows did not fit 160 tokens" in card and "| epochs | 5.0 |" in card
    assert "micro batch" not in card and "34" * 32 in card and line
    assert "snakemake -c2 results/tiny/student/alder/csqa/first_ts/seed1/record.json" in card


def test_a_searched_c_and_the_end_of_the_search(tmp_path):
    world = World(tmp_path, EQ4)
    for at_edge in (False, True):
        world.record("temperature/alder/csqa/selected.json", {"c": 0.44, "at_edge": at_edge})
        card = world.card(selected=world.root / "temperature/alder/csqa/selected.json")
        assert ("at the end of what was searched" in card.text) is at_edge
        assert "lowest ECE on the validation split" in card.text


def test_a_model_of_the_hub(tmp_path):
    """Its licence and its repository, and those of the data, are named, but are not its own."""
    card = World(tmp_path, EQ4, base=HUB, source=CSQA, bos="never").card()
    assert (card.data.base_model, card.data.license) == ("me/base-1b", "other")
    assert "- base: [me/base-1b]" in card.text and ", apache-2.0" in card.text
    assert (card.data.datasets, card.data.language) == (["tau/commonsense_qa"], "en")
    assert card.data.eval_results[0].dataset_type == "tau/commonsense_qa"
    assert f"[me/base-1b](https://huggingface.co/me/base-1b) at `{'ab' * 20}`" in card.text
    assert "seed1,add_bos_token=False \\" in card.text and "invented words" not in card.text


@pytest.mark.parametrize("kind", ["folder", "pruned", "mirror"])
def test_a_student_of_other_peoples_model_is_not_under_our_licence(tmp_path, kind):
    base = {"kind": kind, "repo": "theirs"} if kind != "pruned" else {"kind": kind}
    assert World(tmp_path, EQ4, base=base).card().data.license == "other"


def test_what_it_tells_to_run_is_complete(tmp_path, monkeypatch):
    """The task of lm-eval is that of the library's page; the commit is named where there is one."""
    monkeypatch.setattr("first_distill.reporting.cards.card.commit", lambda: "0123456789ab-dirty")
    text = World(tmp_path / "a", EQ4).card().text
    assert "at commit `0123456789ab-dirty`" in text and "FOLDER" not in text
    (task,) = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.M | re.S)
    assert f"```yaml\n{task}```" in (ROOT / "docs/library.md").read_text()
    monkeypatch.setattr("first_distill.reporting.cards.card.commit", lambda: "unknown")
    assert "at commit" not in World(tmp_path / "b", EQ4).card().text


def test_data_of_the_users_own(tmp_path, monkeypatch):
    """Neither language nor licence is claimed; a meter may be undefined."""
    monkeypatch.setitem(CANDIDATES, "exam", ["yes", "no"])
    source, values = {"kind": "files"}, {"auroc": None}
    card = World(tmp_path, source=source, dataset="exam", values=values).card()
    assert card.data.language is None and card.data.license == "other"
    assert card.data.eval_results[0].dataset_name == "exam"
    assert "| – |" in card.text


def test_the_same_bytes_and_a_record_of_their_sources(tmp_path):
    world = World(tmp_path, EQ4)
    world.card()
    names = ("README.md", "README.record.json")
    first = [(world.student / name).read_bytes() for name in names]
    world.card()
    assert [(world.student / name).read_bytes() for name in names] == first
    record = read_json(world.student / "README.record.json")
    assert record["files"].keys() == {"README.md"} and record["provenance"]["stage"] == "card"
    assert record["place"] == f"tiny/student/{WHERE}/README.record.json"
    expected = {f"tiny/student/{WHERE}/record.json", f"tiny/evaluation/{WHERE}/metrics.json"}
    expected |= {f"tiny/models/alder-{role}/record.json" for role in ("student", "teacher")}
    expected |= {"tiny/data/csqa/report.json", "tiny/knowledge/alder/csqa/train/manifest.json"}
    expected.add("first_distill/reporting/cards/card.md.j2")
    assert record["made_from"].keys() == expected
    front = (world.student / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(front)["model-index"][0]["name"] == "tiny-alder-csqa-first_ts-seed1"


def test_files_of_another_student_are_refused(tmp_path):
    world, other = World(tmp_path / "a", EQ4), World(tmp_path / "b", EQ4)
    store = other.root / "knowledge/alder/csqa/train"
    (store / "knowledge.safetensors").write_bytes(b"other knowledge")
    content = records.read(store / "manifest.json")
    content.pop("files")
    records.write(
        store / "manifest.json",
        content,
        ["knowledge.safetensors"],
        [other.root / "teacher/alder/csqa/record.json"],
    )
    with pytest.raises(UserError, match="knowledge of another student: .*manifest.json: give"):
        world.card(manifest=store / "manifest.json")
    metrics = records.read(world.options["metrics"]) | {"model": "0" * 64}
    records.write(world.options["metrics"], metrics, metrics.pop("files"))
    with pytest.raises(UserError, match="metrics of another student: .*metrics.json: give"):
        world.card()
    del other.options["manifest"]
    with pytest.raises(UserError, match="no knowledge: --manifest: .*record.json: give"):
        other.card()
    other.record("data/boolq/report.json", {"dataset": "boolq", "source": WORLD})
    with pytest.raises(UserError, match="no report: --reports: csqa: give"):
        other.card(reports=[other.root / "data/boolq/report.json"])
