"""The final table fits 80 columns, marks ties, and never shows an unknown price as 0."""

import io

import msgspec
import pytest
from rich.console import Console

from harness.confidence_results import CascadePoint, CascadeResult, CascadeStage
from harness.metrics import title
from harness.reports.leaderboard_rows import leaderboard
from harness.reports.terminal_table import SHOWN, TerminalColumn, fitting_table, print_summary
from harness.results import Summary


def shown(summary: Summary, width: int = 80) -> str:
    out = io.StringIO()
    print_summary(summary, Console(file=out, width=width))
    return out.getvalue()


def test_it_fits_80_columns_and_a_pipe_gets_plain_text(summary: Summary) -> None:
    text = shown(summary)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_long_backend_names_are_folded_and_never_push_figures_out(summary: Summary) -> None:
    name = "meta-llama-3.2-1b-instruct-lora-r16-agnews"
    backends = {(name if n == "llama-ft" else n): b for n, b in summary.backends.items()}
    text = shown(
        msgspec.structs.replace(summary, backends=backends, ranks={name: 1}, letters={}, verdict=None, pairs=())
    )
    assert max(map(len, text.splitlines())) <= 80
    accuracy = summary.backends["llama-ft"].metrics["accuracy"]
    assert accuracy.value is not None and f"{100 * accuracy.value:.1f} [" in text


def test_metrics_that_are_not_shown_are_counted_and_named(summary: Summary) -> None:
    text = " ".join(shown(summary).split())
    hidden = [title(metric.name) for metric in summary.metrics[SHOWN:]]
    run = summary.run.rpartition("-")[2]
    assert len(hidden) == 5
    assert f"5 more metrics in the page of `bench report {run}`: {'; '.join(hidden)}." in text
    few = msgspec.structs.replace(summary, metrics=summary.metrics[: SHOWN + 1])
    assert "1 more metric in the page" in shown(few)
    assert "more metric" not in shown(msgspec.structs.replace(summary, metrics=summary.metrics[:SHOWN]))


@pytest.mark.parametrize("width", [40, 50, 60, 80, 120])
def test_in_a_narrow_terminal_no_figure_is_cut_and_what_is_left_out_is_named(summary: Summary, width: int) -> None:
    text = shown(summary, width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    accuracy = summary.backends["llama-ft"].metrics["accuracy"]
    assert accuracy.value is not None and accuracy.low is not None and accuracy.high is not None
    assert f"{100 * accuracy.value:.1f} [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]" in text
    words = " ".join(text.split())
    for metric in summary.metrics:
        assert f"{title(metric.name)}" in words
    for heading in ("p50", "p95", "$/1,000", "rows/s", "this run", "training", "decode"):
        assert heading in words
    assert ("no room for" in words) == (width < 80)


def test_columns_give_way_from_the_right_and_names_are_folded_first() -> None:
    columns = [
        TerminalColumn("backend", ["a-name-of-twenty-chars"], numeric=False, folds=True),
        TerminalColumn("accuracy %", ["96.7 [88.6, 99.1]"]),
        TerminalColumn("cost", ["unknown"]),
    ]
    assert fitting_table(columns, 60, kept=2)[1] == []
    assert fitting_table(columns, 38, kept=2)[1] == [], "the name is folded to ten columns"
    assert fitting_table(columns, 37, kept=2)[1] == ["cost"]
    assert fitting_table(columns, 20, kept=2)[1] == ["cost"], "the kept columns stay"


def test_the_question_has_an_answer_on_the_first_line(summary: Summary) -> None:
    verdict = summary.verdict
    assert verdict is not None
    for outcome, answer in (("not shown", "Not shown yet."), ("beyond margin", "No."), ("within margin", "Yes.")):
        changed = msgspec.structs.replace(verdict, outcome=outcome)
        lines = shown(msgspec.structs.replace(summary, verdict=changed)).splitlines()
        assert lines[2] == f"Can {verdict.candidate} replace {verdict.incumbent}? {answer}"


def test_what_is_missing_names_the_option_or_the_key_that_brings_it(summary: Summary) -> None:
    assert "no price of gpt35: set price (an API) or device_hour_usd" in " ".join(shown(summary).split())
    assert "--latency-probe" not in shown(summary)
    unprobed = {n: msgspec.structs.replace(b, probe=None) for n, b in summary.backends.items()}
    assert "run with --latency-probe 50" in shown(msgspec.structs.replace(summary, backends=unprobed))


def test_every_row_of_the_leaderboard_has_its_figures_under_their_headings(summary: Summary) -> None:
    cascade = CascadeResult(
        run="r",
        metric="accuracy",
        stages=(CascadeStage(name="llama-ft", source="label scores"), CascadeStage(name="gpt4")),
        reference="gpt4",
        aim="loss",
        limit=0.01,
        certified=True,
        chosen=CascadePoint(thresholds=(0.7,), shares=(0.8, 0.2), value=0.97, cost_per_1000=0.3),
    )
    grid = leaderboard(msgspec.structs.replace(summary, cascade=cascade), {})
    place = {column.title: i for i, column in enumerate(grid.columns)}
    assert [column.title for column in grid.columns][:3] == ["rank", "backend", "accuracy %"]
    row = next(row for row in grid.rows if row[place["backend"]].text == "llama-ft > gpt4")
    assert [row[place[t]].text for t in ("accuracy %", "$ per 1,000", "decode")] == ["97.0", "$0.30", "cascade"]
    for row in grid.rows:
        assert len(row) == len(grid.columns)
        assert row[place["decode"]].text in ("choose", "generate", "cascade", "-")


def test_intervals_are_named_and_ties_are_marked(summary: Summary) -> None:
    text = shown(summary)
    assert "Wilson 95 %" in text
    assert "2 b   gpt4" in text and "3 b   gpt35" in text
    assert "same letter: no significant difference" in " ".join(text.split())


def test_unknown_costs_and_undefined_rates_are_words(summary: Summary) -> None:
    text = shown(summary)
    gpt35 = [line for line in text.splitlines() if line.strip().startswith("gpt35")]
    assert any("unknown" in line for line in gpt35)
    assert "n/a" in next(line for line in text.splitlines() if line.startswith("1 a") and "llama-ft" in line)


def test_the_sentence_and_the_cautions_are_there(summary: Summary) -> None:
    text = " ".join(shown(summary).split())
    assert "more accurate than gpt4 (95 %" in text
    assert "! gpt4:" in text
    assert "format errors of llama-base:" in text


def test_hostile_names_cannot_paint_the_terminal(summary: Summary) -> None:
    backends = {"\x1b[2J[red]x": summary.backends["gpt4"]}
    text = shown(
        msgspec.structs.replace(
            summary, backends=backends, pairs=(), ranks={}, letters={}, verdict=None, warnings=("\x1b]0;title\x07",)
        )
    )
    assert "\x1b" not in text and "\x07" not in text
    assert "␛[2J[red]x" in text
