"""The grid of simulations: what it measures, what is stored, and that the promises are kept."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.statistics_grid import binary, graded, labels
from benchmarks.statistics_grid.__main__ import QUICK_RUNS, line, run_part
from benchmarks.statistics_grid.measure import Cell, Label, Scenario, measure
from benchmarks.statistics_grid.stored_results import FOLDERS, PAGE, page, stored
from harness.metrics import ACCURACY, MACRO_F1, WEIGHTED_F1, Metric
from harness.statistics.confusion import counts_of_table, label_metric

SIZE = Label("part", "figure", "shape", "n 10")


def test_a_cell_is_held_to_three_monte_carlo_errors() -> None:
    assert Cell.of(SIZE, "false pass", 400, 0.082).kept and not Cell.of(SIZE, "false pass", 400, 0.085).kept
    assert Cell.of(SIZE, "coverage", 400, 0.905).kept and not Cell.of(SIZE, "coverage", 400, 0.9).kept
    assert Cell.of(SIZE, "power", 400, 0.0).kept
    assert Cell.of(SIZE, "coverage", 0, 0.0, displayed=0.0).kept, "an interval that is never shown promises nothing"
    assert "outside" in line(Cell.of(SIZE, "false pass", 400, 0.2))


@pytest.mark.parametrize("metric", [MACRO_F1, WEIGHTED_F1])
def test_a_skewed_candidate_loses_exactly_the_margin_in_expectation(metric: Metric) -> None:
    """The measured loss over many rows is the one that the scenario declares."""
    scenario = labels.skewed(metric, 4, 60_000, "in the rare half")
    drawn = scenario.draw(np.random.default_rng(0), scenario.margin)
    references = drawn.rows.references
    found = []
    for side in (drawn.candidate, drawn.reference):
        table = np.zeros((4, 5))
        np.add.at(table, (references, side.answers[:, 0]), 1)
        found.append(float(label_metric(metric, drawn.rows.labels)(counts_of_table(table))))
    assert found[1] - found[0] == pytest.approx(scenario.margin, abs=0.01)
    assert scenario.figure is not None and found[0] == pytest.approx(scenario.figure(scenario.margin), abs=0.01)


@pytest.mark.parametrize(("name", "draw", "margin", "mean"), graded.SHAPES)
def test_graded_scores_lie_in_their_range_and_lose_what_is_said(
    name: str, draw: graded.Draw, margin: float, mean: float
) -> None:
    candidate, reference = draw(np.random.default_rng(1), 200_000, 0.02)
    assert min(candidate.min(), reference.min()) >= 0 and max(candidate.max(), reference.max()) <= 1, name
    assert float(reference.mean()) == pytest.approx(mean, abs=0.002) and margin > 0
    assert float((reference - candidate).mean()) == pytest.approx(0.02, abs=0.002)


LIGHT: dict[str, Callable[[], Scenario]] = {
    "accuracy": lambda: binary.pair("accuracy", ACCURACY, 500, 0.85, 0.06, 0.02),
    "repeats": lambda: binary.repeated(100, 5, 2.0, "answers of a row vary"),
}


@pytest.mark.parametrize("name", LIGHT)
def test_the_promises_are_kept_in_a_light_part_of_the_grid(name: str) -> None:
    cells = list(measure(LIGHT[name](), runs=120, draws=200))
    assert not [line(cell) for cell in cells if not cell.kept]


def test_the_page_holds_what_is_stored() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text) == text, "run `python -m benchmarks.statistics_grid --write-docs`"


def test_what_is_stored_of_the_present_code_keeps_the_promises() -> None:
    results = stored(FOLDERS["after"])
    assert not [line(cell) for result in results.values() for cell in result.cells if not cell.kept]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", sorted(stored(FOLDERS["after"])))
def test_the_promises_are_kept_on_the_whole_grid(part: str) -> None:
    result = run_part(part, QUICK_RUNS)
    assert not [line(cell) for cell in result.cells if not cell.kept]
