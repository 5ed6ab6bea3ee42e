"""LiteLLM's proxy, a gateway that really limits: Bench learns the limit from its headers before it is refused."""

from pathlib import Path

from benchmarks.real import servers
from tests.real.cli import backend_of, bench
from tests.real.conftest import need

RPM = 120
ROWS = 150


def test_a_limit_learned_from_headers_refuses_nothing(work: Path) -> None:
    need("litellm")
    with servers.litellm(rpm=RPM, answer="World") as server:
        (work / "bench.toml").write_text(
            f'[backends.gateway]\nkind = "openai"\nmodel = "gateway"\nbase_url = "{server.base_url}"\n', "utf-8"
        )
        words = ("--data", "embedded", "--limit", str(ROWS), "--backends", "gateway", "--no-cache", "--out", "run")
        bench("run", "--task", "agnews", *words)
    asked = backend_of(work / "run", "gateway")
    assert asked.answered == ROWS and asked.errors == {}
    assert asked.load is not None and asked.load.attempts == ROWS, "no request was refused and sent again"
