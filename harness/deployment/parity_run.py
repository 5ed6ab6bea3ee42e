"""`bench parity`: ask a reference and a served copy the same rows, one after the other, and look for what differs."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from harness import runner
from harness.adapter_manifest import AdapterManifest, find_adapter, read_manifest, weights_digest
from harness.backend import RunContext
from harness.data.rows import EMBEDDED
from harness.deployment.answer_faults import context_finding, end_token_finding, sampling_finding
from harness.deployment.answered_rows import AnsweredRow, AnsweredRows, ask_requests, join
from harness.deployment.likelihood_drift import TextLikelihood, drift_finding, measured_drift
from harness.deployment.parity_evaluation import Evidence, OnInconclusive, evaluate_parity
from harness.deployment.parity_result import FILE, ParityFinding, ParityResult
from harness.deployment.prompt_lengths import prompt_finding, prompt_lengths, usual_mistakes
from harness.deployment.server_facts import ServedModelFacts, ask_models
from harness.deployment.weight_faults import Explanation, rows_to_ask, weight_finding
from harness.errors import BenchError, NotFoundError, UsageError, did_you_mean
from harness.execution.backend_setup import make_backends
from harness.execution.event_loop import run_coroutine
from harness.execution.executor import Observer
from harness.execution.preflight import check_servers
from harness.files import write_json
from harness.hashing import digest
from harness.money.prices import Budget
from harness.records import BackendIdentity, Completion
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.text_format import utc_now
from harness.workspace import Workspace

ADAPTER = "adapter"
"""The name of the reference where an adapter is named, not a backend."""

AGAIN = 8
"""Rows that the served copy is sent again, each REPEATS times with another seed."""
REPEATS = 6

OWN_KINDS = ("local", "replay", "sklearn")
"""Kinds of backends that Bench itself answers by: they do not sample."""

DRIFT_ROWS = 24
"""Rows with equal answers that the served copy is sent again for the log-probabilities of its answers."""

LEAST_ROWS = 10


@dataclass(frozen=True)
class ParityOptions:
    """What is compared: the served backend's name, rows, margin (as a share), and the options of both runs.

    task: as in `bench run`; None: the adapter's own. data: rows; None: the adapter's own. probe_rows: rows of the
    latency probe. max_cost: USD of the served copy's answers. run: a run in which the served copy has answered
    already; it is finished where it lacks answers, and its rows are those that are compared.
    """

    served: str
    task: str | None = None
    data: str | None = None
    rows: int = 500
    seed: int = 0
    margin: float = 0.01
    on_inconclusive: OnInconclusive = "warn"
    probe_rows: int = 5
    max_cost: float | None = None
    run: Path | None = None


@dataclass(frozen=True)
class Reference:
    """The reference: its backend's name and table, its adapter where it is one, and the settings that know it."""

    name: str
    table: dict[str, Any]
    manifest: AdapterManifest | None
    folder: Path | None
    settings: Settings


def run_parity(
    word: str, options: ParityOptions, *, settings: Settings, workspace: Workspace, observer: Observer | None = None
) -> tuple[ParityResult, Path]:
    """The verdict, and the served copy's run directory, in which `parity.json` lies.

    word: an adapter (id or folder), or the name of any backend. The answers of a local reference are kept, and used
    again for the same rows. Raises UsageError, IncompleteRunError and NotComparableError.
    """
    observer = observer or Observer()
    reference = find_reference(word, settings, workspace)
    if options.served == reference.name:
        raise UsageError(f"'{word}' would be compared with itself: name another --served.")
    if not 0 < options.margin < 1:
        raise UsageError(f"--margin {100 * options.margin:g}: the margin lies between 0 and 100 points.")
    if options.rows < LEAST_ROWS:
        raise UsageError(f"--rows {options.rows}: a verdict takes {LEAST_ROWS} rows at least.")
    if options.run is not None:
        served = _answered_run(options.run, options, reference, workspace, observer)
        options = _options_of(served, options)
    task = options.task or (reference.manifest.task_spec if reference.manifest else None)
    if task is None:
        raise UsageError("name the task whose rows are asked: --task TASK.")
    run = _Run(task, options, reference, workspace, observer)
    if options.run is None:
        context = RunContext(workspace, budget=Budget(ceiling=options.max_cost), use_cache=False, config=settings.path)
        tables = {options.served: dict(reference.settings.backend(options.served))}
        check_servers(make_backends(tables, "", context).values())
        served = run.ask_served()
    known = run.ask_reference(served)
    result = run.compare(known, served)
    write_json(served.path / FILE, result)
    return result, served.path


