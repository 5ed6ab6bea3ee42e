"""The backend contract: one way in, one way out, the same for a local model and a paid API."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness._moved import renamed
from harness.execution.budget import Budget
from harness.records import BackendIdentity, Completion, Message, Record, Request
from harness.workspace import Workspace


class RunRequirements(Record, frozen=True, kw_only=True):
    """What a run is about to ask for, so that a backend can refuse before anything is sent.

    task: its name. rows: requests in all, repeats included. labels: the closed set of answers; empty for free text.
    schema: a JSON schema of the answers. max_tokens: of the longest answer. data_fingerprint: hash of the rows.
    messages: of the first row, as an example of all.
    """

    task: str
    rows: int
    labels: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    max_tokens: int = 16
    data_fingerprint: str = ""
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class RunContext:
    """What the backends of one run are given.

    use_cache: the answer cache may be read and written. resuming: the run goes on from an earlier session.
    probing: this backend is asked one row at a time for its latency (no cache; first-token times wanted).
    shared: objects that several backends of the run use together, by key (one local engine per base model).
    progress: told (backend, done, total) while answers are made out of sight (a batch at a provider).
    task: as it was typed (a file or a name): what an advice names. config: the settings file.
    remark: told a sentence for people while a run goes on (a worker was lost, a server joined).
    """

    workspace: Workspace
    budget: Budget = field(default_factory=Budget)
    use_cache: bool = True
    resuming: bool = False
    probing: bool = False
    shared: dict[Any, Any] = field(default_factory=dict)
    progress: Callable[[str, int, int], None] = lambda backend, done, total: None
    remark: Callable[[str], None] = lambda text: None
    task: str | None = None
    config: Path | None = None


class Backend(Protocol):
    """Anything that answers requests.

    Constructed as `Class(name, settings, task_name, context)` where `settings` is an instance of the class
    attribute `Settings` (a msgspec Struct with `forbid_unknown_fields`), decoded from `[backends.NAME]`.
    Construction is cheap: no network, no weights.
    """

    name: str

    def identity(self) -> BackendIdentity:
        """What answers; complete after `check`."""
        ...

    async def check(self, needs: RunRequirements) -> None:
        """Refuse early: called for all backends before any of them sends. Raises UsageError."""
        ...

    def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Answer requests, in any order, each exactly once.

        How it batches, limits or retries is the backend's own affair; `state_dir` keeps its notes (batch
        ids) across a kill. Raises BackendStopped when nothing further can be answered: requests not yet
        sent then have no completion.
        """
        ...

    def counters(self) -> dict[str, float]:
        """What the backend says of its own work so far (padding_share, peak_memory_bytes, ..); may be empty."""
        ...

    async def aclose(self) -> None:
        """Give back connections, threads and memory. Safe to call twice."""
        ...


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return renamed(__name__, name)
