"""Which model a local backend runs and how: weights, decode settings, executors, Ray settings. Imports no torch."""

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import msgspec

from harness.errors import SettingsError
from harness.records import Completion, Decode, Message, Record, Request


class ModelSpec(Record, frozen=True, kw_only=True):
    """Which base, and how it is to be placed ("auto" is resolved where it is loaded). `model`: a folder or a Hub id."""

    model: str
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "auto"
    quantization: str = "none"
    threads: int | None = None


class BaseFacts(Record, frozen=True, kw_only=True):
    """A base as found where it will run: its folder there, Hub commit or digests, and how it will be placed."""

    name: str
    folder: str
    revision: str | None = None
    sha256: str | None = None
    config_sha256: str = ""
    placement: dict[str, Any] = {}


class DecodeSettings(Record, frozen=True, kw_only=True):
    """How one backend wants its rows answered.

    adapter: its name in an engine ("" is the base alone), `folder` where it lies and `sha256` what its weights
    must be; budget: tokens of a batch (None: the device's usual); unbatched: one row at a time (a latency probe).
    template: variables of the chat template; tokenizer: the folder of the adapter's own, where it brings one;
    messages, tools: of the first row, as an example of all.
    """

    decode: Decode
    adapter: str = ""
    folder: str | None = None
    sha256: str | None = None
    labels: tuple[str, ...] = ()
    normalisation: Literal["sum", "mean"] = "sum"
    budget: int | None = None
    unbatched: bool = False
    template: dict[str, Any] = {}
    tokenizer: str | None = None
    messages: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()


class Executor(Protocol):
    """A place where a base model runs. `find`, then `open`, then `stream` as often as wanted, then `aclose`."""

    async def find(self) -> BaseFacts:
        """Find the base where it will run; no weights are loaded yet. Raises UsageError."""
        ...

    async def open(self, settings: DecodeSettings, rows: int) -> None:
        """Make ready to answer about `rows` rows in this way. Raises UsageError for what cannot work there."""
        ...

    def stream(self, requests: AsyncIterator[Request]) -> AsyncIterator[Completion]:
        """Answer requests in any order, each exactly once. Raises BackendStopped."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the place itself; empty for this process."""
        ...

    def counters(self) -> dict[str, float]:
        """What the work amounted to so far."""
        ...

    async def aclose(self) -> None:
        """Give the place back. Safe to call twice."""
        ...


async def windows(requests: AsyncIterator[Request], size: int) -> AsyncIterator[list[Request]]:
    """Runs of `size` requests in their order; the last one may be shorter."""
    window: list[Request] = []
    async for request in requests:
        window.append(request)
        if len(window) >= size:
            yield window
            window = []
    if window:
        yield window


class RaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Workers of one base model; docs/scale.md says more.

    workers: how many. num_gpus: GPUs of each worker; left out: 1 where the cluster has any, else 0. num_cpus: CPUs of
    each worker. resources: custom resources of each worker, as `ray start --resources` names them.
    address: "ray://HOST:PORT", "HOST:PORT", "auto" (a cluster that runs on this machine) or "local" (start one);
    left out: RAY_ADDRESS, else one is started. wait_s: seconds that workers may take to be placed and ready.
    """

    workers: int = 1
    num_gpus: float | None = None
    num_cpus: float = 1.0
    resources: dict[str, float] = {}
    address: str | None = None
    wait_s: float = 120.0


def check_ray(name: str, ray: RaySettings) -> None:
    """Refuse figures that mean nothing. Raises UsageError naming the key."""
    location = f"[backends.{name}.ray]"
    if ray.workers < 1:
        raise SettingsError(f"{location}: workers must be at least 1.")
    if ray.wait_s <= 0:
        raise SettingsError(f"{location}: wait_s must be above 0.")
    for key, amount in {"num_gpus": ray.num_gpus or 0.0, "num_cpus": ray.num_cpus, **ray.resources}.items():
        if amount < 0:
            raise SettingsError(f"{location}: {key} must not be negative.")