def _answered_run(
    path: Path, options: ParityOptions, reference: Reference, workspace: Workspace, observer: Observer
) -> RunLog:
    """The run of the served copy, finished where it lacks answers. Raises UsageError."""
    log = RunLog.open(path)
    if options.served not in log.manifest.backends:
        raise UsageError(
            f"{path} has no backend '{options.served}'{did_you_mean(options.served, log.manifest.backends)}."
        )
    summary = log.summary()
    if summary is not None and summary.complete:
        return log
    return runner.resume(path, settings=reference.settings, workspace=workspace, use_cache=False, observer=observer)


def _options_of(served: RunLog, options: ParityOptions) -> ParityOptions:
    """The options with which the run of the served copy was made: the reference is asked the same rows."""
    made = served.manifest.options
    return replace(
        options,
        task=served.manifest.task_spec,
        data=made.get("data"),
        rows=served.manifest.rows,
        seed=served.manifest.seed,
        probe_rows=served.manifest.probe_rows,
    )


def find_reference(word: str, settings: Settings, workspace: Workspace) -> Reference:
    """A backend of this name, else an adapter. Raises UsageError with the nearest names."""
    plain = without_verdict(settings)
    if word in settings.backends:
        table = dict(settings.backends[word])
        folder = _adapter_of(table, workspace)
        return Reference(word, table, None if folder is None else read_manifest(folder), folder, plain)
    try:
        folder = find_adapter(workspace, word)
    except UsageError as error:
        if Path(word).exists():
            raise
        raise NotFoundError(f"{error} Nor is it a backend{did_you_mean(word, settings.backends)}.") from None
    manifest = read_manifest(folder)
    if manifest.model is not None:
        raise UsageError(f"adapter {manifest.id} is hosted by its provider: name its backend as the reference.")
    kind = "sklearn" if manifest.objective == "tfidf" else "local"
    table = {"kind": kind, "adapter": str(folder.resolve())}
    name = ADAPTER if ADAPTER not in settings.backends else f"{ADAPTER}-{manifest.id}"
    known = Settings(backends={**settings.backends, name: table}, path=settings.path)
    return Reference(name, table, manifest, folder, known)


def without_verdict(settings: Settings) -> Settings:
    """The backends alone: neither `[gate]` nor `[verdict]` concern these runs."""
    return Settings(backends=settings.backends, path=settings.path)


def _adapter_of(table: Mapping[str, Any], workspace: Workspace) -> Path | None:
    """The folder of a local backend's adapter; None for none, and for one that is found by task ("auto")."""
    word = table.get("adapter")
    if table.get("kind") != "local" or not word or word == "auto":
        return None
    return find_adapter(workspace, str(word))


