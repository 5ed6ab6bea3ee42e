"""The first screen: the answer, three figures, the chart, and which warnings come before the fold."""

import re

import pytest

from harness.metrics import ACCURACY
from harness.reports.run_page import write_report
from harness.reports.verdict_section import rank_warnings, verdict_card
from harness.results import Latency
from harness.runs.run_log import RunLog
from tests.reports.test_answer import duel, verdict


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        ("within margin", "Yes"), ("beyond margin", "No"), ("not shown", "Not shown yet"), ("worse", "Not shown yet"),
        ("unchanged", "Yes"), ("no margin", "No margin named"), ("no bound", "No verdict"),
        ("incomplete", "No verdict"),
    ],
)  # fmt: skip
def test_every_outcome_has_one_answer(outcome: str, answer: str) -> None:
    assert verdict_card(duel(), verdict(outcome, -0.01, 0.01), ACCURACY).answer == answer


@pytest.mark.parametrize(("bound", "answer"), [(0.02, "Yes"), (0.021, "Not shown yet"), (0.731, "Not shown yet")])
def test_rows_that_never_differ_say_yes_only_where_they_bound_the_loss(bound: float, answer: str) -> None:
    card = verdict_card(duel(), verdict("unchanged", -0.01, bound), ACCURACY)
    assert card.answer == answer
    assert card.tone == ("good" if answer == "Yes" else "even")


def test_a_loss_is_rounded_up_and_a_gain_down() -> None:
    loss = verdict_card(duel(), verdict("not shown", -0.01, 0.02001), ACCURACY).loss
    assert (loss.value, loss.note) == ("2.1 points", "95 % sure; margin 2 points")
    gain = verdict_card(duel(), verdict("within margin", -0.09, -0.0555), ACCURACY).loss
    assert (gain.value, gain.note) == ("none", "at least 5.5 points better; 95 % sure; margin 2 points")


def test_savings_follow_both_prices_and_an_unknown_price_names_its_key() -> None:
    card = verdict_card(duel(per_1000=(0.01, 0.40)), verdict("within margin", -0.01, 0.01), ACCURACY)
    assert card.savings is not None
    assert card.savings.each == pytest.approx(0.00039)
    assert card.savings.text == "$39.00"
    assert card.cost.note == "training $12.00 once, paid back after 31,000 requests"
    dearer = verdict_card(duel(per_1000=(0.40, 0.01)), verdict("within margin", -0.01, 0.01), ACCURACY)
    assert dearer.savings is not None and dearer.savings.text == "$39.00"
    assert (card.cost.title, dearer.cost.title) == ("Saved a month", "Costs more a month")
    unknown = verdict_card(duel(per_1000=(0.01, None)), verdict("within margin", -0.01, 0.01), ACCURACY)
    assert unknown.savings is None
    assert (unknown.cost.value, unknown.cost.note) == ("unknown", "set price in [backends.gpt4] of bench.toml")


def test_latency_is_the_probes_or_says_how_to_measure_it() -> None:
    summary = duel()
    plain = verdict_card(summary, verdict("within margin", -0.01, 0.01), ACCURACY).latency
    assert (plain.value, plain.note) == ("not measured", "run with --latency-probe 50")
    import msgspec

    probed = msgspec.structs.replace(
        summary.backends["llama-ft"], probe=Latency(rows=50, p50_s=0.02, p95_s=0.04, mean_s=0.02)
    )
    both = msgspec.structs.replace(summary, backends={**summary.backends, "llama-ft": probed})
    found = verdict_card(both, verdict("within margin", -0.01, 0.01), ACCURACY).latency
    assert (found.value, found.note) == ("40 ms", "incumbent not measured")


def test_the_chart_keeps_margin_zero_and_interval_in_order() -> None:
    chart = verdict_card(duel(), verdict("not shown", -0.01, 0.03), ACCURACY).chart
    assert chart is not None and chart.margin is not None
    assert 0 < chart.low < chart.margin < chart.zero < chart.high < 100
    assert chart.low < chart.value < chart.high
    assert chart.label == "-1.0 [-3.0, 1.0] points"
    assert verdict_card(duel(), verdict("no bound", -0.01, 0.01), ACCURACY).chart is not None


def test_warnings_about_the_decision_come_before_the_others() -> None:
    said = (
        "other: 3 of 10 answers are missing; continue with --resume.",
        "gpt4: accuracy 50.0 % is not better than always answering 'a' (60.0 %).",
        "llama-ft: 2 of 10 evaluated rows are also in the training rows.",
        "The rows are few.",
    )
    ranked = rank_warnings(said, verdict("within margin", -0.01, 0.01))
    assert ranked.first == (said[2], said[1], said[3])
    assert ranked.rest == (said[0],)
    many = rank_warnings([f"llama-ft: remark {n}." for n in range(9)], verdict("within margin", -0.01, 0.01))
    assert (len(many.first), len(many.rest)) == (4, 5)


def test_the_page_opens_with_the_question_and_its_answer(log: RunLog, tmp_path_factory: pytest.TempPathFactory) -> None:
    page = write_report(log, tmp_path_factory.mktemp("page") / "report.html").read_text("utf-8")
    header = page[page.index("<header>") : page.index("</header>")]
    question = re.search(r'<p class="question">Can (\S+) replace (\S+)\?</p>', header)
    assert question is not None
    assert header.index('class="question"') < header.index("<h1>") < header.index('class="card"')
    assert 'id="volume"' in header and "data-each" in header
