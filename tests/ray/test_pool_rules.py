"""The rules of the pool that need no cluster: versions, windows that come back, settings."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness import runner
from harness.backend import RunContext
from harness.backends.local.model_spec import windows
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.backends.ray.ray_cluster import Cluster, version_mismatch
from harness.backends.ray.worker_pool import MAX_LOSSES_OF_WINDOW, RowWindow, StreamHandle, WindowQueue
from harness.errors import UsageError
from harness.records import Completion, Message, Request
from harness.settings import Settings, decode_table
from harness.workspace import Workspace
from tests.support.streams import each

SAME = {"bench-harness": "1.0", "torch": "2.9.0+cu128", "transformers": "5.1", "peft": "0.19"}


def rows(count: int) -> list[Request]:
    return [Request(id=f"r{n}", messages=(Message(role="user", content=str(n)),)) for n in range(count)]


def answer(request: Request) -> Completion:
    return Completion(id=request.id, repeat=request.repeat, text="yes", finish="stop")


def test_equal_versions_pass_whatever_build_the_driver_has() -> None:
    nodes = {"node a": SAME, "node b": SAME}
    assert version_mismatch(SAME, nodes) is None
    assert version_mismatch({**SAME, "torch": "2.9.0+cpu"}, nodes) is None
    assert version_mismatch({"bench-harness": "1.0"}, nodes) is None  # a driver without models


def test_mixed_versions_are_told_with_both_and_where() -> None:
    newer = {**SAME, "transformers": "5.2"}
    assert (
        version_mismatch(SAME, {"node a": SAME, "node b": newer}) == "transformers is 5.1 on node a and 5.2 on node b"
    )
    assert version_mismatch(newer, {"node a": SAME}) == "transformers is 5.2 on this machine and 5.1 on node a"
    other_build = {**SAME, "torch": "2.9.0+cpu"}
    assert version_mismatch(SAME, {"a": SAME, "b": other_build}) == "torch is 2.9.0+cu128 on a and 2.9.0+cpu on b"
    without = {k: v for k, v in SAME.items() if k != "peft"}
    assert version_mismatch(SAME, {"node a": without}) == "peft is not installed on node a"


def test_windows_are_runs_of_rows() -> None:
    async def sizes(count: int, size: int) -> list[int]:
        return [len(w) async for w in windows(each(rows(count)), size)]

    assert asyncio.run(sizes(10, 4)) == [4, 4, 2]
    assert asyncio.run(sizes(0, 4)) == []


def test_a_window_that_comes_back_goes_first_without_what_is_answered() -> None:
    async def go() -> None:
        line = WindowQueue(room=3)
        asker = StreamHandle(line, b"order")
        first, second = (RowWindow(b"order", {(r.id, 0): r for r in rows(3)}, asker) for _ in range(2))
        for window in (first, second):
            line.put(window)
        taken = await line.get()
        assert taken is first
        taken.deliver([answer(r) for r in rows(2)])
        taken.deliver([answer(r) for r in rows(2)])  # told twice: dropped
        taken.losses = 1
        line.put(taken)
        assert await line.get() is taken  # before the one that nobody has begun
        assert list(taken.unanswered) == [("r2", 0)]
        assert asker.results.qsize() == 1

    asyncio.run(go())


def test_rows_that_cost_worker_after_worker_end_as_errors_by_name() -> None:
    async def go() -> list[Completion]:
        asker = StreamHandle(WindowQueue(room=1), b"")
        window = RowWindow(b"", {(r.id, 0): r for r in rows(2)}, asker)
        window.losses = MAX_LOSSES_OF_WINDOW
        window.fail("the actor died")
        return asker.results.get_nowait() or []  # type: ignore[return-value]

    ended = asyncio.run(go())
    assert [c.error.kind for c in ended if c.error] == ["worker lost"] * 2
    assert "the actor died" in (ended[0].error.message if ended[0].error else "")


def test_only_so_many_windows_are_pulled_before_answers_come() -> None:
    pulled = 0

    async def counting() -> AsyncIterator[Request]:
        nonlocal pulled
        for request in rows(100):
            pulled += 1
            yield request

    async def go() -> int:
        line = WindowQueue(room=3)
        asker = StreamHandle(line, b"")
        stream = asker.stream(counting(), 10)
        reading = asyncio.ensure_future(anext(stream))
        for _ in range(1000):  # turns of the loop, far more than a hundred rows take
            await asyncio.sleep(0)
        before = pulled
        window = await line.get()
        window.deliver([answer(r) for r in list(window.unanswered.values())])
        window.stream.window_done()
        await reading
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator
        return before

    assert asyncio.run(go()) == 40  # three windows in the line, and one that waits for room
    assert pulled <= 50


def test_settings_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    def said(ray: dict[str, Any]) -> str:
        with pytest.raises(UsageError) as error:
            table = {"kind": "local", "model": "m", "executor": "ray", "ray": ray}
            settings = decode_table(table, LocalSettings, "[backends.x]")
            LocalBackend("x", settings, "agnews", RunContext(Workspace(tmp_path)))
        return str(error.value)

    assert said({"workers": 0}) == "[backends.x.ray]: workers must be at least 1."
    assert said({"num_gpus": -1}) == "[backends.x.ray]: num_gpus must not be negative."
    assert "Object contains unknown field `worker`" in said({"worker": 1})


def test_options_that_would_change_nothing_are_refused(tmp_path: Path) -> None:
    tables = {
        "tiny": {"kind": "local", "model": "m"},
        "api": {"kind": "openai", "model": "m", "base_url": "http://a/v1"},
    }

    def said(backend: str, **options: Any) -> str:
        with pytest.raises(UsageError) as error:
            settings = Settings(backends=tables)
            runner.run(
                "agnews", [backend], data="embedded", settings=settings, workspace=Workspace(tmp_path), **options
            )
        return str(error.value)

    assert "applies to none of the backends api" in said("api", executor="ray")
    assert "use --executor ray too" in said("tiny", workers=2)


def test_a_cluster_that_fails_to_start_a_client_is_told_with_its_own_reason() -> None:
    error = ConnectionAbortedError("Initialization failure from server:\nTraceback ..\nRuntimeError: no room.\n")
    said = Cluster("ray://here:10001")._unreachable(error)
    assert "(Initialization failure from server: RuntimeError: no room)" in said
