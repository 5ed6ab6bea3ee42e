"""The options of a run, written once: `bench run` takes them as flags, `harness.run` as keywords."""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import Meta

from harness.errors import UsageError, did_you_mean
from harness.records import Record
from harness.settings import explained

Probe = Literal["blank", "shuffle"]
"""How a leak probe replaces the rows' own texts."""

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


def _about(description: str, metavar: str | None = None, **extra: Any) -> Meta:
    """What `--help` says of an option. extra: `flag` where it is not the field's name, `completes` (what the tab key
    offers: "tasks" or "backends"), `path` ("file": an existing file), `default` (shown in the help)."""
    return Meta(description=description, extra={"metavar": metavar, **extra})


class RunOptions(Record, frozen=True, kw_only=True):
    """Everything that a run is asked. A field's description is its help text; its type and limits are checked."""

    task: Annotated[str, _about("A task's name, ./file.toml or ./file.py:Class.", "TASK", completes="tasks")]
    backends: Annotated[
        tuple[str, ...],
        _about("Names from bench.toml or built in (bench list backends).", "A,B", completes="backends"),
    ]
    data: Annotated[
        str | None,
        _about(
            "Rows: CSV, TSV, JSONL, JSON, Parquet, a folder with train and test, or 'embedded'. Default: the Hub.",
            "PATH",
        ),
    ] = None
    test_share: Annotated[
        float | None,
        _about("Split one --data file: this share is evaluated, the rest is for training.", "SHARE"),
    ] = None
    limit: Annotated[Positive | None, _about("Use N rows only: a seeded sample, stratified by class.", "N")] = None
    seed: Annotated[int, _about("Random seed.", "S", default=True)] = 0
    adapter: Annotated[
        str | None,
        _about("Adapter of the local backend: an id, or a folder (also a PEFT folder trained elsewhere).", "ADAPTER"),
    ] = None
    trained_on: Annotated[
        str | None, _about("The rows that this adapter was trained on, if Bench did not.", "FILE", path="file")
    ] = None
    base: Annotated[str | None, _about("Base model of all local backends: a Hub id or a folder.", "MODEL")] = None
    repeats: Annotated[Positive, _about("Answers per row.", "K")] = 1
    probe_rows: Annotated[
        NotNegative,
        _about("Measure latency first: N rows of each backend, one at a time.", "N", flag="--latency-probe"),
    ] = 0
    max_cost: Annotated[Amount | None, _about("Stop before the run costs more.", "USD")] = None
    use_cache: Annotated[bool, _about("Do not use cached answers.", flag="--no-cache")] = True
    batch: Annotated[bool, _about("Use the batch API of paid backends: half the price, takes hours.")] = False
    executor: Annotated[Literal["process", "ray"] | None, _about("Where local models run.")] = None
    workers: Annotated[Positive | None, _about("Ray workers per local model.", "N")] = None
    shots: Annotated[NotNegative, _about("K few-shot examples before each prompt.", "K")] = 0
    prompt: Annotated[str | None, _about("Another prompt: a Jinja template.", "FILE", path="file")] = None
    probe: Annotated[Probe | None, _about("Leak probe: send prompts without the rows' own texts.")] = None
    fail_on_contamination: Annotated[bool, _about("Refuse rows that a candidate was trained on.")] = False
    embedding: Annotated[str | None, _about("Compare open answers with their references by this model.", "MODEL")] = (
        None
    )
    early_stop: Annotated[
        str | None,
        _about("Stop a backend once the gate against this is decided.", "BASELINE|RUN|BACKEND"),
    ] = None
    incumbent: Annotated[
        str | None,
        _about("The backend that would be replaced (default: [verdict], else the API).", "NAME", completes="backends"),
    ] = None
    candidate: Annotated[
        str | None,
        _about(
            "The backend that would replace it (default: [verdict], else the tuned or local one).",
            "NAME",
            completes="backends",
        ),
    ] = None
    out: Annotated[
        str | None,
        _about("Run directory (default: in the workspace), or s3://.., gs://.., az://...", "DIR|URL"),
    ] = None

    @classmethod
    def of(cls, task: str, backends: Sequence[str], options: Mapping[str, Any]) -> "RunOptions":
        """The options as given by keyword, checked. Raises UsageError: an unknown name, a wrong type, out of bounds."""
        for name in options:
            if name not in cls.__struct_fields__:
                raise UsageError(f"a run has no option '{name}'{did_you_mean(name, cls.__struct_fields__)}.")
        plain = {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in options.items()}
        try:
            return msgspec.convert({"task": task, "backends": tuple(backends), **plain}, cls)
        except msgspec.ValidationError as error:
            raise UsageError(f"run options: {explained(error)}.") from None


SESSION_OPTIONS = ("max_cost", "use_cache", "embedding")
"""Options of one session, which resuming a run takes again; all others are fixed by the run's manifest."""


class RunKeywords(TypedDict, total=False):
    """The fields of RunOptions but task and backends, as keywords of `harness.run`; RunOptions has their defaults."""

    data: str | os.PathLike[str] | None
    test_share: float | None
    limit: int | None
    seed: int
    adapter: str | os.PathLike[str] | None
    trained_on: str | os.PathLike[str] | None
    base: str | os.PathLike[str] | None
    repeats: int
    probe_rows: int
    max_cost: float | None
    use_cache: bool
    batch: bool
    executor: Literal["process", "ray"] | None
    workers: int | None
    shots: int
    prompt: str | os.PathLike[str] | None
    probe: Probe | None
    fail_on_contamination: bool
    embedding: str | os.PathLike[str] | None
    early_stop: str | os.PathLike[str] | None
    incumbent: str | None
    candidate: str | None
    out: str | os.PathLike[str] | None
