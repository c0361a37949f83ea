"""Figures, captions and Markdown as the page of a scale holds them."""

import math
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from first_distill.errors import UserError
from first_distill.reporting import output
from first_distill.reporting.page import embed
from first_distill.reporting.page.page import FIGURES


def test_an_svg_stays_one(tmp_path):
    import matplotlib

    from first_distill.reporting.figures import style

    figure, axis = style.start().subplots(figsize=(2, 1))
    axis.bar([1, 2], [3, math.nan])
    axis.set_title("a & b, 100 % <c>")
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text that must stay one
        (tmp_path / "f.svg").write_bytes(style.drawn(figure)["svg"])
    found = embed.figure(tmp_path / "f")
    assert found["width"] == round(144 * embed.PIXELS)
    head, _, text = found["uri"].partition(",")
    assert head == "data:image/svg+xml" and '"' not in text and "<" not in text
    root = ElementTree.fromstring(unquote(text))
    assert root.tag.endswith("svg") and "a & b, 100 % <c>" in "".join(root.itertext())
    assert found == embed.figure(tmp_path / "f")
    shortened = unquote(
        embed.svg_uri(b'<svg x="12.345" y="1.234"><g transform="scale(0.085)"/></svg>')
    )
    assert shortened.endswith('<svg x="12.3" y="1.23"><g transform="scale(0.085)"/></svg>')
    assert embed.figure(tmp_path / "none") is None


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_an_altered_figure_is_refused(tmp_path, kind):
    prefix = tmp_path / "results/tiny/figures/figure2"
    content = {kind: b"<svg/>" if kind == "svg" else b"png"}
    output.publish(str(prefix), "figure2", [], md="a\n", **content)
    assert embed.figure(prefix)["uri"]
    prefix.with_suffix(f".{kind}").write_bytes(b"<svg>altered</svg>")
    with pytest.raises(UserError, match=f"altered file: .*figure2.{kind}"):
        embed.figure(prefix)


def test_a_caption_is_that_of_the_report():
    params = {"benchmark": "<b>CSQA</b>", "methods": ["Teacher", "Distill"], "corpus": "CSQA"}
    found = embed.caption("figure5", params)
    assert found["title"] == "Figure 5: reliability diagrams"
    assert "of Teacher, Distill on &lt;b&gt;CSQA&lt;/b&gt;, ten bins" in found["text"]
    for name in FIGURES:
        own = embed.caption(name, params)
        assert own["text"].startswith("<p><strong>") and "{{" not in own["text"]
        assert "nterval" in own["text"] and not set("`*|") & set(own["text"]), name  # plain words
    assert ".. include" not in embed.caption("ablation", {})["text"]


def test_markdown_in_boxes():
    text = embed.prose("# Title\n\nA **bold** <b>word</b>.\n\n## Rows & more\n\n|a|\n|-|\n|1|\n", 3)
    assert "Title" not in text and "<strong>bold</strong> &lt;b&gt;word" in text
    assert "<h3>Rows &amp; more</h3>" in text
    box = '<div class="scroll" tabindex="0" role="group" aria-label="Rows &amp; more"><table>'
    assert box in text and text.count("</table></div>") == 1
