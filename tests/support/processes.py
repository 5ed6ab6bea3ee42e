"""Processes of the tests: how `bench` is started, and how one waits for what another process does."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCH = (sys.executable, "-m", "harness")
"""The command `bench`, by this interpreter."""
PATIENCE_S = 120.0
"""Far longer than anything takes: a bound for what hangs, and no claim about speed."""


def wait_until(happened: Callable[[], object], process: "subprocess.Popen[Any] | None" = None) -> None:
    """Wait for something to be seen, as long as `process` lives. Fails where it has ended or nothing comes."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        if process is not None and process.poll() is not None and not happened():
            raise AssertionError(f"it ended before, with {process.returncode}: {process.communicate()[0]!r}")
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.005)


def count_lines(path: Path) -> int:
    """Whole lines of a file that may not be there yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def free_port() -> int:
    """A port nobody listens at just now, for what takes no port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
