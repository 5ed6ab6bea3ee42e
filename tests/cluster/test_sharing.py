"""Base, adapter and head on the same workers: each answers as it does alone, and none waits for another's devices."""

import asyncio
from pathlib import Path

import pytest

from harness.backend import RunContext
from harness.backends.local.model_spec import RaySettings
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.workspace import Workspace
from tests.local.asking import ask, needs
from tests.support.ray_nodes import Node
from tests.support.streams import each
from tests.support.tiny_llama import make_adapter, make_base, news_requests

pytestmark = pytest.mark.cluster


def test_backends_on_one_base_share_workers_and_answer_as_alone(head: Node, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    base = make_base(tmp_path / "base")
    make_adapter(workspace, base, "writer", seed=1, decode="choose")
    make_adapter(workspace, base, "judge", seed=2, head=True)
    requests = news_requests(60)
    kinds = {"": "choose", "writer": "auto", "judge": "auto"}
    alone = {a: ask(workspace, requests, model=str(base), adapter=a, decode=d, threads=1) for a, d in kinds.items()}

    async def together() -> dict[str, dict[str, str]]:
        context = RunContext(workspace=workspace)
        ray = RaySettings(workers=2, address=head.gcs, wait_s=90)  # the cluster has two CPUs: no more workers fit
        backends = {
            a: LocalBackend(
                a or "base",
                LocalSettings(model=str(base), adapter=a, decode=d, threads=1, executor="ray", ray=ray),  # type: ignore[arg-type]
                "agnews",
                context,
            )
            for a, d in kinds.items()
        }

        async def answers(backend: LocalBackend) -> dict[str, str]:
            return {c.id: c.text async for c in backend.stream(each(requests), tmp_path)}

        try:
            for backend in backends.values():
                await backend.check(needs(requests))
            found = await asyncio.gather(*map(answers, backends.values()))
            assert all(b.counters()["workers"] == 2 for b in backends.values())
            assert {b.decode for b in backends.values()} == {"choose", "head"}
        finally:
            for backend in backends.values():
                await backend.aclose()
        return dict(zip(backends, found, strict=True))

    for adapter, found in asyncio.run(together()).items():
        assert found == {row: c.text for row, c in alone[adapter].items()}
