"""Checks before a run sends anything: servers, contaminated rows, and adapters trained on another prompt."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.adapter_manifest import find_adapter, learned_rows, read_manifest
from harness.backend import Backend
from harness.data.contamination import Findings, Overlap, Signatures, find_overlap
from harness.data.json_rows import read_json
from harness.data.rows import EMBEDDED, DataSource
from harness.data.shared_text import SharedText, without_shared
from harness.errors import DataError, UsageError
from harness.execution.event_loop import run_coroutine
from harness.execution.run_plan import RunPlan
from harness.records import BackendIdentity, Row, Sample
from harness.task import Task, invalid_targets
from harness.task_loading import build_request, load_rows
from harness.workspace import Workspace


def read_training_file(task: Task, file: Path) -> Signatures:
    """Signatures of the rows in `file`: rows as the task reads them, or a chat file of another trainer.

    Of a chat file the user's texts count, without what all of them begin and end with (the prompt's own words).
    Raises UsageError where it is neither.
    """
    if not file.exists():
        raise DataError(f"the training rows {file}: there is no such file.")
    try:
        rows = load_rows(task, DataSource(location=str(file), split="train"))
    except UsageError as error:
        texts = _chat_texts(file)
        if texts is None:
            raise DataError(
                f"the training rows {file} can be read neither as rows of {task.name} ({str(error).rstrip('.')}) nor "
                'as a chat file (lines with "messages", "conversations" or "prompt").'
            ) from None
        return Signatures.of(_without_template(texts))
    return Signatures.of(build_request(task, sample).passage_texts() for sample in rows)


def _chat_texts(file: Path) -> list[str] | None:
    """The user's text of every line; None where no line holds a conversation."""
    if file.is_dir():
        return None
    try:
        found = [_user_text(row.fields) for row in read_json(file)]
    except UsageError:
        return None
    texts = [text for text in found if text]
    return texts or None


def _user_text(fields: dict[str, Any]) -> str:
    """What a training row asks, in the forms of OpenAI and TRL, ShareGPT, and Alpaca; "" where it has none of them."""
    for key in ("messages", "conversations", "prompt"):
        turns = fields.get(key)
        if isinstance(turns, list):
            asked = [_content(turn) for turn in turns if isinstance(turn, dict) and _is_user(turn)]
            return "\n".join(text for text in asked if text)
    for key in ("prompt", "instruction"):
        if isinstance(fields.get(key), str):
            return "\n".join(filter(None, (fields[key], str(fields.get("input") or ""))))
    return ""


def _is_user(turn: dict[str, Any]) -> bool:
    return str(turn.get("role") or turn.get("from")) in ("user", "human")


def _content(turn: dict[str, Any]) -> str:
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _without_template(texts: Sequence[str]) -> Iterator[list[str]]:
    """Each text without the beginning and the end that all of them share, where there are several texts."""
    shared = SharedText()
    for text in texts:
        shared.add(text)
    for own in without_shared(texts, shared.around()):
        yield [own]


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


def prompt_mismatches(evaluated: Mapping[str, Any] | None, adapters: Mapping[str, Path]) -> tuple[str, ...]:
    """A sentence for every adapter whose training prompt is not the run's.

    evaluated: the run's prompt as in its manifest ({"file", "sha256"}; None: the task's own). adapters: backend ->
    adapter folder.
    """
    remarks = []
    for name, folder in adapters.items():
        try:
            manifest = read_manifest(folder)
        except UsageError:  # the backend itself reports an adapter that cannot be read
            continue
        trained = manifest.prompt
        if manifest.origin == "peft":  # with which prompt it was trained is not known
            continue
        if (trained or {}).get("sha256") != (evaluated or {}).get("sha256"):
            remarks.append(
                f"{name}: its adapter was trained with {_prompt_description(trained)} and is asked with "
                f"{_prompt_description(evaluated)}: its errors may be caused by the prompt."
            )
    return tuple(remarks)


def _prompt_description(prompt: Mapping[str, Any] | None) -> str:
    if not prompt:
        return "the task's own prompt"
    return f"the prompt of {prompt.get('file')} (sha256 {str(prompt.get('sha256'))[:12]})"


SHOWN = 5

PROBED = "this run is a probe for leaks ({}): the prompts did not contain the rows' own texts; above chance is a leak."


