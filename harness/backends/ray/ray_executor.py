"""A local model in Ray workers: a handle on the pool of workers that hold its base."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from harness import hardware
from harness.backends.local.model_spec import BaseFacts, DecodeSettings, ModelSpec, RaySettings
from harness.backends.ray.ray_cluster import Cluster, import_ray, reply, version_mismatch
from harness.backends.ray.ray_worker import LocalWorker, WorkerInfo, WorkerRefusal, decode_or_refuse
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
        self.spec = weights
        self.ray = ray
        self.remark = remark
        self.users = 0
        self.lock = asyncio.Lock()
        self.pool: WorkerPool | None = None
        self.jobs: list[bytes] = []
        self.facts: BaseFacts | None = None
        self._worker_info: dict[str, WorkerInfo] = {}

    async def acquire(self) -> BaseFacts:
        """Start the workers (the first handle does) and report what they found. Raises UsageError."""
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

    async def release(self) -> None:
        """The last handle ends the workers, and with them the connection."""
        async with self.lock:
            self.users -= 1
            if self.users == 0 and self.pool is not None:
                pool, self.pool = self.pool, None
                await pool.aclose()
                await self.cluster.release()

    async def _start(self) -> WorkerPool:
        ray = import_ray()
        available = ray.cluster_resources()
        needs = {"CPU": self.ray.num_cpus, "GPU": self._gpus(available), **self.ray.resources}
        if self.cluster.started_here:  # this one does not grow
            for name, each in needs.items():
                if each * self.ray.workers > available.get(name, 0.0) + 1e-9:
                    raise UsageError(
                        f"{self.ray.workers} workers want {each * self.ray.workers:g} {name}, this machine has "
                        f"{available.get(name, 0.0):g}: ask for fewer workers, or less for each."
                    )
        actor = ray.remote(LocalWorker).options(
            num_cpus=needs["CPU"],
            num_gpus=needs["GPU"],
            resources=self.ray.resources or None,
            max_restarts=0,  # the pool replaces it, and asks its rows again
            scheduling_strategy="SPREAD",
        )
        encoded_spec = msgspec.msgpack.encode(self.spec)
        pool = WorkerPool(
            lambda: actor.remote(encoded_spec), self.validate_worker, self.ray.workers, self.ray.wait_s, self.remark
        )
        try:
            await pool.start()
        except BaseException:
            await pool.aclose()
            raise
        return pool

    def _gpus(self, available: dict[str, float]) -> float:
        if self.ray.num_gpus is not None:
            return self.ray.num_gpus
        return 1.0 if available.get("GPU", 0.0) else 0.0

    async def validate_worker(self, actor: Any) -> str:
        """Accept a worker that has our versions, the base and the adapters. Raises UsageError for any other."""
        worker = msgspec.msgpack.decode(await reply(actor.info.remote()), type=WorkerInfo)
        location = f"{worker.node} (process {worker.pid})"
        known = {**{g.node: g.versions for g in self._worker_info.values()}, worker.node: worker.versions}
        mismatch = version_mismatch(hardware.versions(), known)
        if mismatch is None:  # two nodes may have one address (a test, containers): compare worker by worker too
            earlier = next(iter(self._worker_info.values()), worker)
            versions = {f"{earlier.node} (process {earlier.pid})": earlier.versions, location: worker.versions}
            mismatch = version_mismatch({}, versions) if earlier.versions != worker.versions else None
        if mismatch is not None:
            raise UsageError(f"mixed versions on the Ray cluster: {mismatch}; install the same everywhere.")
        found = decode_or_refuse(await reply(actor.find.remote()), BaseFacts)
        if isinstance(found, WorkerRefusal):
            raise UsageError(f"the worker on {worker.node}: {found.message}")
        self._check_same_model(found, worker.node)
        for job in self.jobs:
            await self._check_adapter(actor, job, worker.node)
        self._worker_info[location] = worker
        self.facts = self.facts or found
        return location

    def _check_same_model(self, found: BaseFacts, node: str) -> None:
        first = self.facts
        if first is None:
            return
        for name in ("revision", "sha256", "config_sha256"):
            if getattr(found, name) != getattr(first, name):
                raise UsageError(
                    f"the base model {found.name} on {node} differs from that on the other nodes "
                    f"({name} {getattr(found, name)} and {getattr(first, name)}): put the same files everywhere."
                )
        for name in SAME:
            if found.placement.get(name) != first.placement.get(name):
                raise UsageError(
                    f"the worker on {node} would run {name} {found.placement.get(name)}, the others "
                    f"{first.placement.get(name)}: set {name} in the backend's settings."
                )

    async def _check_adapter(self, actor: Any, job: bytes, node: str) -> None:
        refusal = msgspec.msgpack.decode(await reply(actor.check.remote(job)), type=WorkerRefusal | None)
        if refusal is not None:
            raise UsageError(
                f"the worker on {node}: {refusal.message}; put it on storage that all nodes share, at the same path."
            )

    async def register_job(self, job: bytes) -> None:
        """One more way of answering: every worker, and every later one, must have its adapter."""
        assert self.pool is not None
        if job not in self.jobs:
            for actor, location in self.pool.workers():
                await self._check_adapter(actor, job, location)
            self.jobs.append(job)


class RayExecutor:
    """One backend's handle."""

    def __init__(
        self,
        spec: ModelSpec,
        window: int,
        ray: RaySettings,
        shared: dict[Any, Any],
        remark: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._spec = spec
        self._window = window
        self._ray = ray
        self._shared = shared
        self._remark = remark
        self._group: WorkerGroup | None = None
        self._job = b""
        self._window_size = window

    async def find(self) -> BaseFacts:
        """Reach the cluster and make the workers: the base must lie on every node. Raises UsageError."""
        if self._group is not None and self._group.facts is not None:
            return self._group.facts
        cluster = Cluster.of(self._shared, self._ray.address)
        key = ("ray workers", self._spec, msgspec.json.encode(self._ray))
        group: WorkerGroup = self._shared.setdefault(key, WorkerGroup(cluster, self._spec, self._ray, self._remark))
        facts = await group.acquire()
        self._group = group
        return facts

    async def open(self, settings: DecodeSettings, rows: int) -> None:
        """See that every worker has the adapter, and choose how many rows are handed out together."""
        assert self._group is not None, "find comes before open"
        self._job = msgspec.msgpack.encode(settings)
        await self._group.register_job(self._job)
        share = math.ceil(rows / (SHARES * self._ray.workers))
        self._window_size = 1 if settings.unbatched else max(1, min(self._window, share))

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncIterator[Completion]:
        """Windows of the requests go to whichever worker is free. Raises BackendStopped."""
        assert self._group is not None and self._group.pool is not None, "open comes before stream"
        async for completion in self._group.pool.stream(self._job, requests, self._window_size):
            yield completion

    def facts(self) -> dict[str, Any]:
        """The executor and its workers, for the manifest."""
        return {"executor": "ray", "workers": self._ray.workers}

    def counters(self) -> dict[str, float]:
        """The workers' counters together, how many they are and how many were lost; empty before the first answer."""
        pool = self._group.pool if self._group is not None else None
        sums = pool.sums(self._job) if pool is not None else {}
        if pool is None or not sums.get("rows"):
            return {}
        from harness.backends.local.decode_job import table

        return {**table(sums), "workers": float(pool.count), "workers_lost": float(pool.lost)}

    async def aclose(self) -> None:
        """Leave the workers to the other handles; the last one ends them."""
        if self._group is not None:
            group, self._group = self._group, None
            await group.release()
