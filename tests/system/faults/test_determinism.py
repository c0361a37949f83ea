"""Whatever the machine's settings, a run writes the same bytes, from the data to the figures.

Other processors, other numbers of threads and GPUs may differ: see benchmarks/arithmetic.py.
"""

import subprocess
from pathlib import Path
from random import Random

import pytest

from tests.system.faults import WHOLE, tried
from tests.system.faults.runs import undisturbed
from tests.system.faults.small import small_copy
from tests.system.workflow.copies import digests, output, snakemake

GERMAN = {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "LANGUAGE": "de"}
FAR = {"TZ": "Pacific/Kiritimati"}  # 14 hours ahead of Greenwich: another day, often another month
# How a run differs: `words` are options of Snakemake, most others environment variables.
KINDS = {
    "each job a new process": {},
    "a long path with a space": {"path": "another clone/of/the same/repository"},
    "TMPDIR with a space": {"TMPDIR": "a folder"},
    "locale C": {"LC_ALL": "C"},
    "a locale with decimal commas": GERMAN,
    "time zone": FAR,
    "PYTHONHASHSEED=random": {"PYTHONHASHSEED": "random"},
    "jobs in another order, one core": {"shuffle": 2, "words": ("--cores", "1")},
    "another HOME": {"HOME": "home"},
    "a narrow terminal": {"COLUMNS": "40", "LINES": "10"},
}
ALL_AT_ONCE = {
    name: value
    for kind, settings in KINDS.items()
    if kind != "locale C"
    for name, value in settings.items()
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run in the usual surroundings."""
    return undisturbed(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def locales(tmp_path_factory):
    """A folder with the German locale, where this machine can make one."""
    folder = tmp_path_factory.mktemp("locales")
    words = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    try:
        made = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    return folder if made else None


def run(whole: Path, base: Path, locales: Path | None, settings: dict) -> Path:
    """A whole run under the settings of KINDS; its folder."""
    settings = dict(settings)
    folder = small_copy(base / settings.pop("path", "clone"))
    words = settings.pop("words", ("--cores", "2"))
    if seed := settings.pop("shuffle", None):
        files = sorted(name for name in digests(whole) if "/figures/" not in name)
        declared = [f for f in files if f.endswith(("record.json", "metrics.json", "t.json"))]
        words = (*words, "--prioritize", *Random(seed).sample(declared, 12))
    for name in ("TMPDIR", "HOME"):
        if name in settings:
            settings[name] = str(base / settings[name])
            Path(settings[name]).mkdir()
    if locales and settings.get("LC_ALL", "").startswith("de"):
        settings["LOCPATH"] = str(locales)
    process = snakemake(folder, *words, "--", "all", warm=not WHOLE, **settings)
    assert process.returncode == 0, output(process)[-4000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS if WHOLE else ["everything at once"])
def test_the_same_bytes(whole, tmp_path, locales, kind):
    """Every file of results, among them figures, tables as text, weights and predictions."""
    if kind == "a locale with decimal commas" and not locales:
        pytest.skip("localedef cannot make de_DE.UTF-8 here")
    folder = run(whole, tmp_path, locales, KINDS.get(kind, ALL_AT_ONCE))
    first, second = digests(whole), digests(folder)
    assert len(first) > 100
    assert {Path(name).suffix for name in first} >= {".pdf", ".png", ".md", ".tex", ".safetensors"}
    differing = sorted(n for n in first.keys() | second.keys() if first.get(n) != second.get(n))
    tried(f"determinism: {kind}", len(first), len(first) - len(differing), 0, "the same bytes")
    assert differing == []
