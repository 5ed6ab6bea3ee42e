"""Checks before a run sends anything: servers, contaminated rows, and adapters trained on another prompt."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.adapter_manifest import find_adapter, learned_rows, read_manifest
from harness.backend import Backend
from harness.data.contamination import Findings, Overlap, Signatures, find_overlap
from harness.data.rows import EMBEDDED, DataSource
from harness.errors import UsageError
from harness.execution.event_loop import run_coroutine
from harness.execution.run_plan import RunPlan, ask, load_rows
from harness.records import BackendIdentity, Row, Sample
from harness.task import Task, invalid_targets
from harness.workspace import Workspace


@runtime_checkable
class AsksServer(Protocol):
    """A backend whose answers come from a server."""

    async def reach(self) -> None:
        """Refuse a server that cannot answer, whatever the rows are. Raises UsageError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def check_servers(backends: Iterable[Backend]) -> None:
    """Reach the servers of those backends that have any: before rows are read, however long the rows take.

    Raises UsageError with address and cause.
    """
    servers = [backend for backend in backends if isinstance(backend, AsksServer)]
    if servers:
        run_coroutine(_reach(servers))


async def _reach(servers: Sequence[AsksServer]) -> None:
    try:
        for server in servers:
            await server.reach()
    finally:
        for server in servers:
            await server.aclose()


def prompt_remarks(asked: Mapping[str, Any] | None, adapters: Mapping[str, Path]) -> tuple[str, ...]:
    """A sentence for every adapter whose training prompt is not the run's.

    asked: the run's prompt as its manifest notes it ({"file", "sha256"}; None: the task's own). adapters: backend ->
    adapter folder.
    """
    remarks = []
    for name, folder in adapters.items():
        try:
            learned = read_manifest(folder).prompt
        except UsageError:  # the backend itself tells of an adapter that cannot be read
            continue
        if (learned or {}).get("sha256") != (asked or {}).get("sha256"):
            remarks.append(
                f"{name}: its adapter was trained with {_said(learned)} and is asked with {_said(asked)}: "
                "what it gets wrong may be the prompt's doing."
            )
    return tuple(remarks)


def _said(prompt: Mapping[str, Any] | None) -> str:
    if not prompt:
        return "the task's own prompt"
    return f"the prompt of {prompt.get('file')} (sha256 {str(prompt.get('sha256'))[:12]})"


SHOWN = 5

PROBED = (
    "this run is a probe for leaks ({}): the rows' own texts were not asked about; what is above guessing is a leak."
)


def find_overlaps(plan: RunPlan, identities: dict[str, BackendIdentity], workspace: Workspace) -> Findings:
    """Compare the run's rows with the rows that each tuned candidate learned from.

    An adapter keeps hashes of its rows beside its weights. Recorded answers keep none: for them the training
    split beside the evaluated rows stands in, where there is one.
    """
    asked: Signatures | None = None
    overlaps: dict[str, Overlap] = {}
    data = plan.manifest.data
    remarks: tuple[str, ...] = tuple(data.get("remarks", ()))
    adapters = {
        name: folder
        for name, identity in identities.items()
        if (folder := _adapter_folder(identity, plan.manifest.backend_settings.get(name, {}), workspace)) is not None
    }
    remarks += prompt_remarks(data.get("prompt"), adapters)
    if data.get("probe"):  # the rows' own texts are not asked about
        return Findings(remarks=(*remarks, PROBED.format(data["probe"])))
    for name, identity in identities.items():
        folder = adapters.get(name)
        if folder is None and identity.kind != "replay":
            continue
        beside = _training_split(plan) if folder is None else []
        if folder is None and not beside:
            continue
        if asked is None:
            asked = Signatures.of(row.request.passage_texts() for row in plan.rows)
        if folder is not None:
            found = with_adapter(folder, plan.rows, asked)
            if found is not None:
                overlaps[name] = found
                remarks += _once_each(found, asked)
        else:
            source = f"the training split of {plan.manifest.data.get('source')}"
            overlaps[name] = find_overlap(asked, _of_samples(plan.task, beside), source)
            remarks += tuple(r for r in _once_each(overlaps[name], asked) if r not in remarks)
            remarks += tuple(r for r in target_remarks(plan.task, beside, source) if r not in remarks)
    return Findings(overlaps=overlaps, remarks=remarks)


def refuse_contaminated(findings: Findings, rows: int) -> None:
    """What `--fail-on-contamination` asks for. Raises UsageError naming the first backend concerned."""
    for name, overlap in findings.overlaps.items():
        if overlap.rows:
            raise UsageError(
                f"{name}: {len(overlap.rows)} of {rows} evaluated rows also stand in {overlap.source} "
                f"({len(overlap.exact)} exactly, {len(overlap.near)} nearly): evaluate on other rows, train without "
                "them, or leave out --fail-on-contamination."
            )


def with_adapter(folder: Path, rows: Sequence[Row], asked: Signatures) -> Overlap | None:
    """The rows that an adapter has seen, by its list of ids and its signatures; None where it keeps neither."""
    ids, learned = learned_rows(folder), Signatures.load(folder)
    if ids is None and learned is None:
        return None
    source = f"the training rows of {folder.name}"
    by_id = [row.n for row in rows if ids is not None and row.sample.id.partition("-")[0] in ids]
    if learned is None:
        return Overlap(source=source, training_rows=len(ids or ()), exact=tuple(by_id), near_checked=False)
    found = find_overlap(asked, learned, source)
    exact = {*by_id, *found.exact}
    return Overlap(
        source=source,
        training_rows=found.training_rows,
        exact=tuple(sorted(exact)),
        near=tuple(n for n in found.near if n not in exact),
    )


def target_remarks(task: Task, samples: list[Sample], source: str) -> list[str]:
    """A sentence on training targets that the task itself would call a format error; none where all are well formed."""
    bad = invalid_targets(task, samples)
    if not bad:
        return []
    named = ", ".join(f"{row} ({kind})" for row, kind in list(bad.items())[:SHOWN])
    more = ", .." if len(bad) > SHOWN else ""
    return [f"{len(bad)} of {len(samples)} targets in {source} are invalid: {named}{more}."]


def _once_each(overlap: Overlap, asked: Signatures) -> tuple[str, ...]:
    """How many different rows that is, where rows repeat: one prompt asked three times is one prompt."""
    distinct = len(set(asked.exact.tolist()))
    if not overlap.rows or distinct == len(asked.exact):
        return ()
    seen = len({int(asked.exact[n]) for n in overlap.rows})
    return (f"{seen} of the {distinct} distinct evaluated rows also stand in {overlap.source}.",)


def _of_samples(task: Task, samples: list[Sample]) -> Signatures:
    return Signatures.of(ask(task, sample).passage_texts() for sample in samples)


def _adapter_folder(identity: BackendIdentity, table: dict[str, Any], workspace: Workspace) -> Path | None:
    """Where a candidate's adapter lies; None for none, or one that only its provider has."""
    for word in (identity.adapter, table.get("adapter")):
        if word and word != "auto":
            try:
                return find_adapter(workspace, str(word))
            except UsageError:
                continue
    return None


def _training_split(plan: RunPlan) -> list[Sample]:
    location = str(plan.manifest.data.get("source"))
    if location != EMBEDDED and not Path(location).is_dir():
        return []
    try:
        return load_rows(plan.task, DataSource(location=location, split="train"))
    except UsageError:  # no training split beside the evaluated rows, or none that can be read
        return []
