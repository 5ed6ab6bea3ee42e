"""The Batch API: upload, poll, collect; its state survives a kill, so nothing is paid twice."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2
import msgspec
import openai
from openai.types import Batch

from harness.backends.openai.answer_parsing import BadBodyError, ReportedError, completion_of, decode, read_answer
from harness.backends.openai.error_body import server_error
from harness.backends.openai.error_classification import (
    FatalError,
    RowAnswer,
    TransientError,
    Verdict,
    advice,
    classify,
    of_status,
    without_row,
)
from harness.backends.openai.openai_settings import OpenAISettings
from harness.backends.openai.request_body import BodyBuilder
from harness.backends.openai.retry_policy import retrying
from harness.backends.openai.sdk_client import SDK_ERRORS, classify_sdk
from harness.errors import BackendStopped
from harness.files import read_record, write_json
from harness.money.prices import MILLION, Budget, Price
from harness.records import Completion, Cost, Failure, Record, Request, Usage


class BatchRecord(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One batch.

    token: sent along as the batch's metadata, by which it is found again where the kill came before its id was
    written. rows: the custom ids asked. collected: whether every answer has been handed on.
    """

    token: str
    rows: tuple[str, ...]
    batch_id: str | None = None
    collected: bool = False


class BatchStateFiles:
    """The notes of one backend in one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pending(self) -> list[BatchRecord]:
        """Batches whose answers have not all been handed on, oldest first. Raises UsageError for a broken note."""
        records = []
        for path in sorted(self.folder.glob("batch-*.json")):
            record = read_record(path, BatchRecord, "batch state")
            if not record.collected:
                records.append(record)
        return records

    def begin(self, rows: tuple[str, ...]) -> BatchRecord:
        """A new note, on disk before its batch exists."""
        number = sum(1 for _ in self.folder.glob("batch-*.json")) + 1
        record = BatchRecord(token=f"{number:04d}-{secrets.token_hex(8)}", rows=rows)
        self.write(record)
        return record

    def write(self, record: BatchRecord) -> None:
        """Replace a note, whole or not at all."""
        write_json(self.folder / f"batch-{record.token}.json", record)


T = TypeVar("T")
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
TOKEN = "bench_batch"
MOST_BYTES = 190_000_000
"""Providers take input files of at most 200 MB."""
DONE = ("completed", "failed", "expired", "cancelled")
ATTEMPTS, DEADLINE_S = 8, 1800.0
"""Of the few calls that manage a batch: patient, for the batch itself is safe at the provider."""


@dataclass
class BatchExecutor:
    """Asks requests in batches. `price` is the batch price; `progress` hears (answered, asked) while one runs."""

    label: str
    settings: OpenAISettings
    builder: BodyBuilder
    price: Price | None
    budget: Budget
    client: openai.AsyncOpenAI
    clean: Callable[[str], str]
    progress: Callable[[int, int], None]

    async def stream(self, requests: list[Request], state_dir: Path) -> AsyncGenerator[Completion, None]:
        """Answers, first of the batches that an earlier session began. Raises BackendStopped."""
        state_files = BatchStateFiles(state_dir)
        waiting = {custom_id(r): r for r in requests}
        for record in state_files.pending():
            own_rows = {c: waiting.pop(c) for c in record.rows if c in waiting}
            records = await self._find(record)
            if records is None:  # the kill came before the batch was made: these rows have not been asked
                waiting |= own_rows
                state_files.write(msgspec.structs.replace(record, collected=True))
                continue
            for request in own_rows.values():
                self.budget.reserved += self._max_request_cost(request)
            async for completion in self._collect(state_files, record, records, own_rows):
                yield completion
        while waiting:
            chunk, content = self._chunk(waiting)
            record, batch = await self._submit(state_files, chunk, content)
            del content
            async for completion in self._collect(state_files, record, batch, chunk):
                yield completion

    def _max_request_cost(self, request: Request) -> float:
        if self.price is None:
            return 0.0
        prompt, answer = self.builder.most_tokens(request)
        return (prompt * self.price.input + answer * self.price.output) / MILLION

    def _chunk(self, waiting: dict[str, Request]) -> tuple[dict[str, Request], bytes]:
        """As many rows as one file and the budget hold, and the file. Raises BackendStopped for the budget."""
        chunk: dict[str, Request] = {}
        content = bytearray()
        for name, request in waiting.items():
            body = self.builder.fields(request)
            line = {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body}
            data = msgspec.json.encode(line) + b"\n"
            full = len(chunk) >= self.settings.batch_rows or len(content) + len(data) > MOST_BYTES
            if (chunk and full) or not self.budget.reserve(self._max_request_cost(request)):
                break
            chunk[name] = request
            content += data
        if not chunk:
            raise BackendStopped(
                f"{self.label}: the next row could pass --max-cost {self.budget.ceiling:g} "
                f"({self.budget.spent:.6f} USD booked); continue with --resume and a higher one.",
                "max cost",
            )
        for name in chunk:
            del waiting[name]
        return chunk, bytes(content)

    async def _submit(
        self, state_files: BatchStateFiles, chunk: dict[str, Request], content: bytes
    ) -> tuple[BatchRecord, Batch]:
        file = await self._call(lambda: self.client.files.create(file=("batch.jsonl", content), purpose="batch"))
        record = state_files.begin(tuple(chunk))
        batch = await self._make(record, file.id)
        record = msgspec.structs.replace(record, batch_id=batch.id)
        state_files.write(record)
        return record, batch

    async def _make(self, record: BatchRecord, file_id: str) -> Batch:
        """Make the batch; where a call broke off, look whether it exists before making it again."""

        async def once() -> Batch:
            created = await self._look_up(record) if attempted else None
            attempted.append(True)
            return created or await self.client.batches.create(
                input_file_id=file_id,
                endpoint=ENDPOINT,
                completion_window=self.settings.batch_window,  # type: ignore[arg-type]
                metadata={TOKEN: record.token},
            )

        attempted: list[bool] = []
        return await self._call(once)

    async def _find(self, record: BatchRecord) -> Batch | None:
        """The batch of a note: by its id, else by its token."""
        if record.batch_id is not None:
            return await self._call(lambda: self.client.batches.retrieve(str(record.batch_id)))
        return await self._call(lambda: self._look_up(record))

    async def _look_up(self, record: BatchRecord) -> Batch | None:
        async for batch in self.client.batches.list(limit=100):
            if (batch.metadata or {}).get(TOKEN) == record.token:
                return batch
        return None

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that manages batches, tried again as rows are. Raises BackendStopped where it cannot succeed."""

        async def once() -> T:
            try:
                return await call()
            except SDK_ERRORS as error:
                raise without_row(classify_sdk(error)) from None

        try:
            return await retrying(ATTEMPTS, DEADLINE_S, asyncio.Event())(once)
        except FatalError as error:
            message = advice(error.kind, self.label, self.settings.api_key_env, str(error))
            if error.kind == "not found":
                message = f"{self.label}: the server has no such batch for this key, or no Batch API ({error})."
            raise BackendStopped(self.clean(message), error.kind) from None
        except TransientError as error:
            message = f"{self.label}: the batch cannot be reached ({error}); it continues: collect it with --resume."
            raise BackendStopped(self.clean(message), error.kind) from None

    async def _collect(
        self, state_files: BatchStateFiles, record: BatchRecord, batch: Batch, rows: dict[str, Request]
    ) -> AsyncGenerator[Completion, None]:
        """Wait for a batch and hand on its answers; the note is closed when the last one has been taken."""
        unanswered = dict(rows)
        while batch.status not in DONE:
            counts = batch.request_counts
            self.progress(counts.completed + counts.failed if counts else 0, len(record.rows))
            await asyncio.sleep(self.settings.poll_s)
            batch_id = batch.id
            batch = await self._call(lambda: self.client.batches.retrieve(batch_id))  # noqa: B023
        self.progress(len(record.rows), len(record.rows))
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = await self._file(file_id)
            for line in content.splitlines():
                answer = decode(line)
                name = answer.get("custom_id") if isinstance(answer, dict) else None
                request = unanswered.pop(name, None) if isinstance(name, str) else None
                if request is not None:  # a torn line's row stays without an answer
                    yield self._completion(request, answer, batch.id)
        reason = _why(batch)
        for request in unanswered.values():
            message = (
                f"batch {batch.id} is {batch.status} without an answer to this row{': ' + reason if reason else ''}"
            )
            yield self._failed(request, f"batch {batch.status}", message, batch.id)
        state_files.write(msgspec.structs.replace(record, batch_id=batch.id, collected=True))
        if batch.status == "failed":
            raise BackendStopped(self.clean(f"{self.label}: batch {batch.id} failed: {reason}."), "batch failed")

    async def _file(self, file_id: str) -> bytes:
        path = f"/files/{file_id}/content"
        response = await self._call(lambda: self.client.get(path, cast_to=httpx2.Response))
        return response.content

    def _completion(self, request: Request, line: dict[str, Any], batch_id: str) -> Completion:
        """One output line as a completion. A batch has no latencies: all times stay 0."""
        response = line.get("response")
        status, raw = _response(response if isinstance(response, dict) else {})
        if not status:
            error = server_error(line)
            kind = (error.code if error is not None else "") or "batch error"
            message = error.message if error is not None else "no answer"
            return self._failed(request, kind.replace("_", " "), message, batch_id)
        if status != 200:
            return self._refused(request, of_status(status, raw, {}), batch_id)
        try:
            answer = read_answer(raw)
        except BadBodyError as error:
            return self._failed(request, "bad body", str(error), batch_id, self._cost(error.usage))
        except ReportedError as error:
            return self._refused(request, classify(error), batch_id, self._cost(error.usage))
        cost = self._settle(request, self._cost(answer.usage))
        state_files = {"batch": batch_id}
        if answer.system_fingerprint:
            state_files["system_fingerprint"] = answer.system_fingerprint
        return msgspec.structs.replace(
            completion_of(request, answer, self.settings, self.builder.decode, self.clean),
            cost=Cost(list=cost, incurred=cost),
            prompt_hash=hashlib.sha256(self.builder.encode(request)).hexdigest(),
            notes=state_files,
        )

    def _refused(self, request: Request, verdict: Verdict, batch_id: str, cost: float | None = 0.0) -> Completion:
        if not isinstance(verdict, RowAnswer):
            return self._failed(request, verdict.kind, str(verdict), batch_id, cost)
        self._settle(request, cost)
        return Completion(
            id=request.id,
            repeat=request.repeat,
            finish=verdict.finish,
            cost=Cost(list=0.0, incurred=cost),
            notes={"batch": batch_id, "server": self.clean(verdict.message)},
        )

    def _failed(self, request: Request, kind: str, message: str, batch_id: str, cost: float | None = 0.0) -> Completion:
        booked = self._settle(request, cost)
        return Completion(
            id=request.id,
            repeat=request.repeat,
            cost=Cost(incurred=booked),
            error=Failure(kind=kind, message=self.clean(message)),
            notes={"batch": batch_id},
        )

    def _cost(self, usage: Usage | None) -> float | None:
        return self.price.cost(usage) if self.price is not None and usage is not None else None

    def _settle(self, request: Request, cost: float | None) -> float | None:
        """Book a row; one whose cost is unknown keeps all that was set aside for it."""
        max_cost = self._max_request_cost(request)
        self.budget.settle(max_cost, max_cost if cost is None else cost)
        return cost


def _response(response: dict[str, Any]) -> tuple[int, bytes]:
    """Status and body of a line; 0 where it holds no response. Some gateways write the body as text."""
    status = response.get("status_code", response.get("status"))
    number = int(status) if isinstance(status, int | str) and str(status).isascii() and str(status).isdigit() else 0
    body = response.get("body")
    if not number and body is not None:
        number = 200
    return number, body.encode("utf-8", "replace") if isinstance(body, str) else msgspec.json.encode(body)


def _why(batch: Batch) -> str:
    """What a batch says of its errors."""
    data = getattr(batch.errors, "data", None)
    return "; ".join(str(getattr(e, "message", e)) for e in data) if isinstance(data, list) else ""


def custom_id(request: Request) -> str:
    """How a row is named in a batch file."""
    return f"{request.id}/{request.repeat}"
