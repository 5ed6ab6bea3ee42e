"""A head of one CPU on loopback for the module, a folder of rows, and the answers of a single process."""

import json
import os
import random
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before Ray is imported, which reads them once: nobody else on this machine may join the test's clusters.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}

ray = pytest.importorskip("ray", reason="needs the `ray` extra")
pytest.importorskip("torch", reason="needs the `local` extra")

from harness.runs.run_log import RunLog  # noqa: E402
from tests.cluster.running import ask  # noqa: E402
from tests.support.ray_nodes import Node  # noqa: E402
from tests.support.tiny_llama import sentences  # noqa: E402

ROWS = 1500


@pytest.fixture(scope="session", autouse=True)
def short_folder() -> Iterator[None]:
    """Where a cluster of our own keeps its sockets, whose paths must be short; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        yield
        del os.environ["RAY_TMPDIR"]


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows for the news task, of very different lengths."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    chance = random.Random(3)
    texts = (f"{text} {n}" for n, text in enumerate(sentences(ROWS, seed=3)))
    path.write_text("".join(json.dumps({"text": t, "label": chance.randrange(4)}) + "\n" for t in texts))
    return path


@pytest.fixture(scope="session")
def alone(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    """The same rows answered in this process."""
    return ask(rows, tmp_path_factory.mktemp("alone") / "run", executor="process")


@pytest.fixture(scope="module")
def head() -> Iterator[Node]:
    with Node("127.0.0.2", cpus=2) as node:
        yield node
