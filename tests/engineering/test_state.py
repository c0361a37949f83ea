"""Resumable state: found again by the same facts, by no other, and never damaged."""

import json
from pathlib import Path

import pytest

from first_distill.errors import UserError
from first_distill.runtime import state

FACTS = {"k": 5, "code": "ab", "packages": {"torch": "2.13.0", "numpy": "2.4.6"}}
NUMPY = "packages.numpy"


def write(text: str):
    return lambda path: path.write_text(text)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_same_facts_in_any_order_find_the_same_folder(tmp_path, capsys):
    place = state.open_state(tmp_path, FACTS)
    state.seal_part(place / "a.bin", write("x"), {})
    assert state.open_state(tmp_path, dict(reversed(FACTS.items()))) == place
    assert state.read_seal(place / "a.bin") is not None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "change, named",
    [({"dtype": "bfloat16", "k": None}, "dtype, k"), ({"packages": {"torch": "2.13.0"}}, NUMPY)],
)
def test_other_facts_start_anew_and_are_reported(tmp_path, capsys, change, named):
    place = state.open_state(tmp_path, FACTS)
    state.seal_part(place / "a.bin", write("x"), {})
    other = state.open_state(tmp_path, {**FACTS, **change})
    assert other != place and tree(other) == {"facts.json"}
    assert capsys.readouterr().err == (
        f"state of other settings: {place}: not resumed: it differs in {named}\n"
    )
    assert state.read_seal(place / "a.bin") is not None  # and left alone


def test_facts_must_be_plain_json(tmp_path):
    with pytest.raises(ValueError):
        state.open_state(tmp_path, {"rate": float("nan")})
    assert tree(tmp_path) == set()


def test_a_sealed_part_gives_its_note(tmp_path):
    state.seal_part(tmp_path / "a.bin", write("one"), {"step": 1})
    state.seal_part(tmp_path / "a.bin", write("other"), {"step": 2})
    note = state.read_seal(tmp_path / "a.bin")
    assert (note["step"], note["bytes"]) == (2, 5)
    assert tree(tmp_path) == {"a.bin", "a.json"}


def test_a_part_without_seal_does_not_exist(tmp_path, capsys):
    assert state.read_seal(tmp_path / "a.bin") is None
    (tmp_path / "a.bin").write_text("killed before it was sealed")
    assert state.read_seal(tmp_path / "a.bin") is None
    state.seal_part(tmp_path / "b.bin", write("x"), {})
    (tmp_path / "b.bin").unlink()
    assert state.read_seal(tmp_path / "b.bin") is None
    assert capsys.readouterr().err == ""


def test_a_failed_save_leaves_no_seal_of_the_part_before(tmp_path):
    """The seal goes first: a kill between part and seal must not join new bytes to an old note."""

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    state.seal_part(tmp_path / "a.bin", write("one"), {"step": 1})
    with pytest.raises(OSError):
        state.seal_part(tmp_path / "a.bin", fail, {"step": 2})
    assert tree(tmp_path) == {"a.bin"}
    assert state.read_seal(tmp_path / "a.bin") is None


@pytest.mark.parametrize(
    "name, text",
    [("a.bin", "oNe"), ("a.bin", "on"), ("a.json", "{"), ("a.json", "{}"), ("a.json", "[]")],
)
def test_a_damaged_part_is_reported_and_not_used(tmp_path, capsys, name, text):
    state.seal_part(tmp_path / "a.bin", write("one"), {})
    (tmp_path / name).write_text(text)
    assert state.read_seal(tmp_path / "a.bin") is None
    assert capsys.readouterr().err == f"damaged state: {tmp_path / 'a.bin'}: not resumed from\n"


def test_every_bit_of_a_seal_counts(tmp_path):
    """No note of another step is resumed from, and no damage ends in a traceback."""
    path, seal = tmp_path / "a.bin", tmp_path / "a.json"
    state.seal_part(path, write("one"), {"step": 31, "schedule": {"rate": 0.25}})
    whole = seal.read_bytes()
    for i in range(len(whole)):
        seal.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        assert state.read_seal(path) is None, i
    seal.write_bytes(whole)
    assert state.read_seal(path)["step"] == 31


@pytest.mark.parametrize("text", ['{"k": 5', "[]", '{"k": "5"}'])
def test_damaged_facts_of_another_job_are_reported(tmp_path, capsys, text):
    place = state.open_state(tmp_path, FACTS)
    (place / "facts.json").write_text(text)
    assert state.open_state(tmp_path, {**FACTS, "k": 6}) != place
    assert f"{place}: not resumed: its facts.json is damaged\n" in capsys.readouterr().err


def test_remove_takes_all_facts_of_one_job_and_no_other_job(tmp_path):
    folder = tmp_path / "results/tiny/.state/knowledge/alder"
    other = state.open_state(folder / "boolq", FACTS)
    for facts in (FACTS, {**FACTS, "k": 6}):
        place = state.open_state(folder / "csqa", facts)
        state.seal_part(place / "a.bin", write("x"), {})
    state.open_state(folder / "csqa/2-of-3", FACTS)  # of the same job, split into parts
    state.remove_state(folder / "csqa")
    assert not (folder / "csqa").exists() and (other / "facts.json").is_file()
    state.remove_state(folder / "boolq")
    assert tree(tmp_path) == {"results", "results/tiny"}
    state.remove_state(folder / "boolq")  # nothing there


def test_remove_takes_nothing_that_is_no_state(tmp_path):
    """`--state-dir .` must not cost the user a folder."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/facts.json").write_text(json.dumps({"mine": True}))
    place = state.open_state(tmp_path, FACTS)
    state.remove_state(tmp_path)
    assert not place.exists()
    assert tree(tmp_path) == {"thesis", "thesis/facts.json"}


@pytest.mark.parametrize("text, seconds", [(None, 1800), ("0", 0), ("0.5", 30), ("90", 5400)])
def test_minutes_between_parts(monkeypatch, text, seconds):
    monkeypatch.delenv("FIRST_CHECKPOINT_MINUTES", raising=False)
    if text is not None:
        monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", text)
    assert state.seconds_between_parts() == seconds


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon", ""])
def test_minutes_between_parts_must_be_a_number(monkeypatch, text):
    monkeypatch.setenv("FIRST_CHECKPOINT_MINUTES", text)
    with pytest.raises(UserError, match="FIRST_CHECKPOINT_MINUTES"):
        state.seconds_between_parts()
