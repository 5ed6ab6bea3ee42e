"""The terminal table of `bench compare`: every metric of two runs, within 80 columns."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.text import Text

from harness.gating.compare_runs import ComparedBackend, RunComparison
from harness.metrics import Metric, title
from harness.reports.terminal_table import TerminalColumn, fitting_table, no_room
from harness.results import PairResult
from harness.runs.run_log import RunLog
from harness.summary.candidate_history import model_name
from harness.summary.stored_verdict import NO_DIFFERENCE, verdict_details, verdict_sentence
from harness.summary.verdict_settings import DEFAULT_SOURCE
from harness.text_format import difference, number, p_value, plural, unit
from harness.text_sanitize import visible_line

EVEN = NO_DIFFERENCE
HEADINGS = ("metric", "A", "B", "A - B, 95 %", "p, Holm", "verdict")


def side_name(side: ComparedBackend) -> str:
    """How a side is called in the pairs: "llama-ft of run-1"."""
    return f"{side.backend} of {side.run}"


def short_name(letter: str, side: ComparedBackend) -> str:
    """How people read a side: "A (llama-ft, 3f2a)", with the short id of its run."""
    return f"{letter} ({side.backend}, {side.run.rpartition('-')[2]})"


def by_change(found: RunComparison) -> list[tuple[ComparedBackend, ComparedBackend]]:
    """The compared sides, the largest change of the first metric first."""
    return sorted(found.sides, key=lambda sides: -_size(next(iter(pairs_of(found, *sides)), None)))


def pairs_by_change(
    found: RunComparison, x: ComparedBackend, y: ComparedBackend, metrics: Mapping[str, Metric]
) -> list[PairResult]:
    """The comparisons of two sides, the largest change first: those in points, then those in other units."""
    return sorted(pairs_of(found, x, y), key=lambda pair: (not metrics[pair.metric].in_points, -_size(pair)))


def _size(pair: PairResult | None) -> float:
    """The size of a change; -1 where it is undefined."""
    return -1.0 if pair is None or pair.difference.value is None else abs(pair.difference.value)


def metrics_of(log: RunLog, found: RunComparison) -> dict[str, Metric]:
    """The compared metrics by name, as the first run's summary knows them."""
    summary = log.summary()
    known = {} if summary is None else {m.name: m for m in summary.metrics}
    return {p.metric: known.get(p.metric, Metric(name=p.metric)) for p in found.pairs}


def pairs_of(found: RunComparison, x: ComparedBackend, y: ComparedBackend) -> list[PairResult]:
    """The comparisons of two sides, a metric each."""
    return [p for p in found.pairs if (p.a, p.b) == (side_name(x), side_name(y))]


class Statement(NamedTuple):
    """The sentence on two sides, and the lines below it."""

    sentence: str
    details: tuple[str, ...] = ()


def statements(found: RunComparison, metrics: Mapping[str, Metric]) -> list[Statement]:
    """What is said first of each two sides: the bound of what is lost by taking a for b."""
    by_name = {(v.candidate, v.incumbent): v for v in found.verdicts}
    said = []
    for x, y in by_change(found):
        verdict = by_name.get((side_name(x), side_name(y)))
        names = short_name("A", x), short_name("B", y)
        if verdict is None:
            said.append(
                Statement(visible_line(f"{names[0]} and {names[1]}: these rows give no bound on the difference.", 400))
            )
            continue
        verdict = msgspec.structs.replace(verdict, candidate=names[0], incumbent=names[1])
        metric = metrics.get(verdict.metric) or Metric(name=verdict.metric)
        lines = verdict_details(verdict, metric)
        if said and verdict.margin_source == DEFAULT_SOURCE:  # the source of the margin is below the first two sides
            lines = lines[:-1]
        details = tuple(visible_line(line, 600) for line in lines)
        said.append(Statement(visible_line(verdict_sentence(verdict, metric), 600), details))
    return said


def verdict_word(pair: PairResult) -> str:
    """The verdict on a pair as it is shown."""
    return "no significant difference" if pair.verdict == EVEN else _capital(pair.verdict)


def _capital(verdict: str) -> str:
    """ "a better" as "A better": the sides are called A and B."""
    return verdict[:1].upper() + verdict[1:]


def print_comparison(found: RunComparison, log: RunLog, console: Console) -> None:
    """Print a comparison whose first run is `log`: rows, a table for each two sides, then what was left out."""
    metrics = metrics_of(log, found)
    console.print(Text(f"{visible_line(found.task)}: {plural(found.rows, 'row')} in common.", style="dim"))
    for (x, y), said in zip(by_change(found), statements(found, metrics), strict=True):
        console.print(Text(f"\n{said.sentence}", style="bold"))
        for line in said.details:
            console.print(Text(line))
        names = (f"{letter} = {side_name(side)} ({side.model})" for letter, side in (("A", x), ("B", y)))
        console.print(Text("\n" + "\n".join(map(visible_line, names))))
        rows = [_row(pair, x, y, metrics[pair.metric]) for pair in pairs_by_change(found, x, y, metrics)]
        columns = [
            TerminalColumn(heading, [row[n] for row in rows], numeric=n in (1, 2, 3, 4), folds=n == 0)
            for n, heading in enumerate(HEADINGS)
        ]
        table, hidden = fitting_table(columns, console.width, kept=4)
        console.print(table)
        if hidden:
            console.print(Text(no_room(hidden), style="dim"))
    if any(pair.verdict == EVEN for pair in found.pairs):
        console.print(Text("= no significant difference", style="dim"))
    for line in differences_in_words(found):
        console.print(Text(visible_line(line, 400)))
    for note in found.notes:
        console.print(Text(f"! {visible_line(note, 500)}", style="yellow"))


def differences_in_words(found: RunComparison) -> list[str]:
    """What differs besides the answers, a line for each topic; the environment in full is on the page."""
    lines: dict[str, list[str]] = {}
    for d in found.differences:
        if d.topic != "environment" or d.name == "commit":
            who = f" of {d.backends}" if d.backends and len(found.sides) > 1 else ""
            lines.setdefault(d.topic, []).append(f"{d.name}{who} {_cut(d.a)} -> {_cut(d.b)}")
    return [f"{topic}, A -> B: {_some(changes)}" for topic, changes in lines.items()]


def _some(changes: list[str], most: int = 5) -> str:
    more = len(changes) - most
    return "; ".join(changes[:most]) + (f"; and {more} more on the page (--out)" if more > 0 else "")


def _cut(text: str) -> str:
    return visible_line(model_name(text), 60)


def _row(pair: PairResult, x: ComparedBackend, y: ComparedBackend, metric: Metric) -> tuple[Text, ...]:
    figures = (number(side.figures[pair.metric], metric) for side in (x, y))
    verdict = "=" if pair.verdict == EVEN else _capital(pair.verdict)
    name = f"{title(pair.metric)} {unit(metric)}".rstrip()
    return tuple(
        map(
            Text,
            (name, *figures, " ".join(difference(pair, 1, metric)).strip() or "n/a", p_value(pair.p_holm), verdict),
        )
    )
