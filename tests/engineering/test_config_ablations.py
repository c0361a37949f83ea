"""Variants of scales and ablations in the configuration."""

import copy

import pytest
import yaml

from first_distill import ROOT
from first_distill.config.datasets import entry_for
from first_distill.config.load import FOLDER, load, own_files, validated, with_variants
from first_distill.config.variants import with_same_teacher
from first_distill.errors import UserError
from tests.engineering.test_config import TINY, merged, refused

NO_EOS, K, SHARE, RUN = "variants.no_eos", "ablations.k", "ablations.data_share", "ablations.as_run"
MISTAKES = [
    (f"{NO_EOS}.encoding.append_eos", 3, "variants.no_eos.encoding.append_eos: 3: Input should be"),
    (f"{NO_EOS}.encoding.append_eoss", True, "no_eos.encoding: unknown key 'append_eoss': did you"),
    (f"{NO_EOS}.models", {}, "variants.no_eos: unknown key 'models': one of data, encoding"),
    (f"{NO_EOS}.encoding", [], "variants.no_eos.encoding: []: Input should be a valid dictionary"),
    (f"{NO_EOS}.knowledge", {"stored_k": 2}, "knowledge.stored_k: 2: should be at least k, 5"),
    (
        f"{NO_EOS}.knowledge",
        {"k": 101},
        "knowledge.stored_k: 100: should be at least k, 101",
    ),
    ("variants.mine", {}, "variants.mine: {}: changes no setting of any scale: see"),
    ("variants.teacher_x2.teacher.epochs_factor", 1, "teacher_x2: {'teacher': {'epochs_factor': 1"),
    ("variants.no-eos", {}, "variants: name 'no-eos': names have the form [a-z][a-z0-9_]{0,47}"),
    ("variants.teacher_x2.teacher.epochs_factor", 0, "teacher_x2.teacher.epochs_factor: 0: Input"),
    (f"{TINY}.data.train_share", 1.0, "tiny.data.train_share: 1.0: Input should be less than 1"),
    ("scales.tiny-no_eos", {}, "scales: name 'tiny-no_eos': names have the form [a-z][a-z0-9_]{"),
    ("scale", "tiny-noeos", "scale: 'tiny-noeos' is not in scales: did you mean 'tiny-no_eos'?"),
    ("scale", "no_eos-tiny", "scale: 'no_eos-tiny' is not in scales"),
    (f"{K}.points.0.method", "distil", "k.points.0.method: 'distil' is not in methods: did you m"),
    (f"{K}.points.0.variant", "noeos", "k.points.0.variant: 'noeos' is not in variants: did you "),
    (f"{K}.lines", ["fine"], "ablations.k.lines.0: 'fine' is not in methods: did you mean 'finet"),
    (
        f"{K}.points",
        [{"label": s, "series": s, "method": "distill"} for s in "ab"],
        "ablations.k.points: no series has two points to compare",
    ),
    (f"{K}.points.0.reference", True, "points: two references among points without a series"),
    (f"{SHARE}.points.0.reference", True, "two references among points of series 'fine-tuned'"),
    (f"{K}.reference", "5", "ablations.k: unknown key 'reference': one of title, points"),
    (f"{K}.points.1.label", "1", "ablations.k.points: two points have the label '1'"),
    (f"{K}.points.1.method", "distill_k1", "the same method and variant: distill_k1, none"),
    (f"{SHARE}.points.0.variant", "share_50", "same method and variant: finetune, share_50: see"),
    (f"{RUN}.points.0.printed", "teacher", "as_run.points.0.printed: 'teacher': Input should be"),
    (
        f"{RUN}.points.0.printed",
        "distill",
        "points: table 'default': needs a point printed as e",
    ),
    (f"{RUN}.points.2.table", "as run", "as_run.points: table 'default': needs a point printed as"),
    (f"{RUN}.points.1.printed", None, "ablations.as_run.points.1.table: has no effect without pri"),
    (f"{K}.points.1.x", None, "ablations.k.points: all need an x, or none"),
    (f"{K}.points", [{"label": "1", "method": "distill"}], "k.points: [{'label': '1', 'method'"),
    ("ablations.eos.axis", "EOS", "ablations.eos.axis: has no effect without x"),
    (f"{K}.columns", "csqa", "k.columns: 'csqa': Input should be 'first', 'in_domain', 'out_of_d"),
    ("methods.distill_k1.k", 256, "methods.distill_k1.k: 256: Input should be less than or equal"),
    ("methods.finetune.k", 3, "methods.finetune.k: has no effect with objective hard_labels"),
    ("methods.first_ts.k", 3, "methods.first_ts.k: 3: c is searched at the scale's k, so give c"),
    ("methods.rs_kd_10.k", 3, "methods.rs_kd_10.k: has no effect with recalibration sampled"),
    ("methods.rs_kd_10.draws", None, "methods.rs_kd_10: missing key draws: recalibration sampled"),
    ("methods.distill.draws", 5, "methods.distill.draws: has no effect with recalibration none"),
    ("methods.first_task.c", 0.3, "methods.first_task.c_from: has no effect with c 0.3"),
    ("methods.first_task.c_from", "csq", "methods.first_task.c_from: 'csq' is not in datasets: d"),
    ("methods.first_task.c_from", "pretraining", "c_from: pretraining has no validation split"),
    ("methods.first_task.teacher", "finetune", "first_task: has only one of c_from and teacher"),
]


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=[repr(m[2]) for m in MISTAKES])
def test_mistakes_name_their_key(path, value, said):
    refused(path, value, said)


