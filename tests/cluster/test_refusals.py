"""Clusters that cannot be used are reported in one sentence, before anything is written or asked."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.backends.local.model_spec import DecodeSettings, ModelSpec, RaySettings
from harness.backends.ray.ray_executor import RayExecutor
from harness.errors import UsageError
from tests.cluster.conftest import ROWS
from tests.cluster.running import TINY, answers, ask, workers
from tests.support.processes import free_port
from tests.support.ray_nodes import Node

pytestmark = pytest.mark.cluster


@pytest.fixture
def small() -> Iterator[Node]:
    """A head that has room for one worker."""
    with Node("127.0.0.2", cpus=1) as node:
        yield node


def refused(rows: Path, folder: Path, **table: Any) -> str:
    with pytest.raises(UsageError) as error:
        ask(rows, folder / "run", **table)
    assert not (folder / "run").exists()
    return str(error.value)


def test_mixed_versions_are_refused_with_both_versions(small: Node, rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "site" / "peft-0.1.2.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: peft\nVersion: 0.1.2\n")
    with Node("127.0.0.3", cpus=1, head=small, environment={"PYTHONPATH": str(other.parent)}):
        said = refused(rows, tmp_path, **workers(small.gcs, 2))
    from importlib.metadata import version

    assert "mixed versions on the Ray cluster: peft is " in said
    assert "0.1.2 on node 127.0.0.3" in said
    assert version("peft") in said


def test_a_node_without_the_base_is_named(rows: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub" / "models--bench--tiny"
    shutil.copytree(TINY, hub / "snapshots" / ("a" * 40))
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("a" * 40)
    empty = tmp_path / "empty"
    empty.mkdir()
    with (
        Node("127.0.0.2", cpus=1, environment={"HF_HUB_CACHE": str(tmp_path / "hub")}) as head,
        Node("127.0.0.3", cpus=1, head=head, environment={"HF_HUB_CACHE": str(empty)}),
    ):
        said = refused(rows, tmp_path, model="bench/tiny", **workers(head.gcs, 2))
    assert "the worker on node 127.0.0.3" in said
    assert "base model bench/tiny cannot be fetched" in said


def test_a_worker_without_the_adapter_is_named(small: Node, tmp_path: Path) -> None:
    async def go() -> str:
        executor = RayExecutor(ModelSpec(model=str(TINY)), 64, RaySettings(address=small.gcs), {})
        await executor.find()
        work = DecodeSettings(decode="generate", adapter="a1", folder=str(tmp_path / "adapter"), sha256="0" * 64)
        try:
            with pytest.raises(UsageError) as error:
                await executor.open(work, 10)
        finally:
            await executor.aclose()
        return str(error.value)

    said = asyncio.run(go())
    assert "the worker on node 127.0.0.2 (process " in said
    assert f"there is no adapter at {tmp_path / 'adapter'}; put it on storage that all nodes share" in said


def test_a_cluster_that_is_not_there_is_told(rows: Path, tmp_path: Path) -> None:
    for address in (f"127.0.0.1:{free_port()}", f"ray://127.0.0.1:{free_port()}"):
        said = refused(rows, tmp_path, **workers(address, 1))
        assert f"the Ray cluster cannot be reached at {address} (" in said
        assert "RAY_ADDRESS" in said
    assert "names no host and port" in refused(rows, tmp_path, **workers("ray://somewhere", 1))


def test_too_few_devices_are_told_with_what_there_is(small: Node, rows: Path, tmp_path: Path) -> None:
    said = refused(rows, tmp_path, **workers(small.gcs, 2, wait_s=20.0))
    assert "only 1 of 2 workers were ready within 20 s; the cluster has CPU 1" in said
    said = refused(rows, tmp_path, **workers("local", 1, resources={"A100": 1}))
    assert "1 workers want 1 A100, this machine has 0" in said


def test_a_cluster_of_our_own_is_started_and_stopped(rows: Path, tmp_path: Path) -> None:
    import ray

    log = ask(rows, tmp_path / "run", **workers("local", 1))
    assert len(answers(log)) == ROWS
    assert not ray.is_initialized()


def test_a_client_far_away_is_served_through_ray_client(rows: Path, tmp_path: Path) -> None:
    port = free_port()
    with Node("127.0.0.2", cpus=2, client_port=port):
        log = ask(rows, tmp_path / "run", **workers(f"ray://127.0.0.2:{port}", 2))
    assert len(answers(log)) == ROWS
