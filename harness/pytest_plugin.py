"""`pytest --bench-baseline main.json`: the gate as a fixture, so that a team can write `assert` lines.

def test_the_adapter_may_ship(bench_gate):
    result = bench_gate("last", accuracy={"margin": 0.02})
    assert result.passed, result.headline
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.gating.gate_result import GateResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the gate."""
    group = parser.getgroup("bench", "Bench: gate a run against a baseline")
    group.addoption("--bench-baseline", metavar="FILE", help="baseline file or run that `bench_gate` compares with")
    group.addoption("--bench-run", metavar="RUN", default="last", help="run to judge where a test names none")


@pytest.fixture
def bench_gate(request: pytest.FixtureRequest) -> "Callable[..., GateResult]":
    """A function `(run=None, *, candidate=None, reference=None, **figures) -> GateResult`.

    figures: terms by figure, over `[gate]` of the nearest bench.toml: `accuracy={"margin": 0.02}`. The test is
    skipped where pytest was started without --bench-baseline, and fails with a sentence where nothing can be judged.
    """
    baseline = request.config.getoption("--bench-baseline")

    def judge(
        run: str | Path | None = None,
        *,
        candidate: str | None = None,
        reference: str | None = None,
        **figures: Mapping[str, float],
    ) -> "GateResult":
        from harness.errors import BenchError
        from harness.gating.gate_sources import gate_run
        from harness.settings import load_settings
        from harness.workspace import Workspace

        if baseline is None:
            pytest.skip("bench_gate needs pytest --bench-baseline FILE")
        workspace = Workspace.current()
        try:
            return gate_run(
                workspace.find_run(str(run or request.config.getoption("--bench-run"))),
                workspace=workspace,
                table=load_settings().gate,
                baseline=baseline,
                candidate=candidate,
                reference=reference,
                flags=figures,
            )
        except BenchError as error:
            pytest.fail(str(error), pytrace=False)

    return judge
