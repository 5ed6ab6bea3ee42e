"""The Ray cluster of a run: connected to or started here, and the package versions of its nodes."""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command

REACH_S = 5.0
"""How long the cluster's port may take to answer before it counts as unreachable."""
LOCAL, AUTO = "local", "auto"


def import_ray() -> Any:
    """The `ray` package. Raises UsageError saying how to install it."""
    try:
        import ray
    except ImportError:
        raise MissingExtraError(f'executor = "ray" needs Ray: {install_command("ray")}.') from None
    return ray


async def reply(ref: Any) -> Any:
    """What a remote call gives, awaited: through `ray://` too, whose references cannot be awaited themselves."""
    future = asyncio.wrap_future(ref.future())
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # one that nobody waits for may fail
    return await asyncio.shield(future)  # Ray sets the result even so, and may not find the future cancelled


def _silence_node_messages(ray: Any) -> None:
    """Keep Ray's own news of nodes off standard output, which belongs to results; the pool reports losses itself."""
    worker = getattr(ray._private, "worker", None)
    if worker is not None and hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, ignore_prefix: None


class Cluster:
    """One connection a process, shared by the backends of a run; `release` by the last one ends it."""

    def __init__(self, address: str | None) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS") or LOCAL
        self._users = 0
        self._started_here = False
        self._lock = asyncio.Lock()

    @classmethod
    def of(cls, shared: dict[Any, Any], address: str | None) -> "Cluster":
        """The cluster of this run. Raises UsageError where its backends name different ones."""
        requested = cls(address)
        cluster: Cluster = shared.setdefault(("ray cluster",), requested)
        if cluster.address != requested.address:
            raise UsageError(
                f"one run uses one Ray cluster, and its backends name two: {cluster.address} and {requested.address}."
            )
        return cluster

    @property
    def started_here(self) -> bool:
        """Whether it is ours, on this machine, and ends with the run."""
        return self.address == LOCAL

    async def join(self) -> None:
        """Connect (the first user does). Raises UsageError where it cannot be reached."""
        async with self._lock:
            if self._users == 0:
                await asyncio.to_thread(self._connect)
            self._users += 1

    async def release(self) -> None:
        """Leave; the last user disconnects, which stops a cluster that was started here."""
        async with self._lock:
            self._users -= 1
            if self._users == 0 and self._started_here:
                await asyncio.to_thread(import_ray().shutdown)
                self._started_here = False

    def _connect(self) -> None:
        ray = import_ray()
        if ray.is_initialized():  # a Python program that uses Bench has connected already
            return
        if self.address not in (LOCAL, AUTO):
            self._check_reachable()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if self.address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
            options["include_dashboard"] = False
        try:
            ray.init(address=self.address, **options)
        except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError, grpc's own, ..
            raise UsageError(self._unreachable(error)) from None
        self._started_here = True
        _silence_node_messages(ray)

    def _check_reachable(self) -> None:
        """Ray itself tries for a minute; a port without a listener is reported at once."""
        parts = urlsplit(self.address if "://" in self.address else f"//{self.address}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or port is None:
            raise UsageError(f"Ray address {self.address} names no host and port: write ray://HOST:10001 or HOST:6379.")
        try:
            socket.create_connection((host, port), REACH_S).close()
        except OSError as error:
            raise UsageError(self._unreachable(error)) from None

    def _unreachable(self, error: BaseException) -> str:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        # A traceback of the cluster's own comes after a colon; its last line is the reason.
        reason = (f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]).rstrip(".")
        problem = "no Ray cluster can be started here" if self.address == LOCAL else "the Ray cluster cannot be reached"
        location = "" if self.address == LOCAL else f" at {self.address}"
        advice = "check the address (RAY_ADDRESS, or address in bench.toml) and `ray status`."
        return f"{problem}{location} ({reason}): {advice}"


PACKAGES = ("bench-harness", "torch", "transformers", "peft")
"""What decides an answer on a node."""


def version_mismatch(local_versions: Mapping[str, str], node_versions: Mapping[str, Mapping[str, str]]) -> str | None:
    """What differs, in words; None where nothing does.

    here: versions on the machine that drives, which may lack what it does not need; there: by node. A build's own
    suffix ("2.9.0+cu128") counts among the nodes, and not against the driver.
    """
    nodes = sorted(node_versions)
    for package in PACKAGES:
        missing = [node for node in nodes if package not in node_versions[node]]
        if missing:
            return f"{package} is not installed on {missing[0]}"
        first = node_versions[nodes[0]][package]
        other = next((node for node in nodes if node_versions[node][package] != first), None)
        if other is not None:
            return f"{package} is {first} on {nodes[0]} and {node_versions[other][package]} on {other}"
        local_version = local_versions.get(package)
        if local_version is not None and local_version.partition("+")[0] != first.partition("+")[0]:
            return f"{package} is {local_version} on this machine and {first} on {nodes[0]}"
    return None
