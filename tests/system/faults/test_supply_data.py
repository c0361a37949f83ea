"""Mirrors of datasets and models with pickles, arrays of objects and scripts in them."""

import io
import json
import tarfile

import pytest

from first_distill.files import read_json
from tests.questions import entry
from tests.system.faults import tried
from tests.system.faults.forked import refusal, script
from tests.system.faults.test_supply import CODE, PICKLES, checkpoint, planted  # noqa: F401
from tests.system.hub.conftest import dataset_files  # noqa: F401


def prepare(tmp_path, mirror) -> tuple[int, str]:
    changes = {"HF_HOME": str(tmp_path / "cache"), "HF_DATASETS_TRUST_REMOTE_CODE": "1"}
    line = ["--dataset", "csqa", "--entry", json.dumps(entry("csqa", repo="acme/questions"))]
    line += ["--mirror", str(mirror), "--output-dir", f"{tmp_path}/out"]
    return script(tmp_path, "data", "", *line, **changes)


def write_dataset(folder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_beside_the_tables_of_a_dataset(tmp_path, planted, dataset_files):  # noqa: F811
    """Pickles, arrays, scripts, and a description that asks for one; then the script's own name."""
    folder = tmp_path / "mirror/acme/questions"
    write_dataset(folder, dataset_files)
    planted(folder, "dataset.py", *CODE, *PICKLES, "train.pkl")
    planted(folder / "data", "train.py", "train.pkl", "train.npy", "validation.pt")
    (folder / "dataset_infos.json").write_text(json.dumps({"default": {"builder_name": "evil"}}))
    status, text = prepare(tmp_path, tmp_path / "mirror")
    assert status == 0, text
    read = read_json(tmp_path / "out/report.json")["source"]["files"]
    assert all(name.endswith(".parquet") for name in read)
    tried("pickles and scripts in a dataset's mirror", 20, 20, 0, "nothing: only tables are read")
    planted(folder, "questions.py")
    line = refusal(prepare(tmp_path, tmp_path / "mirror"))
    assert "questions.py" in line
    tried("a loading script in a dataset's mirror", 1, 1, 0, line)


@pytest.mark.parametrize("kind", ["train.pkl", "questions.py", "train.tar"])
def test_instead_of_the_tables_of_a_dataset(tmp_path, planted, kind):  # noqa: F811
    folder = tmp_path / "mirror/acme/questions"
    if kind == "train.tar":
        planted(tmp_path / "loose", "0.pkl", "0.npy", "0.pt")
        folder.mkdir(parents=True)
        with tarfile.open(folder / kind, "w") as archive:
            for path in sorted((tmp_path / "loose").iterdir()):
                name = path.name.replace(".pkl", ".pickle").replace(".pt", ".pth")
                info = tarfile.TarInfo(name)
                info.size = path.stat().st_size
                archive.addfile(info, io.BytesIO(path.read_bytes()))
    else:
        planted(folder, kind)
    line = refusal(prepare(tmp_path, tmp_path / "mirror"))
    assert str(folder) in line and "csqa" in line
    assert not list(tmp_path.glob("out/*"))
    tried(f"a dataset's mirror of {kind}", 1, 1, 0, line)
