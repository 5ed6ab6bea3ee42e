"""Pictures of plots: round numbers on the axes, marks where their values are, nothing that a page's policy forbids."""

import re
from xml.etree import ElementTree

import pytest

from harness.reports.chart_files import draw
from harness.reports.plot import (
    DASHES,
    LINE,
    MARKERS,
    SERIES,
    Band,
    Bars,
    Columns,
    Curve,
    Legend,
    Panel,
    Plot,
    Rule,
    Shades,
    Words,
    looks,
)
from harness.reports.svg_canvas import text_width
from harness.reports.svg_charts import paint
from harness.reports.ticks import ends, linear_ticks, log_ticks, plain

SVG = "{http://www.w3.org/2000/svg}"


def elements(plot: Plot) -> list[ElementTree.Element]:
    """The parsed elements of a picture."""
    _, body = paint(plot)
    return list(ElementTree.fromstring(f'<svg xmlns="http://www.w3.org/2000/svg">{body}</svg>'))


def texts(plot: Plot) -> list[str]:
    return [e.text or "" for e in elements(plot) if e.tag == f"{SVG}text"]


@pytest.mark.parametrize(
    ("low", "high", "most", "found"),
    [
        (0, 101, 6, [0, 20, 40, 60, 80, 100]),
        (-0.07, 0.31, 5, [0, 0.1, 0.2, 0.3]),
        (-3, 3, 4, [-2, 0, 2]),
        (1_200, 9_900, 4, [2_500, 5_000, 7_500]),
        (31, -2, 4, [0, 10, 20, 30]),
    ],
)
def test_linear_axes_are_labelled_at_round_numbers(low: float, high: float, most: int, found: list[float]) -> None:
    assert linear_ticks(low, high, most) == pytest.approx(found)


def test_logarithmic_axes_are_labelled_at_one_two_and_five_or_at_decades() -> None:
    assert log_ticks(0.9, 55) == pytest.approx([1, 2, 5, 10, 20, 50])
    assert log_ticks(3e-4, 2) == pytest.approx([1e-3, 1e-2, 1e-1, 1])
    assert len(log_ticks(1e-12, 1e12)) <= 10
    assert log_ticks(6.1, 7.9) == pytest.approx([6.5, 7.0, 7.5])  # no 1, 2 or 5 in between


