"""`snakemake --report`: every figure, table and cell with a caption, without the network."""

import json
import re

import pytest
import yaml

from tests.system.workflow.copies import ROOT, output, snakemake

OFFLINE = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
FIGURES = [f"figures/{name}.svg" for name in ("figure2", "figure3", "figure5", "figure6", "meters")]
TABLES = [f"tables/{name}.csv" for name in ("table1", "table2", "posthoc", "data_report")]


@pytest.fixture(scope="module")
def report(tiny_run) -> dict:
    """The variables of the page: results and categories."""
    process = snakemake(tiny_run, "--report", "report.html", "--", "all", **OFFLINE)
    assert process.returncode == 0, output(process)[-3000:]
    page = (tiny_run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?:', page)
    assert len(page) < 20e6
    found = {}
    for name in ("results", "categories", "workflow_desc"):
        start = re.search(rf"^    var {name} = ", page, flags=re.M).end()
        found[name] = json.JSONDecoder().raw_decode(page, start)[0]
    return found


def test_every_figure_and_table_is_in_its_category_with_a_caption(report):
    categories = {
        name: {path.removeprefix("results/tiny/") for paths in parts.values() for path in paths}
        for name, parts in report["categories"].items()
    }
    assert categories["Figures"] == {*FIGURES}
    assert categories["Tables"] == {*TABLES}
    assert categories["Claims"] == {"claims.json"}
    assert set(categories) == {"Figures", "Tables", "Claims", "Cells of Table 1"}
    for path, result in report["results"].items():
        assert result["caption"].startswith("<p>") and result["labels"], path
        assert "system-message" not in result["caption"], path
    for name in FIGURES:
        assert "nterval" in report["results"][f"results/tiny/{name}"]["caption"]  # what bars are
    assert "scale tiny" in report["workflow_desc"]


def test_captions_of_tables_hold_their_text(report, tiny_run):
    for name in [*TABLES, "claims.json"]:
        first = (tiny_run / "results/tiny" / name).with_suffix(".md").read_text().split("\n")[0]
        assert first in report["results"][f"results/tiny/{name}"]["caption"].replace("&quot;", '"')


def test_cells_are_found_by_family_method_and_column(report):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    labels = [
        tuple(result["labels"][name] for name in ("family", "method", "column"))
        for path, result in report["results"].items()
        if "/cells/" in path
    ]
    assert len(labels) == len({*labels}) > 0
    assert {method for _, method, _ in labels} == {*config["table1"]["methods"]}
    assert {column for *_, column in labels} >= {"in_domain-csqa", "out_of_domain-csqa"}


def test_a_report_reruns_nothing(report, tiny_run):
    assert "Nothing to be done" in output(snakemake(tiny_run, "-n", "-c1", "--quiet", "host"))
