"""Palette, reliability diagrams and what is told apart in grey."""

from itertools import combinations

import numpy as np
import pandas
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from first_distill.calibration.metrics import reliability_bins
from first_distill.reporting.figures import figure5, reliability, style
from tests.science import figure_checks


def lightness(colour) -> float:
    """CIE L* of a colour: 0 black, 100 white."""
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in to_rgb(colour)
    )
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return 116 * y ** (1 / 3) - 16 if y > (6 / 29) ** 3 else y * (29 / 3) ** 3


@pytest.mark.parametrize(
    "colours",
    [
        style.COLORS[:3],  # Figure 3: teacher, fine-tuned, distilled
        reliability.COLORS.values(),
        style.FAMILY_COLORS,
    ],
)
def test_colours_of_one_figure_are_told_apart_in_grey(colours):
    assert min(abs(lightness(a) - lightness(b)) for a, b in combinations(colours, 2)) > 12


def test_every_look_differs_without_its_colour():
    assert len(style.COLORS) == len(style.MARKERS) == len(style.HATCHES)
    for looks in (style.COLORS, style.MARKERS, style.HATCHES, reliability.HATCHES.values()):
        assert len({*looks}) == len(looks)
    families = [style.family_look(i)["marker"] for i in range(10)]
    assert len({*families}) == 10 and not {*style.FAMILY_COLORS} & {*style.COLORS}


def test_a_method_has_one_place_in_all_figures():
    assert style.places(["mine", "distill", "yours", "teacher"]) == {
        "mine": 6,
        "distill": 2,
        "yours": 7,
        "teacher": 0,
    }


BINS = pandas.DataFrame(
    {
        "lower": [0.0, 25.0, 50.0, 75.0],
        "count": [1, 0, 2, 1],
        "confidence": [20.0, np.nan, 60.0, 90.0],
        "accuracy": [100.0, np.nan, 50.0, 90.0],
    }
)


def test_parts_of_a_diagram_by_hand():
    found = {name: np.transpose(ends).tolist() for name, ends in reliability.parts(BINS).items()}
    empty = pytest.approx([np.nan, np.nan], nan_ok=True)
    assert found["both"] == [[0, 20], pytest.approx([0, np.nan], nan_ok=True), [0, 50], [0, 90]]
    assert found["over"] == [[20, 20], empty, [50, 60], [90, 90]]
    assert found["under"] == [[20, 100], empty, [50, 50], [90, 90]]


def test_the_parts_sum_to_the_ece():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=500)
    correct = rng.uniform(size=500) < confidence**2 + 0.1
    bins = pandas.DataFrame(reliability_bins(confidence, correct, 10))
    found, ece = reliability.parts(bins), 0.0
    for b in range(10):
        own = (confidence > b / 10) & (confidence <= (b + 1) / 10)
        ece += abs(correct[own].sum() - confidence[own].sum()) / 500
    drawn = sum(top - bottom for bottom, top in (found["over"], found["under"]))
    assert np.sum(bins["count"] / 500 * drawn) == pytest.approx(ece)


def test_a_diagram_on_a_small_axis_has_no_text_but_ticks():
    figure, axis = style.start().subplots(figsize=(2.6, 2.6))
    reliability.diagram(axis, BINS)
    figure.draw_without_rendering()
    texts = {text.get_text() for text in figure_checks.texts_of(figure)}
    assert texts == {"0", "25", "50", "75", "100"}
    heights = [patch.get_height() for patch in axis.patches]
    assert np.nansum(heights) == 20 + 50 + 90 + 10 + 80
    pyplot.close(figure)


@pytest.mark.parametrize("families", [1, 3])
def test_nothing_stands_on_a_bar_wherever_bars_reach(families):
    """Bars up to 100 % in every bin, one model dead."""
    frames = []
    for family in range(families):
        for method in ("teacher", "finetune", "distill", "first_ts"):
            rows = {"family": f"family{family}", "corpus": "csqa", "benchmark": "csqa"}
            rows |= {"method": method, "n_questions": 1250, "n_seeds": 3}
            rows |= {"lower": np.arange(0, 100, 10), "count": 100, "accuracy": 100.0}
            rows |= {"confidence": np.arange(5, 105, 10), "ece": 45.0, "ece_low": 41.3}
            rows |= {"ece_high": 48.8, "mean_confidence": 55.0, "mean_accuracy": 100.0}
            dead = True if method == "distill" else None
            frames.append(pandas.DataFrame(rows | {"constant_output": dead}))
    figure = figure5.draw(pandas.concat(frames))
    assert len(figure_checks.bars_of(figure)) == 4 * families * (10 + 10 + 10)
    figure_checks.check(figure, figure_checks.TEXT)
