"""Two runs side by side as a page: what differs, how surely, and which rows flipped."""

import base64
import gzip
import io
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from harness.gating.compare_runs import RunComparison, compare_two_runs, run_differences
from harness.gating.evaluate import GateSource
from harness.reports.compare_page import write_compare
from harness.reports.compare_table import print_comparison
from harness.runs.run_log import RunLog
from tests.support.synthetic_run import MAKERS, synthetic_run


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    """The same rows, asked again of a tuned model that forgot a lot."""
    makers = {"llama-ft": MAKERS["llama-ft"]._replace(right=0.7)}
    return synthetic_run(tmp_path_factory.mktemp("runs") / "worse", 500, makers=makers)


@pytest.fixture(scope="module")
def found(log: RunLog, worse: RunLog) -> RunComparison:
    renamed = msgspec.structs.replace(worse.manifest, id="run-b")
    summary = worse.summary()
    assert summary is not None
    worse.update_manifest(renamed)
    worse.write_summary(msgspec.structs.replace(summary, run="run-b"))
    source = GateSource.of_run(RunLog.open(worse.path))
    return compare_two_runs(GateSource.of_run(log), source, "llama-ft", "llama-ft")


def test_the_verdict_stands_first_and_every_difference_has_its_interval(
    found: RunComparison, log: RunLog, worse: RunLog, tmp_path: Path
) -> None:
    page = write_compare(found, log, worse, tmp_path / "c.html").read_text("utf-8")
    first = re.search(r"<h1>(.*?)</h1>", page)
    said = (
        r"A \(llama-ft, 500\) is at least 2\d\.\d points more accurate than B \(llama-ft, b\) "
        r"\(95 %, 500 rows\): within"
    )
    assert first is not None and re.match(said, first.group(1))
    for pair in found.pairs:
        d = pair.difference
        assert d.value is not None and d.low is not None and d.high is not None
        assert f"[{100 * d.low:.1f}, {100 * d.high:.1f}]" in page


def test_flips_are_counted_both_ways_and_behind_the_explorer(
    found: RunComparison, log: RunLog, worse: RunLog, tmp_path: Path
) -> None:
    page = write_compare(found, log, worse, tmp_path / "c.html").read_text("utf-8")
    accuracy = next(p for p in found.pairs if p.metric == "accuracy")
    packed = re.search(r'id="rows-data">([^<]*)<', page)
    assert packed is not None
    rows = msgspec.json.decode(gzip.decompress(base64.b64decode(packed.group(1))))
    a, b = (backend["verdict"] for backend in rows["backends"])
    assert sum(x == 2 and y == 3 for x, y in zip(a, b, strict=True)) == accuracy.only_a
    assert sum(x == 3 and y == 2 for x, y in zip(a, b, strict=True)) == accuracy.only_b


def unpacked(page: str) -> dict[str, Any]:
    """The data of the row explorer."""
    packed = re.search(r'id="rows-data">([^<]*)<', page)
    assert packed is not None
    return dict(msgspec.json.decode(gzip.decompress(base64.b64decode(packed.group(1)))))


def test_flipped_rows_come_first_with_their_numbers_in_the_run(
    found: RunComparison, log: RunLog, worse: RunLog, tmp_path: Path
) -> None:
    page = write_compare(found, log, worse, tmp_path / "c.html").read_text("utf-8")
    rows = unpacked(page)
    a, b = (backend["verdict"] for backend in rows["backends"])
    flipped = [x != y for x, y in zip(a, b, strict=True)]
    assert flipped == sorted(flipped, reverse=True) and any(flipped) and not all(flipped)
    assert 'data-show="flipped"' in page
    assert sorted(rows["numbers"]) == list(range(500)) and rows["numbers"] != list(range(500))
    ids = [row.sample.id for row in log.rows()]
    assert [ids[n] for n in rows["numbers"]] == rows["ids"]


