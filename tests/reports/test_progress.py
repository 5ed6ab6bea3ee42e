"""Progress behaves on a terminal, in a pipe and in CI."""

import io

import pytest
from rich.console import Console

from harness.records import Completion, Cost, Failure, LogLine
from harness.reports.run_progress import RunProgress


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def line(n: int, cost: float | None = None, error: bool = False) -> LogLine:
    failure = Failure(kind="timeout", message="no answer in 60 s") if error else None
    answer = Completion(id=f"r{n}", finish=None if error else "stop", cost=Cost(incurred=cost), error=failure)
    return LogLine.of(n, answer, None)


def pipe() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=80, force_terminal=False, force_interactive=False), out


def terminal() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=80, force_terminal=True, force_interactive=True, legacy_windows=False), out


def test_a_pipe_gets_a_plain_line_every_few_seconds_and_one_at_the_end() -> None:
    console, out = pipe()
    clock = Clock()
    with RunProgress(console, {"gpt4": 20}, clock=clock) as progress:
        for n in range(20):
            clock.now += 1.0
            progress.on_line("gpt4", line(n, cost=0.01, error=n == 3))
    lines = out.getvalue().splitlines()
    assert lines == [
        "gpt4: 5/20 (25%), 1 rows/s, 1 error, cost $0.05, 15.0 s left",
        "gpt4: 10/20 (50%), 1 rows/s, 1 error, cost $0.10, 10.0 s left",
        "gpt4: 15/20 (75%), 1 rows/s, 1 error, cost $0.15, 5.00 s left",
        "gpt4: 20/20 (100%), 1 rows/s, 1 error, cost $0.20",
    ]
    assert "\x1b" not in out.getvalue()


def test_the_last_line_of_a_stopped_backend_promises_no_time() -> None:
    console, out = pipe()
    clock = Clock()
    with RunProgress(console, {"gpt4": 60}, clock=clock) as progress:
        for n in range(4):
            clock.now += 0.5
            progress.on_line("gpt4", line(n, error=True))
    assert out.getvalue().splitlines()[-1].startswith("gpt4: 4/60 (7%)") and "left" not in out.getvalue()


def test_answers_from_the_cache_make_no_unknown_cost_a_known_one() -> None:
    console, out = pipe()
    with RunProgress(console, {"mine": 2}) as progress:
        progress.on_line("mine", line(0, cost=0.0))
        progress.on_line("mine", line(1))
    assert "cost unknown" in out.getvalue()


def test_ci_gets_plain_lines_even_where_colours_are_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with RunProgress(console, {"a": 1}) as progress:
        progress.on_line("a", line(0))
    assert "\x1b" not in out.getvalue()
    assert out.getvalue() == "a: 1/1 (100%), cost unknown\n"


def test_an_unknown_price_is_unknown_and_a_partly_known_one_is_marked() -> None:
    console, out = pipe()
    with RunProgress(console, {"local": 2, "mixed": 2, "cached": 1}) as progress:
        for n, cost in ((0, None), (1, None)):
            progress.on_line("local", line(n, cost))
        for n, cost in ((0, 0.5), (1, None)):
            progress.on_line("mixed", line(n, cost))
        progress.on_line("cached", line(0, 0.0))
    text = out.getvalue()
    assert "local: 2/2 (100%)" in text
    assert "cost unknown" in text
    assert "cost $0.50+" in text
    assert "cost $0.00" in text


def test_a_resumed_run_counts_what_is_done_but_not_into_the_rate() -> None:
    console, out = pipe()
    clock = Clock()
    with RunProgress(console, {"a": 1000}, done={"a": 900}, clock=clock) as progress:
        for n in range(900, 911):
            clock.now += 1.0
            progress.on_line("a", line(n))
    first, *_, last = out.getvalue().splitlines()
    assert "905/1,000" in first and first.endswith("1 rows/s, cost unknown, 1 min 35 s left")
    assert last.endswith("911/1,000 (91%), 1 rows/s, cost unknown")


def test_a_terminal_shows_all_backends_within_80_columns_and_leaves_a_plain_line_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    console, out = terminal()
    clock = Clock()
    names = {"llama-ft": 7600, "a-very-long-backend-name-indeed": 7600}
    with RunProgress(console, names, clock=clock) as progress:
        for n in range(50):
            clock.now += 0.1
            for name in names:
                progress.on_line(name, line(n, cost=0.002, error=n % 10 == 0))
        shown = Console(width=80, file=io.StringIO(), record=True, color_system=None)
        shown.print(progress._table())
        text = shown.export_text()
    assert max(len(row) for row in text.splitlines()) <= 80
    assert len(text.splitlines()) == 2
    assert "50/7,600" in text and "5 errors" in text and "$0.10" in text
    assert "\x1b[?25l" in out.getvalue() and "\x1b[?25h" in out.getvalue()  # the cursor comes back


def test_control_codes_in_a_name_do_not_reach_the_terminal() -> None:
    console, out = pipe()
    with RunProgress(console, {"x\x1b[31m": 0}):
        pass
    assert "\x1b" not in out.getvalue() and "x␛[31m" in out.getvalue()


def test_a_batch_at_a_provider_is_seen_before_its_answers_come() -> None:
    console, clock = Console(file=io.StringIO(), width=80), Clock()
    with RunProgress(console, {"gpt4": 4}, clock=clock) as progress:
        clock.now = 6.0
        progress.on_batch_progress("gpt4", 3, 4)
        progress.on_line("gpt4", line(0))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "gpt4: 0/4 (0%), 3 answered at the provider" in said
    assert "gpt4: 1/4 (25%), 2 answered at the provider" in said
