"""Documents: every command has a test, links lead somewhere, files exist, examples are valid."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from benchmarks import coverage
from benchmarks.coverage_page import load as load_coverage
from benchmarks.coverage_page import report as coverage_report
from benchmarks.harness import page
from benchmarks.power import EFFECTS
from first_distill import ROOT
from first_distill.config.load import load, own_files
from first_distill.plan.planning import make_plan
from first_distill.plan.printing import disk
from first_distill.plan.scale import configured
from tests import docs

WRITTEN = [ROOT / page for page in (*docs.PAGES, "CHANGELOG.md")]
ALL = [*WRITTEN, ROOT / "config/README.md", *sorted((ROOT / "docs/results").rglob("*.md"))]
LONG = {"results.md"}  # a report on each scale that was run
FOLDERS = ("first_distill", "scripts", "rules", "config", "docs", "tests", "envs", "resources")
SECTIONS = {"datasets", "prompts", "methods", "table1", "variants", "ablations", "scales"}


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_command_is_run_by_a_test():
    """A new one needs a line in tests/docs.py; one that is gone has none."""
    found, known = docs.commands(), docs.listed()
    assert found.keys() - known.keys() == set()
    assert known.keys() - found.keys() == set()
    assert len(known) == len(docs.RUN) + len(docs.PLANNED) + len(docs.ELSEWHERE)


def test_the_tests_of_the_list_exist():
    for name in {test for test, _ in docs.listed().values()}:
        path, _, function = name.partition("::")
        assert not function or f"def {function}(" in (ROOT / path).read_text(), name


def test_the_list_is_a_table():
    lines = docs.table().splitlines()
    assert len(lines) == 2 + len(docs.commands()) and {line.count(" | ") for line in lines[2:]} == {
        3
    }


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for place in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if not place.startswith(("https://", "http://")):
            name, _, anchor = place.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), place
            assert not anchor or anchor in anchors(target), place


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_named_files_exist(path):
    """And what is named beside one, as in `losses.py` `KnowledgeTargets`, stands in it."""
    code = set(re.findall(r"`([\w.-]+(?:/[\w.-]+)+)/?`", prose(path)))
    for name in code:
        if name.split("/")[0] in FOLDERS or name.endswith((".py", ".smk")):
            places = (ROOT / name, ROOT / "first_distill" / name)
            assert any(place.exists() for place in places), name
    for name, member in re.findall(r"`([\w./]+\.py)`\s+`(\w+)", prose(path)):
        found = [p for p in (ROOT / name, ROOT / "first_distill" / name) if p.is_file()]
        found = found or [*(ROOT / "first_distill").rglob(name)]
        assert any(re.search(rf"\b{member}\b", p.read_text()) for p in found), (name, member)


def examples() -> list:
    """Fenced YAML that is the whole content of a file of one's own."""
    found = []
    for name in docs.PAGES:
        for i, block in enumerate(docs.blocks(name, "yaml")):
            whole = yaml.safe_load(block).keys() <= SECTIONS
            # test_own.py adds the recalibration first; the other is a part of a scale.
            if whole and "recalibration: squared" not in block and "the rest of" not in block:
                found.append(pytest.param(block, id=f"{name}-{i}"))
    return found


@pytest.mark.parametrize("block", examples())
def test_examples_are_valid(tmp_path, block):
    (tmp_path / "mine.yaml").write_text(block, encoding="utf-8")
    config = load([*own_files(), tmp_path / "mine.yaml"])
    for section, entries in yaml.safe_load(block).items():
        assert entries.keys() <= config[section].keys()


@pytest.mark.parametrize("name", docs.PAGES)
def test_pages_are_short(name):
    lines = len(docs.text(name).splitlines())
    assert lines <= (120 if name == "README.md" else 150) or Path(name).name in LONG


def test_the_citation():
    """Citation File Format 1.2.0: what it requires, and the keys of a conference paper."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cff.keys()
    assert (cff["cff-version"], cff["type"]) == ("1.2.0", "software")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cff["version"], cff["authors"]) == (project["version"], project["authors"])
    assert f"(c) 2026 {cff['authors'][0]['name']}\n" in (ROOT / "LICENSE").read_text()
    paper = cff["preferred-citation"]
    assert {"type", "title", "authors"} <= paper.keys() and paper["type"] == "conference-paper"
    assert paper["title"] in re.sub(r"\s+", " ", docs.text("README.md")).replace("*FIRST", "FIRST")
    assert all(author.keys() == {"given-names", "family-names"} for author in paper["authors"])
    assert {own["type"] for own in paper["identifiers"]} <= {"doi", "url", "swh", "other"}


def test_files_for_other_programs():
    """The workflow catalog's and pre-commit's: keys that they know, programs that are installed."""
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"].keys() == {
        "conda",
        "singularity",
        "singularity+conda",
    }
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        assert hook["language"] in ("system", "pygrep") and {"id", "name", "entry"} <= hook.keys()


def test_no_hook_of_pre_commit_is_violated():
    """Its patterns find nothing in tracked files; ruff and snakefmt are tested elsewhere."""
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    patterns = [re.compile(h["entry"], re.M) for h in local["hooks"] if h["language"] == "pygrep"]
    line = ["git", "ls-files", "*.py", "*.yaml", "*.yml", "*.md", "*.toml", "Makefile"]
    listed = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        content = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).is_file() else ""
        assert not any(pattern.search(content) for pattern in patterns), name


def test_licences_are_complete():
    """Every repository that the configuration names, and every package of a run."""
    config, text = load(own_files()), docs.text("docs/licences.md")
    repos = {
        own[key]
        for own in config["datasets"].values()
        for key in ("repo", "mirror")
        if own.get(key)
    }
    for scale in config["scales"].values():
        repos |= {model["hub"]["repo"] for model in scale["models"].values() if "hub" in model}
    assert {repo for repo in repos if f"`{repo}`" not in text} == set()
    for name in ("run.in", "test.in", "gguf.in"):
        for line in (ROOT / "envs" / name).read_text().splitlines():
            package = re.split(r"[ =<>]", line)[0]
            assert not package or package == "#" or package in text, package


def test_the_coverage_page_is_that_of_its_rows():
    table, run = load_coverage(ROOT / "benchmarks/results/coverage.csv")
    assert len(table) == 4 * len(coverage.points()) and len(run["claims"]) == len(EFFECTS)
    assert coverage_report(table, run) == docs.text("docs/coverage.md")


def test_rows_of_benchmarks_are_measured_ones():
    results = ROOT / "benchmarks/results"
    for path in results.glob("*-cores.json"):
        assert page(json.loads(path.read_text())) == path.with_suffix(".md").read_text()
    known = "".join(path.read_text() for path in results.glob("*.md"))
    shown = [line for line in docs.text("docs/benchmarks.md").splitlines() if line[:1] == "|"]
    assert len(shown) > 10 and all(line in known for line in shown)


def test_the_disk_of_small_is_the_plans():
    scale = configured(load(own_files()), "small")
    totals = make_plan(scale, scale.jobs())["totals"]
    told = f"{totals['checkpoint_gb']:.0f} GB of checkpoints"
    assert told in " ".join((ROOT / "docs/operations.md").read_text().split())
    told = f"{disk(totals):.0f} GB planned for `small`"
    assert told in (ROOT / "docs/artifact-appendix.md").read_text()