def test_numbers_have_the_decimals_that_tell_them_apart() -> None:
    assert plain([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert plain([-20.0, 0.0, 20.0]) == ["\N{MINUS SIGN}20", "0", "20"]
    assert plain([]) == []


def test_an_axis_spans_its_data_with_a_margin_except_where_bars_stand() -> None:
    panel = Panel()
    panel.add(Curve([2, 12], [5, 5], SERIES[0]))
    assert ends(panel.x, panel.marks, upright=False) == pytest.approx((1.5, 12.5))
    assert ends(panel.y, panel.marks, upright=True) == pytest.approx((4.75 - 0.025, 5.25 + 0.025))
    bars = Panel()
    bars.add(Bars([0, 0], [30, 40], [0, 1], SERIES[0]))
    assert ends(bars.x, bars.marks, upright=False) == pytest.approx((0, 42))
    assert ends(Panel().x, [], upright=False) == pytest.approx((-0.05, 1.05))


def test_a_logarithmic_axis_ignores_what_it_cannot_show() -> None:
    panel = Panel()
    panel.x.scale([1, 100], str)
    panel.add(Curve([0, 1, 100], [1, 2, 3], SERIES[0]))
    low, high = ends(panel.x, panel.marks, upright=False)
    assert 0 < low < 1 and high > 100
    paint(Plot(4, 3, [panel]))
    panel.x.scale([0, 100], str)
    assert not panel.x.log


def test_markers_stand_where_their_values_are() -> None:
    plot, panel = Plot.single(5, 4)
    panel.x.low, panel.x.high, panel.y.low, panel.y.high = 0, 10, 0, 10
    panel.add(Curve([0, 5, 10], [0, 5, 10], SERIES[0], width=0, marker="o"))
    circles = [(float(e.get("cx", "")), float(e.get("cy", ""))) for e in elements(plot) if e.tag == f"{SVG}circle"]
    (left, bottom), middle, (right, top) = circles
    assert middle == pytest.approx(((left + right) / 2, (top + bottom) / 2))
    assert right - left == pytest.approx(0.775 * 5 * 72) and bottom - top == pytest.approx(0.775 * 4 * 72)


def test_names_run_from_the_top_downwards() -> None:
    plot, panel = Plot.single(5, 4)
    panel.y.list_names(["first", "second"])
    panel.add(Curve([1, 2], [0, 1], SERIES[0], width=0, marker="o"))
    found = {e.text: float(e.get("y", "")) for e in elements(plot) if e.tag == f"{SVG}text"}
    assert found["first"] < found["second"]


def everything() -> Plot:
    """One plot with every kind of mark, every marker and dash, both kinds of axes and every place of a legend."""
    first, second, third = Panel(title="first", legend=Legend("below", 2)), Panel(title="second"), Panel(square=True)
    for k, look in enumerate(looks([f"model <{k}> & co" for k in range(9)]).values()):
        first.add(Curve([1, 2, 3], [k, k + 1, k], look.colour, 1.5, look.dash, look.marker, named=f"<{k}> & co"))
    first.x.scale([1, 3], lambda v: f"{v:g} USD")
    second.add(Bars([0], [3], [1], SERIES[0], "bars"), Band([0, 3], [0, 1], [1, 2], SERIES[1], 0.2), Rule(1.5))
    second.add(Columns([0, 1, 2], [3, 4], SERIES[2]), Words("over", 0.5, 0.5, shares=(True, True), rise="top"))
    second.add(Curve([1], [1], SERIES[3], 0, marker="|"), Curve([0, 1, 2], [0, 1, 0], SERIES[4], stepped=True))
    second.legend = Legend("lower right")
    third.add(Shades([[0.1, 0.9], [0.5, 0.5]]))
    third.x.ticks, third.x.names, third.x.slanted = [0, 1], ["left", "right"], True
    return Plot(11, 3, [first, second, third])


def test_a_picture_obeys_the_policy_and_follows_the_colours_of_the_page() -> None:
    box, body = paint(everything())
    assert "style=" not in body and "<script" not in body and "href" not in body and "id=" not in body
    assert "<0>" not in body and "&lt;0&gt; &amp; co" in body
    assert not [colour for colour in (LINE, *SERIES) if colour in body]
    assert set(re.findall(r"var\(--(\w+)\)", body)) >= {"line", "muted", "ink", "s0", "s6"}
    for element in elements(everything()):
        if element.tag == f"{SVG}text":
            assert box.left <= float(element.get("x", "")) <= box.right
            assert box.top <= float(element.get("y", "")) <= box.bottom


def test_files_show_the_same_axes_as_pages() -> None:
    plot = everything()
    for ax, panel in zip(draw(plot).axes, plot.panels, strict=True):
        assert ax.get_xlim() == pytest.approx(ends(panel.x, panel.marks, upright=False))
        assert len(ax.get_legend_handles_labels()[1]) == sum(
            isinstance(m, Curve | Bars) and bool(m.named) for m in panel.marks
        )


def test_texts_that_would_run_into_each_other_are_left_out() -> None:
    plot, panel = Plot.single(3, 2)
    panel.x.ticks, panel.x.names = list(range(12)), [f"2026-11-{d:02} 12:00" for d in range(12)]
    panel.add(Curve([0, 11], [0, 1], SERIES[0]))
    shown = [text for text in texts(plot) if text.startswith("2026")]
    assert 1 <= len(shown) <= 4 and shown[0].endswith("00 12:00")


def test_widths_of_texts_are_known_in_every_script() -> None:
    assert text_width("iiii", 9) < text_width("mmmm", 9)
    assert text_width("日本", 10) == pytest.approx(20)
    assert text_width("e\N{COMBINING ACUTE ACCENT}", 10) == pytest.approx(text_width("e", 10))


def test_every_look_differs_within_a_round() -> None:
    assert len(set(looks([str(n) for n in range(7)]).values())) == len(MARKERS) == len(DASHES) == 7
