"""What every test starts from: no setting of the person or the machine that runs it, and one loopback server."""

import os
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support.openai_server import OpenAIServer, ServerConfig
from tests.support.processes import ROOT

OF_OTHERS = ("OPENAI_", "AZURE_", "AWS_", "HF_", "HUGGING", "TIKTOKEN_", "WANDB_", "RAY_", "GIT_", "GITHUB_")
"""Beginnings of environment variables whose keys, caches and settings would influence a test."""
OF_A_PLACE = (
    *("BENCH_HOME", "CI", "TERM", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    *("WORLD_SIZE", "RANK", "LOCAL_RANK"),
)

# Here and not in a fixture: libraries read their variables when they are imported, which collecting does.
for name in list(os.environ):
    if name in OF_A_PLACE or name.startswith(OF_OTHERS):
        del os.environ[name]
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_CACHE": str(ROOT / "tests" / "no-hub-cache"),  # models in the user's own cache are not found either
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models this small are slower with more

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("bench", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("bench")


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests and killed processes leave in the temporary directory goes with pytest's own."""
    folder = str(tmp_path_factory.mktemp("tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def running_server() -> Iterator[OpenAIServer]:
    """One process for all tests that need a server."""
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def server(running_server: OpenAIServer) -> OpenAIServer:
    """A loopback server that has seen nothing yet; a test gives it another mood by `reset`."""
    running_server.reset(ServerConfig())
    return running_server
