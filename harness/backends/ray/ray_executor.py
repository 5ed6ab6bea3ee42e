"""A local model in Ray workers: a handle on the pool of workers that hold its base."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from harness import hardware
from harness.backends.local.model_spec import BaseFacts, DecodeSettings, ModelSpec, RaySettings
from harness.backends.ray.ray_cluster import Cluster, import_ray, mixed, reply
from harness.backends.ray.ray_worker import Greeting, LocalWorker, Refusal, decode_or_refuse
from harness.backends.ray.worker_pool import WorkerPool
from harness.errors import UsageError
from harness.records import Completion, Request

SHARES = 8
"""Windows a worker gets in all, at least: the last ones then end at nearly the same time everywhere."""
SAME = ("dtype", "attention", "quantization")
"""What must be the same on every worker, or the same row would be answered differently here and there."""


class WorkerGroup:
    """The workers of one base in one placement, shared by the handles of a run."""

    def __init__(self, cluster: Cluster, weights: ModelSpec, ray: RaySettings, remark: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.weights = weights
        self.ray = ray
        self.remark = remark
        self.users = 0
        self.lock = asyncio.Lock()
        self.pool: WorkerPool | None = None
        self.orders: list[bytes] = []
        self.facts: BaseFacts | None = None
        self._greetings: dict[str, Greeting] = {}

    async def enter(self) -> BaseFacts:
        """Start the workers (the first handle does) and tell what they found. Raises UsageError."""
        async with self.lock:
            if self.pool is None:
                await self.cluster.join()
                try:
                    self.pool = await self._start()
                except BaseException:
                    await self.cluster.release()
                    raise
            self.users += 1
            assert self.facts is not None
            return self.facts

    async def leave(self) -> None:
        """The last handle ends the workers, and with them the connection."""
        async with self.lock:
            self.users -= 1
            if self.users == 0 and self.pool is not None:
                pool, self.pool = self.pool, None
                await pool.aclose()
                await self.cluster.release()

    async def _start(self) -> WorkerPool:
        ray = import_ray()
        has = ray.cluster_resources()
        needs = {"CPU": self.ray.num_cpus, "GPU": self._gpus(has), **self.ray.resources}
        if self.cluster.started_here:  # this one does not grow
            for what, each in needs.items():
                if each * self.ray.workers > has.get(what, 0.0) + 1e-9:
                    raise UsageError(
                        f"{self.ray.workers} workers want {each * self.ray.workers:g} {what}, this machine has "
                        f"{has.get(what, 0.0):g}: ask for fewer workers, or less for each."
                    )
        actor = ray.remote(LocalWorker).options(
            num_cpus=needs["CPU"],
            num_gpus=needs["GPU"],
            resources=self.ray.resources or None,
            max_restarts=0,  # the pool replaces it, and asks its rows again
            scheduling_strategy="SPREAD",
        )
        raw = msgspec.msgpack.encode(self.weights)
        pool = WorkerPool(lambda: actor.remote(raw), self.admit, self.ray.workers, self.ray.wait_s, self.remark)
        try:
            await pool.start()
        except BaseException:
            await pool.aclose()
            raise
        return pool

    def _gpus(self, has: dict[str, float]) -> float:
        if self.ray.num_gpus is not None:
            return self.ray.num_gpus
        return 1.0 if has.get("GPU", 0.0) else 0.0

    async def admit(self, actor: Any) -> str:
        """Accept a worker that has our versions, the base and the adapters. Raises UsageError for any other."""
        greeting = msgspec.msgpack.decode(await reply(actor.greet.remote()), type=Greeting)
        where = f"{greeting.node} (process {greeting.pid})"
        known = {**{g.node: g.versions for g in self._greetings.values()}, greeting.node: greeting.versions}
        differ = mixed(hardware.versions(), known)
        if differ is None:  # two nodes may have one address (a test, containers): compare worker by worker too
            before = next(iter(self._greetings.values()), greeting)
            pair = {f"{before.node} (process {before.pid})": before.versions, where: greeting.versions}
            differ = mixed({}, pair) if before.versions != greeting.versions else None
        if differ is not None:
            raise UsageError(f"mixed versions on the Ray cluster: {differ}; install the same everywhere.")
        found = decode_or_refuse(await reply(actor.find.remote()), BaseFacts)
        if isinstance(found, Refusal):
            raise UsageError(f"the worker on {greeting.node}: {found.message}")
        self._same(found, greeting.node)
        for order in self.orders:
            await self._has_adapter(actor, order, greeting.node)
        self._greetings[where] = greeting
        self.facts = self.facts or found
        return where

    def _same(self, found: BaseFacts, node: str) -> None:
        first = self.facts
        if first is None:
            return
        for what in ("revision", "sha256", "config_sha256"):
            if getattr(found, what) != getattr(first, what):
                raise UsageError(
                    f"the base model {found.name} on {node} is another than on the other nodes "
                    f"({what} {getattr(found, what)} and {getattr(first, what)}): put the same files everywhere."
                )
        for what in SAME:
            if found.placement.get(what) != first.placement.get(what):
                raise UsageError(
                    f"the worker on {node} would run {what} {found.placement.get(what)}, the others "
                    f"{first.placement.get(what)}: set {what} in the backend's settings."
                )

    async def _has_adapter(self, actor: Any, order: bytes, node: str) -> None:
        refused = msgspec.msgpack.decode(await reply(actor.check.remote(order)), type=Refusal | None)
        if refused is not None:
            raise UsageError(
                f"the worker on {node}: {refused.message}; put it on storage that all nodes share, at the same path."
            )

    async def accept(self, order: bytes) -> None:
        """One more way of answering: every worker, and every later one, must have its adapter."""
        assert self.pool is not None
        if order not in self.orders:
            for actor, where in self.pool.workers():
                await self._has_adapter(actor, order, where)
            self.orders.append(order)


class OnRay:
    """One backend's handle."""

    def __init__(
        self,
        wanted: ModelSpec,
        window: int,
        ray: RaySettings,
        shared: dict[Any, Any],
        remark: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._wanted = wanted
        self._window = window
        self._ray = ray
        self._shared = shared
        self._remark = remark
        self._hall: WorkerGroup | None = None
        self._order = b""
        self._size = window

    async def find(self) -> BaseFacts:
        """Reach the cluster and make the workers: the base must lie on every node. Raises UsageError."""
        if self._hall is not None and self._hall.facts is not None:
            return self._hall.facts
        cluster = Cluster.of(self._shared, self._ray.address)
        key = ("ray workers", self._wanted, msgspec.json.encode(self._ray))
        hall: WorkerGroup = self._shared.setdefault(key, WorkerGroup(cluster, self._wanted, self._ray, self._remark))
        facts = await hall.enter()
        self._hall = hall
        return facts

    async def open(self, work: DecodeSettings, rows: int) -> None:
        """See that every worker has the adapter, and choose how many rows are handed out together."""
        assert self._hall is not None, "find comes before open"
        self._order = msgspec.msgpack.encode(work)
        await self._hall.accept(self._order)
        share = math.ceil(rows / (SHARES * self._ray.workers))
        self._size = 1 if work.unbatched else max(1, min(self._window, share))

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncIterator[Completion]:
        """Windows of the requests go to whichever worker is free. Raises BackendStopped."""
        assert self._hall is not None and self._hall.pool is not None, "open comes before stream"
        async for completion in self._hall.pool.stream(self._order, requests, self._size):
            yield completion

    def facts(self) -> dict[str, Any]:
        """The executor and its workers, for the manifest."""
        return {"executor": "ray", "workers": self._ray.workers}

    def counters(self) -> dict[str, float]:
        """The workers' counters together, how many they are and how many were lost; empty before the first answer."""
        pool = self._hall.pool if self._hall is not None else None
        sums = pool.sums(self._order) if pool is not None else {}
        if pool is None or not sums.get("rows"):
            return {}
        from harness.backends.local.engine_counters import table

        return {**table(sums), "workers": float(pool.count), "workers_lost": float(pool.lost)}

    async def aclose(self) -> None:
        """Leave the workers to the other handles; the last one ends them."""
        if self._hall is not None:
            hall, self._hall = self._hall, None
            await hall.leave()
