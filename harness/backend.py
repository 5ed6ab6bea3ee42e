"""The backend contract: one way in, one way out, the same for a local model and a paid API."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness._moved import renamed
from harness.errors import UsageError
from harness.money.prices import Budget
from harness.records import BackendIdentity, Completion, Message, Record, Request
from harness.registry import BACKENDS, find
from harness.settings import decode_table
from harness.workspace import Workspace


class RunRequirements(Record, frozen=True, kw_only=True):
    """What a run is about to ask for, so that a backend can refuse before anything is sent.

    task: its name. rows: requests in all, repeats included. labels: the closed set of answers; empty for free text.
    schema: a JSON schema of the answers. max_tokens: of the longest answer. data_fingerprint: hash of the rows.
    messages, tools: of the first row, as an example of all.
    """

    task: str
    rows: int
    labels: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    max_tokens: int = 16
    data_fingerprint: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class RunContext:
    """What the backends of one run are given.

    use_cache: the answer cache may be read and written. resuming: the run continues from an earlier session.
    probing: this backend is asked one row at a time for its latency (no cache; first-token times wanted).
    shared: objects that several backends of the run use together, by key (one local engine per base model).
    progress: told (backend, done, total) while answers are made out of sight (a batch at a provider).
    task: as it was typed (a file or a name): what an advice names. config: the settings file.
    remark: told a sentence for people during a run (a worker was lost, a server joined). status: told what is done
    while nothing is answered (a model is loaded).
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
    status: Callable[[str], None] = lambda text: None


BackendOption = Literal["adapter", "trained_on", "base", "batch", "executor", "workers"]
"""Options of a run that change settings of its backends, where their class takes them."""


class OptionTarget(Record, frozen=True, kw_only=True):
    """The setting that an option of a run sets.

    setting: its key in `[backends.NAME]`; a dot leads into an inner table ("ray.workers"). requires: settings that
    must have these values for the option to have an effect. where_set: the option is only for backends that have this
    setting (a setting's own option also for the only backend that takes it). drops_default: a setting whose built-in
    value gives way.
    """

    setting: str
    requires: dict[str, str] = {}
    where_set: str = ""
    drops_default: str = ""


class Capabilities(Record, frozen=True, kw_only=True):
    """What the engine may do with the backends of a class; the class attribute `capabilities` holds it.

    options: the options of a run that the class takes, each with the setting that it sets.
    resume_from_settings: settings that change how fast rows are asked, never what is answered; a resumed run takes
    them from today's bench.toml, all others from its manifest.
    resume_from_identity: settings such as quantization = "auto" that are resolved once; a resumed run takes the value
    that the backend's identity recorded.
    answers_by_row: answers belong to rows whatever the prompt says (recordings): no leak probe can be made of them.
    stages: the setting that names other backends, which this one asks; "" for none. Their settings, options applied,
    are written into the setting `stage_settings`.
    """

    options: dict[BackendOption, OptionTarget] = {}
    resume_from_settings: frozenset[str] = frozenset()
    resume_from_identity: frozenset[str] = frozenset()
    answers_by_row: bool = False
    stages: str = ""


class Backend(Protocol):
    """Anything that answers requests.

    Constructed as `Class(name, settings, task_name, context)` where `settings` is an instance of the class
    attribute `Settings` (a msgspec Struct with `forbid_unknown_fields`), decoded from `[backends.NAME]`.
    Construction is cheap: no network, no weights. A class attribute `capabilities` (Capabilities) declares which
    options of a run apply and what a resumed run may change; without it none does.
    """

    name: str

    def identity(self) -> BackendIdentity:
        """What answers; complete after `check`."""
        ...

    async def check(self, requirements: RunRequirements) -> None:
        """Refuse early: called for all backends before any of them sends. Raises UsageError."""
        ...

    def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Answer requests, in any order, each exactly once.

        How it batches, limits or retries is the backend's responsibility; `state_dir` keeps its notes (batch
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


def backend_location(name: str, config: Path | None) -> str:
    """Where a backend's settings are, for a message: `bench.toml: [backends.NAME]`."""
    return f"{config}: [backends.{name}]" if config else f"[backends.{name}]"


def backend_class(name: str, table: Mapping[str, Any], config: Path | None) -> Any:
    """The class that a table names. Raises UsageError: no kind, or an unknown one."""
    if "kind" not in table:
        raise UsageError(f'{backend_location(name, config)} names no kind: say kind = "local", "openai" or "replay".')
    return find(BACKENDS, str(table["kind"]))


def make_backend(name: str, table: dict[str, Any], task_name: str, context: RunContext) -> Backend:
    """Construct a backend from its table (cheap: no network, no weights). Raises UsageError."""
    of = backend_class(name, table, context.config)
    decoded = decode_table(table, of.Settings, backend_location(name, context.config))
    made: Backend = of(name, decoded, task_name, context)
    return made


def capabilities_of(backend_class: type[Any]) -> Capabilities:
    """What a backend class declares; nothing where it declares nothing. Raises UsageError for anything else."""
    declared = getattr(backend_class, "capabilities", Capabilities())
    if not isinstance(declared, Capabilities):
        raise UsageError(
            f"backend class '{backend_class.__name__}': capabilities must be a harness.backend.Capabilities, "
            f"not {type(declared).__name__}."
        )
    return declared


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return renamed(__name__, name)
