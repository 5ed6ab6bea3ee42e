"""`bench`, as people type it, in this process."""

import pytest

from harness.cli.main import main


def bench(*words: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)
