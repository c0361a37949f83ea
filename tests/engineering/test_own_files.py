"""Folders of one's own tables: which files are read, and what is said where they cannot be."""

from pathlib import Path

import pytest
import yaml

from first_distill.data import sources
from first_distill.data.readers import describes, files_below
from first_distill.errors import UserError

ENTRY = {"splits": {"train": "train", "test": "test"}, "fields": {"text": "text"}}
PLAIN = {"train.csv": "text\na\n", "test.csv": "text\nb\n"}


def fill(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def configs(**found: dict[str, str]) -> str:
    """A README.md: {configuration: {split: file}}."""
    listed = [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": path} for split, path in files.items()],
        }
        for name, files in found.items()
    ]
    return f"---\n{yaml.safe_dump({'configs': listed})}---\n"


def read(root: Path, **changes) -> sources.Official:
    return sources.from_files("quiz", {**ENTRY, "path": str(root), **changes})


def refused(root: Path, **changes) -> str:
    with pytest.raises(UserError) as caught:
        read(root, **changes)
    assert "\n" not in str(caught.value) and "quiz: " in str(caught.value)
    return str(caught.value)


# Which files are the folder's --------------------------------------------------------------------


def test_all_files_below_a_folder_and_nothing_else(tmp_path):
    """Links to folders are followed, also in a circle; folders and dangling links are no files."""
    root = fill(tmp_path / "q", {"a.csv": "", "b/.huggingface.yaml": "", "x.csv/y.csv": ""})
    fill(tmp_path / "far", {"c.csv": ""})
    (root / "data").symlink_to(tmp_path / "far")
    (root / "circle").symlink_to(root)
    (root / "old.csv").symlink_to(tmp_path / "gone.csv")
    (root / "README.md").mkdir()
    found = [path.relative_to(root).as_posix() for path in files_below(root)]
    assert found == ["a.csv", "b/.huggingface.yaml", "data/c.csv", "x.csv/y.csv"]
    names = ("README.md", ".huggingface.yaml", "dataset_infos.json", "a.csv")
    assert [describes(root / name) for name in names] == [True, True, True, False]


@pytest.mark.parametrize("place", ["README.md", ".huggingface.yaml"])
def test_a_file_outside_of_the_folder_is_refused(tmp_path, place):
    text = configs(default={"train": "../far/train.csv", "test": "test.csv"})
    text = text if place == "README.md" else text.replace("---\n", "")
    root = fill(tmp_path / "q", {"test.csv": "text\nb\n", place: text})
    fill(tmp_path / "far", PLAIN)
    said = refused(root)
    assert said.startswith("file outside of the folder: quiz: ") and "/far/train.csv: move" in said
    assert "split train" in said


def test_a_linked_subfolder_is_read(tmp_path):
    text = configs(default={"train": "data/train.csv", "test": "data/test.csv"})
    root = fill(tmp_path / "q", {"README.md": text})
    fill(tmp_path / "far", PLAIN)
    (root / "data").symlink_to(tmp_path / "far")
    assert [*read(root).identity["files"]] == ["data/test.csv", "data/train.csv"]


@pytest.mark.parametrize("sibling", [True, False])
def test_a_name_that_is_a_pattern(tmp_path, sibling):
    root = fill(tmp_path / "g[1]", PLAIN)
    if sibling:
        fill(tmp_path / "g1", PLAIN)
    assert refused(root).endswith(
        ": rename the folder: in its path *, ? and [ stand for other letters"
    )


@pytest.mark.parametrize("name", ["none.csv", "x" * 300])
def test_no_such_path(tmp_path, name):
    assert refused(tmp_path / name).startswith("no such file or folder: quiz: path ")


# Splits and configurations -----------------------------------------------------------------------

OTHERS = {
    "dev.jsonl": ('{"text": "c"}\n', (1, 1)),
    "validation.parquet": ("no Parquet", None),
    "validation.txt": ("c", None),
    "validation.csv.gz": ("c", None),
    "validation.zip": ("no archive", None),
    "validation.docx": ("c", None),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_unused_split_in_another_format_is_only_counted(tmp_path, name):
    content, counted = OTHERS[name]
    plain = read(fill(tmp_path / "plain", PLAIN))
    found = read(fill(tmp_path / "q", {**PLAIN, name: content}))
    assert (found.splits, found.unused) == (plain.splits, {"validation": counted})
    assert found.identity["files"] == plain.identity["files"]


def test_used_splits_in_two_formats(tmp_path):
    files = {"train.csv": "text\na\n", "test.jsonl": '{"text": "b"}\n'}
    found = read(fill(tmp_path, files))
    assert found.splits == {"train": [{"text": "a"}], "test": [{"text": "b"}]}


def test_a_configuration_of_a_folder(tmp_path):
    of = {"a": {"train": "train.csv", "test": "test.csv"}, "b": {"train": "test.csv"}}
    root = fill(tmp_path, {**PLAIN, "README.md": configs(**of)})
    assert refused(root).endswith("it has several configurations: set `name` to one of them")
    found = read(root, name="a")
    assert found.splits == {"train": [{"text": "a"}], "test": [{"text": "b"}]}
    assert (
        found.identity["name"] == "a" and "name" not in read(fill(tmp_path / "p", PLAIN)).identity
    )
    assert "Available: ['a', 'b']: correct `name`, or `configs`" in refused(root, name="c")
    assert "a single file has no configurations" in refused(root / "train.csv", name="a")


FAULTS = {
    "a file that is not there": (
        {**PLAIN, "README.md": configs(a={"train": "train.csv", "validation": "no.csv"})},
        "no.csv'",
    ),
    "two formats in a README": (
        {
            **PLAIN,
            "d.jsonl": "{}",
            "README.md": configs(a={"train": "train.csv", "dev": "d.jsonl"}),
        },
        "Couldn't infer the same data file format for all splits",
    ),
    "no tables": ({"notes.docx": ""}, "No (supported) data files found"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_folders_that_cannot_be_opened(tmp_path, name):
    files, reason = FAULTS[name]
    said = refused(fill(tmp_path, files))
    assert said.startswith("cannot open the dataset: quiz: ") and reason in said
    assert ": name its tables train, validation and test, or list them in `configs` of a " in said
    assert "supported extension" not in said