def test_the_largest_change_stands_first(found: RunComparison, log: RunLog, worse: RunLog, tmp_path: Path) -> None:
    page = write_compare(found, log, worse, tmp_path / "c.html").read_text("utf-8")
    table = page[page.index("the largest change first</caption>") :]
    table = table[: table.index("</table>")]
    changes = [abs(float(text)) for text in re.findall(r'<td class="n">([+-]\d+\.\d)<', table)]
    assert len(changes) > 2 and changes == sorted(changes, reverse=True)


def test_what_differs_is_shown_and_what_does_not_is_not(
    found: RunComparison, log: RunLog, worse: RunLog, tmp_path: Path
) -> None:
    again = msgspec.structs.replace(
        found,
        differences=run_differences(
            msgspec.structs.replace(log.manifest, shots=0, seed=1),
            msgspec.structs.replace(worse.manifest, shots=3, seed=1, git="f" * 40),
            [("llama-ft", "llama-ft")],
        ),
    )
    page = write_compare(again, log, worse, tmp_path / "c.html").read_text("utf-8")
    assert re.search(r">prompt</th><td[^>]*>shots</td><td[^>]*>0</td><td[^>]*>3</td>", page)
    assert "<summary>Further differences: 1</summary>" in page and "ffffffff" in page
    assert ">seed<" not in page
    same = msgspec.structs.replace(found, differences=())
    assert "are the same in both" in write_compare(same, log, worse, tmp_path / "d.html").read_text("utf-8")


def test_a_run_may_be_compared_with_itself(log: RunLog, tmp_path: Path) -> None:
    source = GateSource.of_run(log)
    itself = compare_two_runs(source, GateSource.of_run(log), "gpt4", "gpt4")
    page = write_compare(itself, log, log, tmp_path / "c.html").read_text("utf-8")
    assert [b["name"] for b in unpacked(page)["backends"]] == ["A · gpt4", "B · gpt4"]
    assert 'data-show=""' in page and itself.differences == ()


def test_the_terminal_cuts_no_word_of_the_verdict_at_80_columns(found: RunComparison, log: RunLog) -> None:
    out = io.StringIO()
    print_comparison(found, log, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines) and "…" not in out.getvalue()
    for name in ("accuracy %", "format errors, lenient %"):
        assert sum(line.startswith(name) for line in lines) <= 1
    accuracy = next(line for line in lines if line.startswith("accuracy %"))
    assert re.search(r"\+2\d\.\d \[\d+\.\d, \d+\.\d\]  +< 0\.001  A better$", accuracy.rstrip())


def test_rows_without_an_answer_have_not_flipped(tmp_path: Path) -> None:
    makers = {"m": MAKERS["llama-ft"]}
    sound = synthetic_run(tmp_path / "a", 60, makers=makers)
    failing = synthetic_run(tmp_path / "b", 60, makers={"m": makers["m"]._replace(fails=0.5)})
    failing.update_manifest(msgspec.structs.replace(failing.manifest, id="run-b"))
    failing = RunLog.open(failing.path)
    found = compare_two_runs(GateSource.of_run(sound), GateSource.of_run(failing), "m", "m")
    page = write_compare(found, sound, failing, tmp_path / "c.html").read_text("utf-8")
    flips = page[page.index("Rows that flipped</caption>") :]
    counts = re.findall(r"<td[^>]*>(\d+)</td>", flips[: flips.index("</table>")])
    accuracy = next(p for p in found.pairs if p.metric == "accuracy")
    assert accuracy.rows < 60 and sum(map(int, counts)) == accuracy.rows
    assert [int(counts[1]), int(counts[2])] == [accuracy.only_a, accuracy.only_b]


def test_a_redacted_comparison_holds_no_row(found: RunComparison, log: RunLog, worse: RunLog, tmp_path: Path) -> None:
    page = write_compare(found, log, worse, tmp_path / "c.html", redact=True).read_text("utf-8")
    assert "rows-data" not in page and not any(r.sample.id in page for r in log.rows())


def test_the_same_comparison_gives_the_same_bytes(
    found: RunComparison, log: RunLog, worse: RunLog, tmp_path: Path
) -> None:
    one, two = (write_compare(found, log, worse, tmp_path / f"{i}.html").read_bytes() for i in range(2))
    assert one == two
