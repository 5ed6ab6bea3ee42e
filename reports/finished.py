"""The summary of a run that has ended; a file of its own, so that a table or a CSV loads no drawing library."""

from harness.errors import IncompleteRunError
from harness.results import Summary
from harness.runlog import RunLog


def summary_of(log: RunLog) -> Summary:
    """The summary of a run. Raises IncompleteRunError where it has none yet."""
    found = log.summary()
    if found is None:
        raise IncompleteRunError(
            f"{log.path} has no summary yet: finish it with `bench run --resume {log.path}` first."
        )
    return found