def find_overlaps(
    plan: RunPlan, identities: dict[str, BackendIdentity], recordings: Collection[str], workspace: Workspace
) -> Findings:
    """Compare the run's rows with the rows that each tuned candidate learned from.

    An adapter that Bench trained keeps hashes of its rows beside its weights. For others the setting `trained_on` names
    a file with them. Recorded answers keep none: for the backends named in `recordings` the training split beside the
    evaluated rows is compared, where there is one.
    """
    evaluated: Signatures | None = None
    overlaps: dict[str, Overlap] = {}
    data = plan.manifest.data
    remarks: tuple[str, ...] = tuple(data.get("remarks", ()))
    adapters = {
        name: folder
        for name, identity in identities.items()
        if (folder := _adapter_folder(identity, plan.manifest.backend_settings.get(name, {}), workspace)) is not None
    }
    remarks += prompt_mismatches(data.get("prompt"), adapters)
    if data.get("probe"):  # the rows' own texts are not asked about
        return Findings(remarks=(*remarks, PROBED.format(data["probe"])))
    for name in identities:
        folder = adapters.get(name)
        told = str(plan.manifest.backend_settings.get(name, {}).get("trained_on") or "")
        if folder is None and name not in recordings and not told:
            continue
        training_split = _training_split(plan) if folder is None and not told else []
        if folder is None and not training_split and not told:
            continue
        if evaluated is None:
            evaluated = Signatures.of(row.request.passage_texts() for row in plan.rows)
        if told:
            trained = read_training_file(plan.task, Path(told))
            overlaps[name] = find_overlap(evaluated, trained, f"the training rows in {told}")
            remarks += _distinct_rows_message(overlaps[name], evaluated)
        elif folder is not None:
            overlap = overlap_with_adapter(folder, plan.rows, evaluated)
            if overlap is not None:
                overlaps[name] = overlap
                remarks += _distinct_rows_message(overlap, evaluated)
        else:
            source = f"the training split of {plan.manifest.data.get('source')}"
            overlaps[name] = find_overlap(evaluated, _of_samples(plan.task, training_split), source)
            remarks += tuple(r for r in _distinct_rows_message(overlaps[name], evaluated) if r not in remarks)
            remarks += tuple(r for r in invalid_target_messages(plan.task, training_split, source) if r not in remarks)
    return Findings(overlaps=overlaps, remarks=remarks)


def refuse_contaminated(findings: Findings, rows: int) -> None:
    """What `--fail-on-contamination` asks for. Raises UsageError naming the first backend concerned."""
    for name, overlap in findings.overlaps.items():
        if overlap.rows:
            raise UsageError(
                f"{name}: {len(overlap.rows)} of {rows} evaluated rows are also in {overlap.source} "
                f"({len(overlap.exact)} exactly, {len(overlap.near)} nearly): evaluate on other rows, train without "
                "them, or leave out --fail-on-contamination."
            )


def overlap_with_adapter(folder: Path, rows: Sequence[Row], evaluated: Signatures) -> Overlap | None:
    """The rows that an adapter has seen, by its list of ids and its signatures; None where it keeps neither."""
    ids, trained = learned_rows(folder), Signatures.load(folder)
    if ids is None and trained is None:
        return None
    source = f"the training rows of {folder.name}"
    by_id = [row.n for row in rows if ids is not None and row.sample.id.partition("-")[0] in ids]
    if trained is None:
        return Overlap(source=source, training_rows=len(ids or ()), exact=tuple(by_id), near_checked=False)
    overlap = find_overlap(evaluated, trained, source)
    exact = {*by_id, *overlap.exact}
    return Overlap(
        source=source,
        training_rows=overlap.training_rows,
        exact=tuple(sorted(exact)),
        near=tuple(n for n in overlap.near if n not in exact),
    )


def invalid_target_messages(task: Task, samples: list[Sample], source: str) -> list[str]:
    """A sentence on training targets that the task itself would call a format error; none where all are well formed."""
    invalid = invalid_targets(task, samples)
    if not invalid:
        return []
    named = ", ".join(f"{row} ({kind})" for row, kind in list(invalid.items())[:SHOWN])
    more = ", .." if len(invalid) > SHOWN else ""
    return [f"{len(invalid)} of {len(samples)} targets in {source} are invalid: {named}{more}."]


def _distinct_rows_message(overlap: Overlap, evaluated: Signatures) -> tuple[str, ...]:
    """How many different rows that is, where rows repeat: one prompt asked three times is one prompt."""
    distinct = len(set(evaluated.exact.tolist()))
    if not overlap.rows or distinct == len(evaluated.exact):
        return ()
    seen = len({int(evaluated.exact[n]) for n in overlap.rows})
    return (f"{seen} of the {distinct} distinct evaluated rows are also in {overlap.source}.",)


def _of_samples(task: Task, samples: list[Sample]) -> Signatures:
    return Signatures.of(build_request(task, sample).passage_texts() for sample in samples)


def _adapter_folder(identity: BackendIdentity, table: dict[str, Any], workspace: Workspace) -> Path | None:
    """Where a candidate's adapter lies; None for none, or one that only its provider has."""
    for name in (identity.adapter, table.get("adapter")):
        if name and name != "auto":
            try:
                return find_adapter(workspace, str(name))
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
