"""The exports say what the summary says, and nothing in them bites."""

import csv
import io
import json

import msgspec
import pytest

from harness.errors import UsageError
from harness.reports.exports import escape_formula, export, to_csv, to_json, to_markdown
from harness.results import Summary


def test_json_is_the_summary_itself(summary: Summary) -> None:
    assert msgspec.json.decode(to_json(summary), type=Summary) == summary


def test_csv_has_one_figure_a_line_and_leaves_the_unknown_empty(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(summary))))
    found = {(r["backend"], r["figure"]): r for r in rows}
    accuracy = summary.backends["gpt4"].metrics["accuracy"]
    assert float(found["gpt4", "accuracy"]["value"]) == accuracy.value
    assert float(found["gpt4", "accuracy"]["low"]) == accuracy.low
    assert found["gpt35", "cost_per_1000_usd"]["value"] == ""
    assert found["llama-ft", "format_error_rate"]["value"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert escape_formula(text).startswith("'")


def test_hostile_names_stay_text_in_csv_and_markdown(summary: Summary) -> None:
    name = '=HYPERLINK("http://x")|<img src=x>@team`[a](b)\u202e\ud800'
    hostile = msgspec.structs.replace(
        summary, backends={name: summary.backends["gpt4"]}, pairs=(), ranks={}, letters={}, verdict=None
    )
    line = to_csv(hostile).splitlines()[1]
    assert "'=HYPERLINK" in line and "⟨U+202E⟩⟨U+D800⟩" in line
    text = to_markdown(hostile)
    assert "<img" not in text and "[a](b)" not in text and "@team" not in text and "⟨U+D800⟩" in text


def test_markdown_is_a_table_with_as_many_cells_in_every_line(summary: Summary) -> None:
    lines = [x for x in to_markdown(summary).splitlines() if x.startswith("|")]
    board = lines[: 3 + len(summary.backends)]  # the last one is what a constant answer scores
    assert len({x.replace("\\|", "").count("|") for x in board}) == 1
    assert to_markdown(summary).startswith("**llama-ft is ")


def test_the_suffix_says_what_to_write(summary: Summary) -> None:
    assert json.loads(export(summary, ".json"))["task"] == "agnews"
    with pytest.raises(UsageError, match=r"cannot write '\.xlsx' files"):
        export(summary, ".xlsx")