def test_a_variant_is_laid_over_every_scale_and_changes_nothing_else():
    config = load(own_files())
    before = copy.deepcopy(config)
    found = with_variants(config)
    assert config == before == {**found, "scales": config["scales"]}
    names = [*config["scales"], *(f"{s}-{v}" for v in config["variants"] for s in config["scales"])]
    assert [*found["scales"]] == names
    for scale, settings in config["scales"].items():
        assert found["scales"][scale] == settings
        expected = copy.deepcopy(settings)
        expected["encoding"]["append_eos"] = False
        assert found["scales"][f"{scale}-no_eos"] == expected


def test_epochs_are_multiplied_for_each_corpus():
    config = merged()
    teacher = config["scales"]["tiny"]["teacher"]
    teacher["training"] |= {"epochs": 4, "per_corpus": {"alpaca": {"epochs": 5}}}
    teacher["training"]["per_corpus"]["boolq"] = {"learning_rate": 1e-3}
    scales = with_variants(validated(config))["scales"]
    for variant, factor in (("teacher_x2", 2), ("teacher_x4", 4)):
        found = scales[f"tiny-{variant}"]["teacher"]
        assert "epochs_factor" not in found
        training = found["training"]
        assert training["epochs"] == 4 * factor
        assert training["per_corpus"]["alpaca"] == {"epochs": 5 * factor}
        assert training["per_corpus"]["boolq"] == {"learning_rate": 1e-3}
    assert scales["tiny"]["teacher"]["training"]["epochs"] == 4
    teacher["epochs_factor"] = 3  # of a scale itself; a variant's own replaces it
    scales = with_variants(validated(config))["scales"]
    assert scales["tiny"]["teacher"]["training"]["epochs"] == 12
    assert scales["tiny-teacher_x2"]["teacher"]["training"]["epochs"] == 8


def test_a_share_of_the_training_rows_reaches_the_data():
    config = with_variants(load(own_files()))
    whole, half = (config["scales"][name]["data"] for name in ("tiny", "tiny-share_50"))
    entries = [entry_for("csqa", config, data) for data in (whole, half)]
    assert entries[1] == {**entries[0], "train_share": 0.5} and "train_share" not in entries[0]


SAME = {  # the scale with the same teacher, and that with the same but for the seed
    "tiny": ("tiny", "tiny"),
    "tiny-no_eos": ("tiny-no_eos", "tiny-no_eos"),
    "tiny-share_25": ("tiny-share_25", "tiny-share_25"),
    "tiny-teacher_seed_2001": ("tiny-teacher_seed_2001", "tiny"),
    "tiny-student": ("tiny", "tiny"),
    "tiny-both": ("tiny-teacher_x2", "tiny-teacher_x2"),
}


def test_which_variants_have_another_teacher():
    """Not one that changes only students; the seed alone makes another of the same kind."""
    config = merged()
    config["variants"]["student"] = {"student": {"training": {"weight_decay": 0.5}}}
    config["variants"]["both"] = {"teacher": {"epochs_factor": 2}, "knowledge": {"k": 4}}
    scales = with_variants(validated(config))["scales"]
    for name, expected in SAME.items():
        found = [with_same_teacher(scales, name), with_same_teacher(scales, name, seed=False)]
        assert found == [*expected], name


def test_text_of_the_command_line_in_a_variant():
    changes = {
        "variants": {"no_eos": {"encoding": {"append_eos": "false"}}},
        "scale": "tiny-no_eos",
    }
    config = with_variants(load(own_files(), changes))
    assert config["scale"] in config["scales"]
    assert config["scales"]["tiny-no_eos"]["encoding"]["append_eos"] is False


def test_methods_of_ablations_stand_in_one_file_and_each_is_named():
    """Otherwise nothing would ever build it."""
    content = yaml.safe_load((FOLDER / "ablations.yaml").read_text())
    points = [point for entry in content["ablations"].values() for point in entry["points"]]
    assert {*content["methods"]} <= {point["method"] for point in points}
    assert {*content["variants"]} == {point.get("variant") for point in points} - {None}


def test_the_page_has_a_whole_example(tmp_path):
    """It is valid beside the files of the project, and its teacher is equal to the scale's."""
    text = (ROOT / "docs/ablations.md").read_text(encoding="utf-8")
    example = text.partition("`own.yaml`")[2].partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "own.yaml").write_text(example)
    config = with_variants(load([*own_files(), tmp_path / "own.yaml"]))
    assert len(config["ablations"]["own"]["points"]) == 3
    assert with_same_teacher(config["scales"], "tiny-decay") == "tiny"


def test_a_variants_mistake_is_one_line():
    config = merged()
    config["variants"]["mine"] = {"student": {"training": {"epochs": "many"}}}
    with pytest.raises(UserError) as caught:
        validated(config)
    message = str(caught.value)
    assert message.startswith("config: variants.mine.student.training.epochs: 'many': ")
    assert "\n" not in message
