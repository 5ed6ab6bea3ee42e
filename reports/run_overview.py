"""What the page of `bench view` shows of the runs of a workspace."""

from typing import Any, NamedTuple
from urllib.parse import quote

from harness.reports.candidate_table import gate_cell, short_commit, short_id
from harness.reports.leaderboard_rows import figure, heading, money_cell
from harness.reports.leaderboard_runs import gate_result
from harness.reports.run_state import BackendState, RunState
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.reports.verdict_section import verdict_section
from harness.runs.run_log import RunLog
from harness.summary.candidate_history import CandidateRun, RunFacts, model_name
from harness.summary.stored_verdict import by_rank, headline_metric
from harness.text_format import count, plural, rate, seconds, to_the_second
from harness.text_sanitize import visible_line


class UnderWay(NamedTuple):
    """A run that has not ended: its name, what it does at the moment, and a line for each backend."""

    name: str
    about: str
    recent: bool
    backends: tuple["Progress", ...]


class Progress(NamedTuple):
    """A backend of it: how many of how many, and that in words."""

    name: str
    done: int
    total: int
    shown: str
    about: str


class Ended(NamedTuple):
    """A run that has ended: its name, its first sentence, its table."""

    name: str
    about: str
    href: str
    sentence: str
    grid: Grid


def overview(states: list[RunState]) -> dict[str, Any]:
    """The context of the page: runs under way, runs that ended (by task, the newest first), and unreadable ones."""
    return {
        "under_way": [_under_way(s) for s in states if s.manifest is not None and s.summary is None],
        "ended": [_ended(s) for s in states if s.summary is not None],
        "problems": [visible_line(f"{s.folder.name}: {s.problem}", 400) for s in states if s.problem],
    }


def _under_way(state: RunState) -> UnderWay:
    manifest = state.manifest
    assert manifest is not None
    now = f"last written {seconds(state.idle_s)} ago"
    if not state.recent:
        now += f"; if it was stopped: bench run --resume {short_id(manifest.id)}"
    begun = to_the_second(manifest.created)
    about = f"{visible_line(manifest.task)} · {plural(manifest.rows, 'row')} · begun {begun} · {now}"
    return UnderWay(visible_line(manifest.id), about, state.recent, tuple(map(_progress, state.backends)))


def _progress(backend: BackendState) -> Progress:
    done = backend.answered + backend.errors
    about = [visible_line(model_name(backend.model), 60)]
    if backend.errors:
        about.append(plural(backend.errors, "error"))
    if backend.probed and not done:
        about.append(f"latency probe: {plural(backend.probed, 'row')}")
    if backend.rate is not None and backend.left_s is not None:
        about += [f"{rate(backend.rate)} rows/s", f"{seconds(backend.left_s)} left"]
    elif not done:
        about.append("no answer yet")
    shown = f"{count(done)} of {count(backend.total)}"
    return Progress(visible_line(backend.name), done, backend.total, shown, " · ".join(about))


def _ended(state: RunState) -> Ended:
    summary, manifest = state.summary, state.manifest
    assert summary is not None and manifest is not None
    facts = RunFacts(manifest, summary, gate_result(RunLog(state.folder, manifest)))
    metric = headline_metric(summary)
    rows = tuple(
        (
            TableCell(
                text=visible_line(name),
                below=visible_line(model_name(summary.backends[name].model), 60),
                sort=name.casefold(),
            ),
            figure(summary.backends[name].metrics, metric),
            gate_cell(CandidateRun(facts, name)),
            money_cell(summary.backends[name].cost.per_1000),
        )
        for name in by_rank(summary)
    )
    columns = (
        TableColumn(title="backend", numeric=False),
        heading(metric),
        TableColumn(title="gate", numeric=False),
        TableColumn(title="$ per 1,000"),
    )
    about = [visible_line(summary.task), plural(summary.rows, "row"), to_the_second(manifest.created)]
    about += [f"commit {visible_line(short_commit(manifest.git))}"] if manifest.git else []
    about += [] if summary.complete else ["incomplete"]
    return Ended(
        visible_line(manifest.id),
        " · ".join(about),
        f"run/{quote(state.folder.name)}",
        verdict_section(summary).sentence,
        Grid(caption=f"Backends of {visible_line(manifest.id)}", columns=columns, rows=rows),
    )
