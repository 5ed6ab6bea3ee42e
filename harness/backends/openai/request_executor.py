"""One request's life: budget, slot, pace, send, perhaps again, and the completion it ends in."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from harness.backends.openai.answer_parsing import BadBodyError, ChatAnswer, ReportedError, completion_of, decode
from harness.backends.openai.classification import head_scores
from harness.backends.openai.error_body import server_error
from harness.backends.openai.error_classification import (
    FailureEvidence,
    FatalError,
    RowAnswer,
    RowError,
    TransientError,
    Verdict,
    advice,
    classify,
)
from harness.backends.openai.http_client import StatusError
from harness.backends.openai.in_flight_request import InFlightRequest, ReceivedAnswer, Send
from harness.backends.openai.openai_settings import OpenAISettings
from harness.backends.openai.request_body import BodyBuilder
from harness.backends.openai.retry_policy import retrying
from harness.backends.openai.server_pool import Endpoint, ServerPool
from harness.backends.openai.token_usage import ORDINARY_TIERS, BudgetReservation, list_cost
from harness.errors import BackendStopped
from harness.money.prices import MILLION, Price
from harness.records import Completion, Cost, Failure, Request, Timing, Usage

FORMAT_BYTES = 16
"""What a chat format adds to each message, as bytes at four a token; the true ratio is learned."""


class AdaptedError(Exception):
    """The server refuses a parameter, and the body has been changed: it is sent again at once."""


@dataclass
class RequestExecutor:
    """Answers requests one by one; many calls run at once and share server pool, budget and the reason to stop."""

    label: str
    settings: OpenAISettings
    builder: BodyBuilder
    price: Price | None
    pool: ServerPool
    budget_reservation: BudgetReservation
    send: Send
    secrets: tuple[str, ...]
    remark: Callable[[str], None] = lambda text: None
    stop: BackendStopped | None = field(default=None, init=False)
    _halted: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _evidence: FailureEvidence = field(default_factory=FailureEvidence, init=False)
    _control_lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _remarked: set[str] = field(default_factory=set, init=False)

    def stopped(self) -> bool:
        """Whether nothing further may be sent."""
        return self.stop is not None

    def reset(self) -> None:
        """Forget an earlier stop."""
        self.stop = None
        self._halted.clear()

    def halt(self, kind: str, message: str) -> None:
        """Send nothing further; the first reason counts."""
        if self.stop is None:
            self.stop = BackendStopped(self.clean(message), kind)
            self._halted.set()
            self.pool.wake()

    def clean(self, text: str) -> str:
        """Text without any of this backend's secrets, whatever the server echoed."""
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, "[secret]")
        return text

    def max_request_cost(self, request: Request) -> float | None:
        """The most that one attempt can cost, USD; None where the price is unknown."""
        if self.price is None:
            return None
        prompt, answer = self.builder.most_tokens(request)
        dearest = max(self.price.input, self.price.cache_write or 0.0)
        return (prompt * dearest + answer * self.price.output) / MILLION

    async def admit(self, request: Request) -> InFlightRequest | None:
        """Wait until a request may go: budget, slot, pace. None where the backend stopped before."""
        body = self.builder.encode(request)
        prompt_bytes = sum(len(m.content) + FORMAT_BYTES for m in request.messages)
        call = InFlightRequest(request, body, prompt_bytes, self.max_request_cost(request), time.perf_counter())
        call.learned_count = len(self.builder.learned.sentences)
        call.endpoint = await self._acquire(call)
        return call if call.endpoint is not None else None

    async def perform(self, call: InFlightRequest) -> Completion | None:
        """Carry an admitted call out: send, send again where that helps, and end in exactly one completion."""
        policy = retrying(self.settings.max_attempts, self.settings.deadline_s, self._halted)
        try:
            while True:
                with contextlib.suppress(AdaptedError):
                    return await policy(self._attempt, call)
        except (TransientError, RowError) as error:
            return self._failure(call, error.kind, str(error))
        except FatalError as error:
            message = advice(error.kind, self._last_address(call), self.settings.api_key_env, str(error))
            self.halt(error.kind, message)
            return self._failure(call, error.kind, str(error))
        finally:
            self.budget_reservation.release_first(call)

    def _last_address(self, call: InFlightRequest) -> str:
        """The backend and the address that was asked last."""
        return f"{self.label} at {call.failed_addresses[-1]}" if call.failed_addresses else self.label

    async def _acquire(self, call: InFlightRequest) -> Endpoint | None:
        """Budget reserved, slot taken, pace kept; None (and nothing held) where the backend stopped."""
        await self.budget_reservation.wait_for_first(call, self.stopped, self._halted)
        call.max_cost = self.max_request_cost(call.request)  # what has been learned may have changed it
        if not await self.budget_reservation.reserve(call.max_cost, self.stopped):
            if not self.stopped():
                self._stop_for_budget(call)
            return None
        answer_tokens = self.builder.answer_tokens(call.request)
        endpoint = await self.pool.acquire(call.prompt_bytes, answer_tokens, self.stopped)
        if endpoint is not None:
            try:
                tokens = endpoint.rate_limiter.estimate(call.prompt_bytes, answer_tokens)
                call.ticket = await endpoint.rate_limiter.acquire(tokens, self.stopped)
            except asyncio.CancelledError:
                self.pool.release(endpoint)
                raise
            if not self.stopped():
                return endpoint
            self.pool.release(endpoint)
        self.budget_reservation.settle(call.max_cost, 0.0)
        return None

    async def _attempt(self, call: InFlightRequest) -> Completion:
        """Send once, at the server that admission chose or else at the next free one."""
        waiting_since = call.started_at if call.endpoint is not None else time.perf_counter()
        endpoint = call.endpoint or await self._acquire(call)
        call.endpoint = None
        if endpoint is None:
            kind = call.failures[-1].split(" after ")[0]
            return self._failure(call, kind, "the backend stopped before another attempt")
        try:
            return await self._send(call, endpoint, waiting_since)
        finally:
            self.pool.release(endpoint)

    async def _send(self, call: InFlightRequest, endpoint: Endpoint, waiting_since: float) -> Completion:
        if call.learned_count != len(self.builder.learned.sentences):  # by another row, while this one waited
            self._encode(call)
        call.attempts += 1
        call.last_sent = time.perf_counter()
        call.first_sent = call.first_sent or call.last_sent
        call.queue_s += call.last_sent - waiting_since
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                reply = await self.send(endpoint, call.body)
        except asyncio.CancelledError:
            self.budget_reservation.settle(call.max_cost, 0.0, maybe_billed=True)
            raise
        except BadBodyError as error:
            endpoint.record_success()
            transient = self._bad_body(call, endpoint, error)
            await self._check_scope(call, endpoint, transient)
            raise transient from None
        except Exception as error:
            if self._adapted(call, endpoint, error):
                raise AdaptedError from None
            verdict = classify(error)
            if isinstance(error, ReportedError):
                self._book_wasted(call, error.usage)
            try:
                completion = self._refused(call, endpoint, verdict)
            except (RowError, TransientError) as failed:
                await self._check_scope(call, endpoint, failed)
                raise failed from None
            await self._check_scope_of_refusal(call, endpoint, completion)
            return completion
        return self._completed(call, endpoint, reply)

    def _adapted(self, call: InFlightRequest, endpoint: Endpoint, error: Exception) -> bool:
        """Whether a refusal named a parameter that can be left out, renamed or changed (the body is then a new one)."""
        if not isinstance(error, StatusError) or error.status not in (400, 404, 415, 422, 501):
            return False
        server_message = server_error(decode(error.content))
        known = len(self.builder.learned.sentences)
        if server_message is None or not self.builder.learned.learn(decode(call.body), server_message):
            return False
        changed = self.builder.encode(call.request)
        if decode(changed) == decode(call.body):  # the field is in extra_body: it is the user's own
            return False
        self.budget_reservation.settle(call.max_cost, 0.0)
        endpoint.record_success()
        call.record_failure(endpoint.url, "parameter refused")
        self._encode(call)
        for sentence in self.builder.learned.sentences[known:]:
            self.remark_once(f"{self.label}: {sentence} (it said: {server_message.message[:160]})")
        return True

    def _encode(self, call: InFlightRequest) -> None:
        """Rebuild the body with all that has been learned."""
        call.body, call.learned_count = self.builder.encode(call.request), len(self.builder.learned.sentences)

    def remark_once(self, text: str) -> None:
        """Show a user message, once."""
        if text not in self._remarked:
            self._remarked.add(text)
            self.remark(self.clean(text))

    async def _check_scope(self, call: InFlightRequest, endpoint: Endpoint, failed: RowError | TransientError) -> None:
        """Find out whether a failure of unknown reach concerns all rows. Raises FatalError where it does."""
        if isinstance(failed, RowError):
            suspicious = failed.undecided and self._evidence.refused()
        else:
            suspicious = failed.kind in ("bad body", "server error") and failed.in_body and self._evidence.faulty()
        if not suspicious:
            return
        async with self._control_lock:
            if self.stopped() or self._evidence.settled():
                return
            if await self._control_fails(call, endpoint, failed.kind):
                raise FatalError(failed.kind, str(failed)) from None
            self._evidence.cleared()

    async def _check_scope_of_refusal(self, call: InFlightRequest, endpoint: Endpoint, ended: Completion) -> None:
        """Rows that end without an answer, and none that is answered: a server that ends even a harmless request so
        does it for another reason than the rows. Raises FatalError then."""
        if not self._evidence.ended():
            return
        async with self._control_lock:
            if not self.stopped() and not self._evidence.settled():
                if await self._control_fails(call, endpoint, str(ended.finish)):
                    message = f"even a harmless request ends so: {ended.notes.get('server', '')}"
                    raise FatalError("invalid request", message) from None
                self._evidence.cleared()

    async def _control_fails(self, call: InFlightRequest, endpoint: Endpoint, kind: str) -> bool:
        """Ask something harmless in the same way; whether it ends in the same way (`kind` of failure, or finish)."""
        request = self.builder.control(call.request)
        max_cost = self.max_request_cost(request)
        if not await self.budget_reservation.reserve(max_cost, self.stopped):
            return False
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                reply = await self.send(endpoint, self.builder.encode(request))
        except asyncio.CancelledError:
            self.budget_reservation.settle(max_cost, 0.0, maybe_billed=True)
            raise
        except BadBodyError as error:
            self.budget_reservation.settle(
                max_cost, None if error.usage is None or self.price is None else self.price.cost(error.usage)
            )
            return kind == "bad body"
        except Exception as error:
            self.budget_reservation.settle(max_cost, 0.0)
            verdict = classify(error)
            return (verdict.finish if isinstance(verdict, RowAnswer) else verdict.kind) == kind
        cost = list_cost(self.price, reply.answer.usage, reply.answer.service_tier)
        self.budget_reservation.settle(max_cost, cost)
        call.wasted_cost += cost or 0.0
        return False

    def _completed(self, call: InFlightRequest, endpoint: Endpoint, reply: ReceivedAnswer) -> Completion:
        """A whole answer: book it, learn from it, make it the completion."""
        now = time.perf_counter()
        service_s = now - call.last_sent
        endpoint.record_success()
        usage = reply.answer.usage
        self._evidence.answered()
        cost = list_cost(self.price, usage, reply.answer.service_tier)
        self.budget_reservation.settle(call.max_cost, cost, maybe_billed=cost is None and self.price is not None)
        endpoint.rate_limiter.answered(reply.headers, call.ticket, time.monotonic())
        if usage is not None:
            endpoint.rate_limiter.calibrate(call.prompt_bytes, usage.prompt_tokens)
            self._compare_bound(call.request, usage)
        endpoint.window.answered(service_s, endpoint.in_flight, now)
        if reply.first_token_s is None and self.builder.streams:
            self.remark_once(
                f"{self.label}: the server sends whole answers instead of streams: there is no first-token time"
            )
        completion = completion_of(call.request, reply.answer, self.settings, self.builder.decode, self.clean)
        if self.builder.decode == "head":
            completion = self._classified(call.request, reply.answer, completion)
        return msgspec.structs.replace(
            completion,
            timing=call.timing(service_s, reply.first_token_s),
            cost=Cost(list=cost, incurred=None if cost is None else cost + call.wasted_cost),
            attempts=call.attempts,
            prompt_hash=hashlib.sha256(call.body).hexdigest(),
            notes=self._notes(call, endpoint, reply.answer),
        )

    def _classified(self, request: Request, answer: ChatAnswer, completion: Completion) -> Completion:
        """A head's answer with its log-probabilities; a label that the task does not know is remarked on."""
        if answer.text not in request.labels:
            self.remark_once(
                f"{self.label}: the server's label '{answer.text}' is none of the task's ({', '.join(request.labels)}):"
                " the model's config.json names them in id2label (`bench adapter export --to merged` writes them)"
            )
        return msgspec.structs.replace(completion, label_scores=head_scores(answer, request.labels))

    def _compare_bound(self, request: Request, usage: Usage) -> None:
        """Some servers bill reasoning beyond max_tokens: once seen, that is what the next requests set aside."""
        if self.builder.beyond_bound(request, usage) and self.budget_reservation.budget.ceiling is not None:
            self.remark_once(
                f"{self.label}: the server bills more tokens than max_tokens allows (reasoning): --max-cost now sets "
                f"aside {self.builder.answer_bound(request):,} answer tokens a request"
            )

    def _notes(self, call: InFlightRequest, endpoint: Endpoint, answer: ChatAnswer) -> dict[str, str]:
        notes = self._server_notes(call, endpoint)
        if answer.system_fingerprint:
            notes["system_fingerprint"] = answer.system_fingerprint
        if answer.model and answer.model != self.builder.model:
            notes["model"] = answer.model
        if answer.service_tier not in ORDINARY_TIERS:
            notes["service_tier"] = str(answer.service_tier)
        if self.builder.learned.sentences:
            notes["learned"] = "; ".join(self.builder.learned.sentences)
        return {k: self.clean(v) for k, v in notes.items()} if self.secrets else notes

    def _server_notes(self, call: InFlightRequest, endpoint: Endpoint | None) -> dict[str, str]:
        """How attempts failed; in a fleet also which servers failed, and which one answered."""
        notes = {"failed_attempts": "; ".join(call.failures)} if call.failures else {}
        if self.settings.fleet:
            notes |= {"endpoint": endpoint.url} if endpoint is not None else {}
            notes |= {"failed_at": " ".join(call.failed_addresses)} if call.failed_addresses else {}
        return notes

    def _bad_body(self, call: InFlightRequest, endpoint: Endpoint, error: BadBodyError) -> TransientError:
        """A 2xx that holds no answer: what it says it used was paid all the same."""
        cost = None if self.price is None or error.usage is None else self.price.cost(error.usage)
        self.budget_reservation.settle(call.max_cost, cost, maybe_billed=cost is None)
        call.wasted_cost += cost or 0.0
        call.record_failure(endpoint.url, "bad body")
        return TransientError("bad body", str(error), in_body=True)

    def _book_wasted(self, call: InFlightRequest, usage: Usage | None) -> None:
        """An error that came with a usage was paid for."""
        cost = 0.0 if self.price is None or usage is None else self.price.cost(usage)
        if cost:
            self.budget_reservation.settle(0.0, cost)
            call.wasted_cost += cost

    def _refused(self, call: InFlightRequest, endpoint: Endpoint, verdict: Verdict) -> Completion:
        """Anything but a whole answer: raise it as transient, fatal or the row's, or end the row with it."""
        now = time.monotonic()
        if isinstance(verdict, TransientError):
            self.budget_reservation.settle(call.max_cost, 0.0, maybe_billed=verdict.maybe_billed)
            call.record_failure(endpoint.url, verdict.kind)
            if verdict.kind == "connection":
                endpoint.record_failure(now)
                if len(self.pool.endpoints) > 1 or endpoint.leaving:
                    verdict.retry_after = 0.0  # another server is not to blame
            else:
                endpoint.record_success()
            if verdict.limited:
                endpoint.rate_limiter.refused(verdict.unit, verdict.retry_after, verdict.headers, now)
                self._stop_for_long_wait(now)
            if verdict.overloaded or (verdict.limited and not endpoint.rate_limiter.buckets):
                endpoint.window.overloaded()
            raise verdict from None
        self.budget_reservation.settle(call.max_cost, 0.0)
        endpoint.record_success()
        if isinstance(verdict, FatalError | RowError):
            call.record_failure(endpoint.url, verdict.kind)
            raise verdict from None
        return self._refused_row(call, endpoint, verdict)

    def _stop_for_long_wait(self, now: float) -> None:
        """Servers that let nobody in for longer than a row may wait (a day's quota is used up): to wait is no use."""
        wait_s = min(e.rate_limiter.held(now) for e in self.pool.endpoints)
        if wait_s > self.settings.deadline_s:
            message = f"{self.label}: the server asks to wait {wait_s / 60:.0f} minutes; continue with --resume then."
            self.halt("rate limit", message)

    def _refused_row(self, call: InFlightRequest, endpoint: Endpoint, verdict: RowAnswer) -> Completion:
        return Completion(
            id=call.request.id,
            repeat=call.request.repeat,
            finish=verdict.finish,
            timing=call.timing(time.perf_counter() - call.last_sent, None),
            cost=Cost(list=0.0, incurred=call.wasted_cost),
            attempts=call.attempts,
            prompt_hash=hashlib.sha256(call.body).hexdigest(),
            notes={**self._server_notes(call, endpoint), "server": self.clean(verdict.message)},
        )

    def _failure(self, call: InFlightRequest, kind: str, message: str) -> Completion:
        """An infrastructure error; all its time was spent on attempts that failed."""
        ended = time.perf_counter()
        return Completion(
            id=call.request.id,
            repeat=call.request.repeat,
            timing=Timing(queue_s=call.queue_s, retry_s=max(0.0, ended - call.started_at - call.queue_s)),
            cost=Cost(incurred=None if self.price is None else call.wasted_cost),
            attempts=call.attempts,
            error=Failure(kind=kind, message=self.clean(message)),
            notes=self._server_notes(call, None),
        )

    def _stop_for_budget(self, call: InFlightRequest) -> None:
        budget = self.budget_reservation.budget
        self.halt(
            "max cost",
            f"{self.label}: the next request could cost {call.max_cost or 0:.6f} USD and pass "
            f"--max-cost {budget.ceiling:g} ({budget.spent:.6f} USD booked); continue with --resume and a higher one.",
        )
