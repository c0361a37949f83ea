"""Figures, their captions and Markdown as parts of one HTML file."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import quote

import jinja2
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

from first_distill import ROOT
from first_distill.provenance import records

# Percent-encoded, an SVG is a fifth smaller than in base64.
PLAIN = " !$&'()*+,-./:;=?@[]_{|}~"
DROPPED = re.compile(
    r"<metadata>.*?</metadata>|<!--.*?-->| id=\"[a-z.]+2?d?_\d+\"| transform=\"rotate\(-0 [^\"]*\"",
    re.DOTALL,
)
ALONE = re.compile(r"<g>(<[^<>]+/>|<text[^<>]*>[^<>]*</text>)</g>")  # a group of one
WIDTH, PIXELS = re.compile(rb'<svg[^>]* width="([0-9.]+)pt"'), 1.7  # a point
CAPTIONS = ROOT / "report"  # of `snakemake --report`: what is said here is said there
LONG = re.compile(r"scale\([^)]*\)|(\d+)\.\d{2,}")  # a scale, of glyphs, stays as it is


def svg_uri(svg: bytes) -> str:
    """Return an SVG of matplotlib as a data URI, its numbers shortened and without metadata.

    In an <img> its ids are its own, and it loads nothing.
    """
    text = svg.decode("utf-8")
    text = DROPPED.sub("", text[text.index("<svg") :])
    text = LONG.sub(_shortened, text)
    text = re.sub(r"\s+", " ", text).replace("> <", "><").replace("<g></g>", "")
    for _ in range(3):  # they stand in one another
        text = ALONE.sub(r"\1", text)
    return "data:image/svg+xml," + quote(text, safe=PLAIN)


def _shortened(found: re.Match) -> str:
    """A number with one decimal, below ten with two."""
    return f"{float(found[0]):.{1 + (len(found[1]) < 2)}f}" if found[1] else found[0]


def figure(prefix: Path) -> dict | None:
    """Return {uri, width} of prefix.svg, else of prefix.png; None where neither is there.

    width: in pixels, to set the figure's text in the size of the page's; None where unknown.
    Raises UserError for a file that is not as its record describes it.
    """
    if (svg := prefix.with_suffix(".svg")).is_file():
        content = records.verified(svg).read_bytes()
        width = WIDTH.search(content)
        return {"uri": svg_uri(content), "width": width and round(PIXELS * float(width[1]))}
    if (png := prefix.with_suffix(".png")).is_file():
        content = base64.b64encode(records.verified(png).read_bytes()).decode()
        return {"uri": f"data:image/png;base64,{content}", "width": None}
    return None


def caption(name: str, params: dict) -> dict[str, str]:
    """Return {title, text} of report/{name}.rst: its first bold words, and all of it as HTML.

    params: of the rule that makes the figure. What the caption includes, after `..`, is left out;
    the rest is paragraphs and bold words, which are written alike in Markdown.
    """
    source = (CAPTIONS / f"{name}.rst").read_text(encoding="utf-8").partition("\n..")[0]
    template = jinja2.Template(source, undefined=jinja2.StrictUndefined)
    text = " ".join(template.render(snakemake={"params": params}).split())
    return {"title": text.split("**")[1], "text": prose(text, 3)}


def prose(markdown: str, level: int) -> str:
    """Return Markdown as HTML, its text escaped; a table scrolls in a box of its own.

    level: of its second-order headings; the first heading is left to the page.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    title, own = "Table", []
    if tokens and tokens[0].tag == "h1":
        title = tokens[1].content
        del tokens[:3]  # opening, text, end
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type in ("heading_open", "heading_close"):
            title = after.content if token.type == "heading_open" else title
            token = token.copy(tag=f"h{min(6, int(token.tag[1]) + level - 2)}")
        own.append(token.copy(meta={"title": title}) if token.type == "table_open" else token)
    reader.add_render_rule("table_open", _box)
    reader.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return reader.renderer.render(own, reader.options, {})


def _box(renderer, tokens, at, options, env) -> str:
    title = escapeHtml(tokens[at].meta["title"])
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{title}"><table>\n'
