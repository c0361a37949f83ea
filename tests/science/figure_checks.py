"""What a venue asks of a figure, measured on what is drawn."""

from itertools import combinations

import numpy as np
from matplotlib import pyplot
from matplotlib.container import BarContainer
from matplotlib.text import Text

COLUMN, TEXT = 3.03, 6.3  # inches, of ACL's style
SMALLEST = 6  # points


def texts_of(figure) -> list[Text]:
    """The texts that are seen: ticks outside of the axes have labels, but not these."""
    hidden = set()
    for axis in figure.axes:
        for side in (axis.xaxis, axis.yaxis):
            low, high = sorted(side.get_view_interval())
            for tick in [*side.get_major_ticks(), *side.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    found = figure.findobj(Text)
    return [t for t in found if t.get_visible() and t.get_text() and t not in hidden]


def bars_of(figure) -> list:
    """Boxes of all bars, in pixels, but of those without a height."""
    groups = [c for axis in figure.axes for c in axis.containers if isinstance(c, BarContainer)]
    boxes = [patch.get_window_extent() for group in groups for patch in group]
    return [box for box in boxes if np.isfinite(box.extents).all() and box.height > 0.5]


def apart(one, other) -> bool:
    """Whether two boxes overlap by less than a pixel."""
    (a, b, c, d), (e, f, g, h) = one.extents, other.extents
    return min(c, g) - max(a, e) < 1 or min(d, h) - max(b, f) < 1


def check(figure, width: float) -> None:
    """Its width; no text cut off, tiny, or on a bar, a text or (in a legend) on an axis."""
    assert figure.get_size_inches()[0] == width
    figure.draw_without_rendering()
    page, bars = figure.bbox, bars_of(figure)
    boxes = {text: text.get_window_extent() for text in texts_of(figure)}
    assert boxes
    for text, box in boxes.items():
        assert text.get_fontsize() >= SMALLEST, text
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
        assert inside, (text, box)
        assert all(apart(box, bar) for bar in bars), text
    for (one, first), (other, second) in combinations(boxes.items(), 2):
        assert apart(first, second), (one, other)
    assert not any(axis.get_legend() for axis in figure.axes)
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert all(apart(box, axis.get_window_extent()) for axis in figure.axes)
    pyplot.close(figure)
