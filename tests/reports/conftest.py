"""One small synthetic run, shared by the tests that only read it."""

from pathlib import Path

import pytest

from harness.reports.exports import summary_of
from harness.results import Summary
from harness.runs.run_log import RunLog
from tests.support.synthetic_run import synthetic_run


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    """500 rows, four backends: a tuned and an untuned local model, two API models."""
    folder: Path = tmp_path_factory.mktemp("runs") / "small"
    return synthetic_run(folder, 500)


@pytest.fixture(scope="session")
def summary(log: RunLog) -> Summary:
    """The summary of `log`."""
    return summary_of(log)