class _Run:
    """The two runs and the questions after them."""

    def __init__(
        self, task: str, options: ParityOptions, reference: Reference, workspace: Workspace, observer: Observer
    ) -> None:
        self.task, self.options, self.reference = task, options, reference
        self.workspace, self.observer = workspace, observer
        self.folder = workspace.root / "parity"

    @property
    def _data(self) -> str | None:
        if self.options.data is not None or self.reference.manifest is None:
            return self.options.data
        manifest = self.reference.manifest
        source = manifest.places.get("data") or manifest.data.get("source")
        usable = isinstance(source, str) and (source == EMBEDDED or Path(source).exists())
        return str(source) if usable else None

    def _ask(self, name: str, out: Path, max_cost: float | None = None) -> RunLog:
        return runner.run(
            self.task,
            [name],
            settings=self.reference.settings,
            workspace=self.workspace,
            observer=self.observer,
            data=self._data,
            limit=self.options.rows,
            seed=self.options.seed,
            probe_rows=self.options.probe_rows,
            max_cost=max_cost,
            use_cache=False,
            out=out,
        )

    def ask_served(self) -> RunLog:
        """The served copy's run, a new one."""
        name = f"{self.options.served}-{utc_now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return self._ask(self.options.served, self.folder / name, self.options.max_cost)

    def ask_reference(self, served: RunLog) -> RunLog:
        """The reference's run; a local one of the same rows and weights is used again, or finished."""
        manifest, table = served.manifest, self.reference.table
        asked = [manifest.task_spec, manifest.parser, manifest.request_hash, manifest.data.get("fingerprint")]
        folder = self.reference.folder
        weights = None if folder is None else [weights_digest(folder), self.reference.manifest]
        key = digest([*asked, table, msgspec.to_builtins(weights), self.options.probe_rows])[:12]
        path = self.folder / f"{self.reference.name}-{key}"
        local = table.get("kind") == "local" and table.get("adapter") != "auto"
        if not local:
            path = path.with_name(f"{path.name}-{secrets.token_hex(2)}")
        if (path / "summary.json").is_file():
            self.observer.status(f"{self.reference.name}: the answers of {path.name} are used again")
            return RunLog.open(path)
        if (path / "manifest.json").is_file():
            return runner.resume(
                path, settings=self.reference.settings, workspace=self.workspace, observer=self.observer
            )
        return self._ask(self.reference.name, path)

    def compare(self, reference: RunLog, served: RunLog) -> ParityResult:
        """Join the answers, look for faults, and judge."""
        mine, theirs = (reference, self.reference.name), (served, self.options.served)
        rows = join(mine, theirs)
        evidence = Evidence()
        evidence.add(context_finding(rows))
        evidence.notes += self._compare_prompts(rows, evidence, reference.manifest.backends[self.reference.name])
        changed = any(not one.texts_equal for one in rows.rows)
        if changed:
            evidence.add(end_token_finding(rows))
        if not evidence.faulty and served.manifest.backends[self.options.served].kind not in OWN_KINDS:
            evidence.add(self._ask_again(rows, served))
        if not evidence.faulty:
            self._look_at_weights(rows, evidence, reference, served, changed)
        return evaluate_parity(
            rows, mine, theirs, evidence, margin=self.options.margin, on_inconclusive=self.options.on_inconclusive
        )

    def _base_of(self, identity: BackendIdentity) -> str | None:
        return identity.model if identity.kind == "local" else None

    def _compare_prompts(self, rows: AnsweredRows, evidence: Evidence, identity: BackendIdentity) -> list[str]:
        """Token counts of both sides, and the mistake that the served ones show."""
        expected = [one.reference.usage.prompt_tokens for one in rows.rows]
        counted = [one.served.usage.prompt_tokens for one in rows.rows]
        if not any(counted):
            return ["the served copy reports no token counts: the rendering of prompts could not be compared."]
        if identity.decode == "head":
            return []
        renderings: dict[str, list[int]] = {}
        base = self._base_of(identity)
        if base is not None:
            from harness.backends.local.base_files import find_base
            from harness.backends.local.weight_loading import load_tokenizer
            from harness.prompting.chat_rendering import Renderer

            renderer = Renderer(load_tokenizer(find_base(base)), identity.settings.get("template"))
            evidence.split = lambda text: [renderer.decode([token]) for token in renderer.encode_answer(text)]
            if expected != counted:
                renderings = usual_mistakes(renderer, [one.row.request for one in rows.rows])
        found = prompt_lengths(expected, counted, renderings)
        evidence.prompts = found
        if found is not None and base is not None:  # two servers may count by different tokenizers
            evidence.add(prompt_finding(expected, counted, found))
        return []

    def _ask_again(self, rows: AnsweredRows, served: RunLog) -> ParityFinding | None:
        """Send some rows again with other seeds: with one seed a server that samples gives one answer.

        First come rows with wrong answers, of which a model is less sure. Rows on which both sides differ come last:
        of two answers that are nearly as likely, rounding alone may give one or the other.
        """
        ordered = sorted(rows.rows, key=lambda one: (not one.texts_equal, one.served_correct))[:AGAIN]
        requests = [
            msgspec.structs.replace(one.row.request, repeat=n, seed=one.row.request.seed + 1 + n)
            for n in range(REPEATS)
            for one in ordered
        ]
        context = self._context()
        tables = {self.options.served: served.manifest.backend_settings[self.options.served]}
        answers = run_coroutine(ask_requests(tables, served.manifest.task, context, requests))
        return sampling_finding([*answers, *(one.served for one in ordered)])

    def _context(self) -> RunContext:
        return RunContext(
            self.workspace,
            budget=Budget(ceiling=self.options.max_cost),
            use_cache=False,
            config=self.reference.settings.path,
        )

    def _look_at_weights(
        self, rows: AnsweredRows, evidence: Evidence, reference: RunLog, served: RunLog, changed: bool
    ) -> None:
        """Simulate faults of the weights where answers differ, and compare the probabilities of equal answers."""
        identity = reference.manifest.backends[self.reference.name]
        asked = served.manifest.backends[self.options.served]
        facts = self._server_facts(served)
        alike = [one for one in rows.rows if one.texts_equal and one.reference.text.strip()][:DRIFT_ROWS]
        answers: list[Completion] = []
        explanations: list[Explanation] = []
        whole = identity.settings.get("quantization", "none") == "none"
        if identity.kind != "local" or identity.decode != "generate" or not whole:
            evidence.notes.append(
                "faults of the weights are simulated for local references of whole weights that generate answers."
            )
        else:
            if asked.kind == "openai" and alike:
                answers = self._ask_log_probabilities(alike, served)
            if changed or any(answer.token_logprobs for answer in answers):
                explanations = self._simulate(identity, rows.rows if changed else (), alike, answers, evidence)
        closed = bool(rows.rows) and bool(rows.rows[0].row.request.labels)
        agreement = rows.share(lambda one: one.equal) if closed and changed else None
        evidence.add(weight_finding(explanations, facts, asked.model, agreement, evidence.prompts is not None))
        if not evidence.faulty:
            evidence.add(drift_finding(evidence.drift, facts))

    def _simulate(
        self,
        identity: BackendIdentity,
        rows: Sequence[AnsweredRow],
        alike: Sequence[AnsweredRow],
        answers: Sequence[Completion],
        evidence: Evidence,
    ) -> list[Explanation]:
        """How far each simulated fault explains the answers to `rows`, until one does; and the drift on `alike`, rows
        with equal answers, of the served copy's `answers`."""
        from harness.deployment.simulated_faults import ROUNDED_BITS, FaultSimulator

        simulator = FaultSimulator(
            identity.model,
            self.reference.folder,
            dtype=str(identity.settings.get("dtype", "auto")),
            device=str(identity.settings.get("device", "auto")),
            template=dict(identity.settings.get("template") or {}),
        )
        known = alike if answers else ()
        asked, texts = [one.row.request for one in known], [one.reference.text for one in known]
        likelihoods: dict[int | None, list[TextLikelihood | None]] = {None: simulator.log_likelihoods(asked, texts)}
        explanations: list[Explanation] = []
        chosen = rows_to_ask(rows)
        if chosen:
            self.observer.status(f"simulating faults on {len(chosen)} rows")
            for fault, found in simulator.answers([one.row.request for one in chosen]):
                explanations.append(Explanation(fault, chosen, found))
                if explanations[-1].decisive:
                    return explanations
        for bits in ROUNDED_BITS if asked else ():
            simulator.round_weights(bits)
            likelihoods[bits] = simulator.log_likelihoods(asked, texts)
        evidence.drift = measured_drift(known, answers, likelihoods)
        return explanations

    def _ask_log_probabilities(self, rows: Sequence[AnsweredRow], served: RunLog) -> list[Completion]:
        """The served copy's answers to some rows, asked once more for their log-probabilities; a server that gives
        none, or fails, leaves the drift unknown."""
        table = {**served.manifest.backend_settings[self.options.served], "logprobs": True}
        requests = [one.row.request for one in rows]
        try:
            return run_coroutine(
                ask_requests({self.options.served: table}, served.manifest.task, self._context(), requests)
            )
        except BenchError:
            return []

    def _server_facts(self, served: RunLog) -> ServedModelFacts | None:
        """What one OpenAI-compatible server says of the model; a fleet, or OpenAI itself, is not asked."""
        table = served.manifest.backend_settings[self.options.served]
        url = table.get("base_url")
        if table.get("kind") != "openai" or not isinstance(url, str) or table.get("azure"):
            return None
        key = os.environ.get(str(table.get("api_key_env", "OPENAI_API_KEY")))
        return ask_models(url, served.manifest.backends[self.options.served].model, key)
