"""The latency probe: backends take turns, errors end it early, and what it took is said."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness import runner
from harness.cli.run_display import ProbeProgress
from harness.errors import BackendStopped
from harness.execution.executor import SAME_ERRORS, ProbeState, probe_messages, probe_round_robin
from harness.records import Completion, Cost, Failure, LogLine
from harness.settings import Settings
from harness.workspace import Workspace
from tests.support.fakes import FakeBackend

Answer = Callable[[int], Failure | None]


def probing(
    answers: dict[str, Answer], rows: int = 6, seed: int = 0
) -> tuple[list[tuple[str, int]], dict[str, ProbeState]]:
    """Calls in their order, and what became of each backend."""
    calls: list[tuple[str, int]] = []

    def asker(name: str) -> ProbeState:
        async def ask(n: int) -> LogLine | None:
            calls.append((name, n))
            error = answers[name](n)
            cost = Cost() if error else Cost(list=0.25, incurred=0.25)
            return LogLine.of(n, Completion(id=f"row {n}", error=error, cost=cost), None)

        return ProbeState(ask, list(range(rows)))

    backends = {name: asker(name) for name in answers}
    asyncio.run(probe_round_robin(backends, seed, lambda: False, lambda done, total: None))
    return calls, backends


def well(_: int) -> Failure | None:
    return None


def down(_: int) -> Failure | None:
    return Failure(kind="connection", message="nobody listens")


def test_every_row_is_asked_of_all_before_the_next_one() -> None:
    calls, _ = probing({"a": well, "b": well, "c": well})
    rows = [n for _, n in calls]
    assert rows == [0] * 6 + [n for n in range(1, 6) for _ in range(3)]  # the first once more, to warm up
    for start in range(0, len(calls), 3):
        assert {name for name, _ in calls[start : start + 3]} == {"a", "b", "c"}


def test_who_comes_first_changes_from_row_to_row_and_by_the_seed_alone() -> None:
    def leaders(seed: int) -> list[str]:
        return [name for name, _ in probing({"a": well, "b": well}, rows=30, seed=seed)[0]][::2]

    assert 5 <= leaders(0).count("a") <= 26
    assert leaders(0) == leaders(0) != leaders(1)


def test_a_backend_that_never_answered_is_left_after_its_first_error() -> None:
    calls, backends = probing({"a": well, "b": down}, rows=10)
    assert [name for name, _ in calls].count("b") == 1
    assert [name for name, _ in calls].count("a") == 11
    sentences = probe_messages(backends)
    assert sentences[0] == "latency probe: 12 requests to a, b, one at a time, $2.750000"
    assert "b: the latency probe ended after 1 request (connection: nobody listens)" in sentences[1]


def test_a_few_errors_of_one_kind_end_it_and_single_ones_of_several_kinds_do_not() -> None:
    def often(n: int) -> Failure | None:
        return Failure(kind="timeout", message="60 s") if n % 2 else None

    def once(n: int) -> Failure | None:
        return Failure(kind=f"kind {n}", message="") if n in (3, 5) else None

    calls, backends = probing({"often": often, "once": once}, rows=20)
    assert backends["often"].errors["timeout"] == SAME_ERRORS
    assert [name for name, _ in calls].count("once") == 21


def test_a_stop_of_the_backend_ends_its_probe() -> None:
    def stop(_: int) -> Failure | None:
        raise BackendStopped("the key is wrong", "authentication")

    calls, backends = probing({"a": stop, "b": well})
    assert [name for name, _ in calls].count("a") == 1 and backends["b"].answers == 7


def test_progress_counts_rows_and_ends_with_all() -> None:
    seen: list[tuple[int, int]] = []
    one = ProbeState(lambda n: asyncio.sleep(0, LogLine.of(n, Completion(id="x"), None)), [3, 4])
    asyncio.run(probe_round_robin({"a": one}, 0, lambda: False, lambda done, total: seen.append((done, total))))
    assert seen == [(0, 2), (0, 2), (1, 2), (2, 2)]


def test_a_pipe_gets_plain_lines_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.0, 9.0, 9.0, 10.0, 10.0])
    progress = ProbeProgress(Console(force_terminal=False), clock=lambda: next(now))
    for done in range(4):
        progress(done, 3)
    progress.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "bench: probing latency: 0 of 3 rows"
    assert lines[-1] == "bench: probing latency: 3 of 3 rows"


def test_a_run_probes_in_turns_before_it_asks_all(tmp_path: Path) -> None:
    FakeBackend.asked.clear()
    table = {"kind": "tests.support.fakes:FakeBackend", "window": 4}
    log = runner.run(
        "tests.support.fakes:Parity",
        ["a", "b"],
        probe_rows=3,
        out=tmp_path / "r",
        settings=Settings(backends={"a": table, "b": table}),
        workspace=Workspace(tmp_path),
    )
    probe = FakeBackend.asked[:8]
    assert [{name for name, _, _ in probe[k : k + 2]} for k in range(0, 8, 2)] == [{"a", "b"}] * 4
    for name in ("a", "b"):
        assert len(log.lines(name, probe=True)) == 3
