"""One request's life: budget, slot, pace, send, perhaps again, and the completion it ends in."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.api.answer import BadBodyError, ChatAnswer, label_scores, read_text, read_usage
from harness.api.body import BodyBuilder, unwrap
from harness.api.endpoints import Endpoint, Pool
from harness.api.errors import FatalError, RowAnswer, TransientError, advice, classify
from harness.api.money import ORDINARY_TIERS, Purse, list_cost
from harness.api.pacing import Ticket
from harness.api.retry import retrying
from harness.api.settings import OpenAISettings
from harness.errors import BackendStopped
from harness.money.prices import MILLION, Price
from harness.records import Completion, Cost, Failure, Finish, Request, Timing, Usage

FORMAT_BYTES = 16
"""What a chat format adds to each message, as bytes at four a token; the true ratio is learned."""


@dataclass(frozen=True)
class Reply:
    """A whole answer as it came: what it says, its headers, and when its first token came (if it was streamed)."""

    answer: ChatAnswer
    headers: Mapping[str, str]
    first_token_s: float | None = None


class Send(Protocol):
    """How a body is sent (whole or streamed). Raises what the client raises, or BadBodyError."""

    async def __call__(self, endpoint: Endpoint, body: bytes) -> Reply:
        """Send once."""
        ...


@dataclass
class Call:
    """What is known of one request while it is being asked."""

    request: Request
    body: bytes
    prompt_bytes: int
    most: float | None
    began: float
    endpoint: Endpoint | None = None
    ticket: Ticket | None = None
    first_sent: float = 0.0
    last_sent: float = 0.0
    queue_s: float = 0.0
    wasted: float = 0.0
    attempts: int = 0
    failed: list[str] = field(default_factory=list)
    failed_at: list[str] = field(default_factory=list)


@dataclass
class Caller:
    """Answers requests one by one; many calls run at once and share pool, purse and the reason to stop."""

    where: str
    settings: OpenAISettings
    builder: BodyBuilder
    price: Price | None
    pool: Pool
    purse: Purse
    send: Send
    secrets: tuple[str, ...]
    stop: BackendStopped | None = field(default=None, init=False)
    _halted: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def stopped(self) -> bool:
        """Whether nothing further may be sent."""
        return self.stop is not None

    def begin(self) -> None:
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

    def most(self, request: Request) -> float | None:
        """The most that one attempt can cost, USD; None where the price is unknown."""
        if self.price is None:
            return None
        prompt, answer = self.builder.most_tokens(request)
        dearest = max(self.price.input, self.price.cache_write or 0.0)
        return (prompt * dearest + answer * self.price.output) / MILLION

    async def admit(self, request: Request) -> Call | None:
        """Wait until a request may go: budget, slot, pace. None where the backend stopped before."""
        body = self.builder.encode(request)
        prompt_bytes = sum(len(m.content) + FORMAT_BYTES for m in request.messages)
        call = Call(request, body, prompt_bytes, self.most(request), time.perf_counter())
        call.endpoint = await self._turn(call)
        return call if call.endpoint is not None else None

    async def perform(self, call: Call) -> Completion | None:
        """Carry an admitted call out: send, send again where that helps, and end in exactly one completion."""
        policy = retrying(self.settings.max_attempts, self.settings.deadline_s, self._halted)
        try:
            return await policy(self._attempt, call)
        except TransientError as error:
            return self._failure(call, error.kind, str(error))
        except FatalError as error:
            said = advice(error.kind, self.where, self.settings.api_key_env, str(error))
            self.halt(error.kind, said)
            return self._failure(call, error.kind, str(error))

    async def _turn(self, call: Call) -> Endpoint | None:
        """Budget reserved, slot taken, pace kept; None (and nothing held) where the backend stopped."""
        if not await self.purse.reserve(call.most, self.stopped):
            if not self.stopped():
                self._too_dear(call)
            return None
        answer_tokens = self.builder.answer_tokens(call.request)
        endpoint = await self.pool.acquire(call.prompt_bytes, answer_tokens, self.stopped)
        if endpoint is not None:
            try:
                tokens = endpoint.pacer.estimate(call.prompt_bytes, answer_tokens)
                call.ticket = await endpoint.pacer.turn(tokens, self.stopped)
            except asyncio.CancelledError:
                self.pool.release(endpoint)
                raise
            if not self.stopped():
                return endpoint
            self.pool.release(endpoint)
        self.purse.settle(call.most, 0.0)
        return None

    async def _attempt(self, call: Call) -> Completion:
        """Send once, at the server that admission chose or else at the next free one."""
        asked = call.began if call.endpoint is not None else time.perf_counter()
        endpoint = call.endpoint or await self._turn(call)
        call.endpoint = None
        if endpoint is None:
            kind = call.failed[-1].split(" after ")[0]
            return self._failure(call, kind, "the backend stopped before another attempt")
        try:
            return await self._send(call, endpoint, asked)
        finally:
            self.pool.release(endpoint)

    async def _send(self, call: Call, endpoint: Endpoint, asked: float) -> Completion:
        call.attempts += 1
        call.last_sent = time.perf_counter()
        call.first_sent = call.first_sent or call.last_sent
        call.queue_s += call.last_sent - asked
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                reply = await self.send(endpoint, call.body)
        except asyncio.CancelledError:
            self.purse.settle(call.most, 0.0, maybe_billed=True)
            raise
        except BadBodyError as error:
            endpoint.reached()
            raise self._bad_body(call, endpoint, error) from None
        except Exception as error:
            return self._refused(call, endpoint, error)
        return self._whole(call, endpoint, reply)

    def _whole(self, call: Call, endpoint: Endpoint, reply: Reply) -> Completion:
        """A whole answer: book it, learn from it, make it the completion."""
        now = time.perf_counter()
        service_s = now - call.last_sent
        endpoint.reached()
        usage = read_usage(reply.answer)
        cost = list_cost(self.price, usage, reply.answer.service_tier)
        self.purse.settle(call.most, cost, maybe_billed=cost is None and self.price is not None)
        endpoint.pacer.answered(reply.headers, call.ticket, time.monotonic())
        if usage is not None:
            endpoint.pacer.calibrate(call.prompt_bytes, usage.prompt_tokens)
        endpoint.window.answered(service_s, endpoint.in_flight, now)
        text, finish = read_text(reply.answer)
        if self.builder.decode == "json" and finish == "stop":
            text = unwrap(call.request, text)
        return Completion(
            id=call.request.id,
            repeat=call.request.repeat,
            text=self.clean(text),
            finish=finish,
            usage=usage or Usage(),
            timing=self._timing(call, service_s, reply.first_token_s),
            cost=Cost(list=cost, incurred=None if cost is None else cost + call.wasted),
            attempts=call.attempts,
            label_scores=label_scores(reply.answer, call.request.labels) if self.settings.logprobs else None,
            prompt_hash=hashlib.sha256(call.body).hexdigest(),
            notes=self._notes(call, endpoint, reply.answer),
        )

    def _notes(self, call: Call, endpoint: Endpoint, answer: ChatAnswer) -> dict[str, str]:
        notes = self._where(call, endpoint)
        if answer.system_fingerprint:
            notes["system_fingerprint"] = answer.system_fingerprint
        if answer.model and answer.model != self.builder.model:
            notes["model"] = answer.model
        if answer.service_tier not in ORDINARY_TIERS:
            notes["service_tier"] = str(answer.service_tier)
        return {k: self.clean(v) for k, v in notes.items()} if self.secrets else notes

    def _where(self, call: Call, endpoint: Endpoint | None) -> dict[str, str]:
        """How attempts failed; in a fleet also which servers failed, and which one answered."""
        notes = {"failed_attempts": "; ".join(call.failed)} if call.failed else {}
        if self.settings.fleet:
            notes |= {"endpoint": endpoint.url} if endpoint is not None else {}
            notes |= {"failed_at": " ".join(call.failed_at)} if call.failed_at else {}
        return notes

    def _bad_body(self, call: Call, endpoint: Endpoint, error: BadBodyError) -> TransientError:
        """A 2xx that holds no answer: what it says it used was paid all the same."""
        cost = None if self.price is None or error.usage is None else self.price.cost(error.usage)
        self.purse.settle(call.most, cost, maybe_billed=cost is None)
        call.wasted += cost or 0.0
        self._note_failure(call, endpoint, "bad body")
        return TransientError("bad body", str(error))

    def _refused(self, call: Call, endpoint: Endpoint, error: Exception) -> Completion:
        """Anything but a whole answer: raise it as transient or fatal, or end the row with it."""
        verdict = classify(error)
        now = time.monotonic()
        if isinstance(verdict, TransientError):
            self.purse.settle(call.most, 0.0, maybe_billed=verdict.maybe_billed)
            self._note_failure(call, endpoint, verdict.kind)
            if verdict.kind == "connection":
                endpoint.lost(now)
                if len(self.pool.endpoints) > 1 or endpoint.leaving:
                    verdict.retry_after = 0.0  # another server is not to blame
            else:
                endpoint.reached()
            if verdict.limited:
                endpoint.pacer.refused(verdict.unit, verdict.retry_after, verdict.headers, now)
                self._give_up_waiting(now)
            if verdict.overloaded or (verdict.limited and not endpoint.pacer.buckets):
                endpoint.window.overloaded()
            raise verdict from None
        self.purse.settle(call.most, 0.0)
        endpoint.reached()
        if isinstance(verdict, FatalError):
            raise verdict from None
        return self._refused_row(call, endpoint, verdict)

    def _give_up_waiting(self, now: float) -> None:
        """Servers that let nobody in for longer than a row may wait (a day's quota is used up): to wait is no use."""
        held = min(e.pacer.held(now) for e in self.pool.endpoints)
        if held > self.settings.deadline_s:
            message = f"{self.where}: the server asks to wait {held / 60:.0f} minutes; finish with --resume then."
            self.halt("rate limit", message)

    def _note_failure(self, call: Call, endpoint: Endpoint, kind: str) -> None:
        call.failed_at.append(endpoint.url)
        call.failed.append(f"{kind} after {time.perf_counter() - call.last_sent:.3f} s")

    def _refused_row(self, call: Call, endpoint: Endpoint, verdict: RowAnswer) -> Completion:
        finish: Finish = verdict.finish
        return Completion(
            id=call.request.id,
            repeat=call.request.repeat,
            finish=finish,
            timing=self._timing(call, time.perf_counter() - call.last_sent, None),
            cost=Cost(list=0.0, incurred=call.wasted),
            attempts=call.attempts,
            prompt_hash=hashlib.sha256(call.body).hexdigest(),
            notes={**self._where(call, endpoint), "server": self.clean(verdict.message)},
        )

    def _timing(self, call: Call, service_s: float, first_token_s: float | None) -> Timing:
        """Retry time is everything between the first and the last sending that was not waiting for one's turn."""
        between = call.last_sent - call.first_sent
        first_wait = call.first_sent - call.began
        later_waits = max(0.0, call.queue_s - first_wait)
        return Timing(
            queue_s=call.queue_s,
            service_s=service_s,
            retry_s=max(0.0, between - later_waits) if call.attempts > 1 else 0.0,
            first_token_s=first_token_s,
        )

    def _failure(self, call: Call, kind: str, message: str) -> Completion:
        """An infrastructure error; all its time was spent on attempts that failed."""
        ended = time.perf_counter()
        return Completion(
            id=call.request.id,
            repeat=call.request.repeat,
            timing=Timing(queue_s=call.queue_s, retry_s=max(0.0, ended - call.began - call.queue_s)),
            cost=Cost(incurred=None if self.price is None else call.wasted),
            attempts=call.attempts,
            error=Failure(kind=kind, message=self.clean(message)),
            notes=self._where(call, None),
        )

    def _too_dear(self, call: Call) -> None:
        budget = self.purse.budget
        self.halt(
            "max cost",
            f"{self.where}: the next request could cost {call.most or 0:.6f} USD and pass "
            f"--max-cost {budget.ceiling:g} ({budget.spent:.6f} USD booked); finish with --resume and a higher one.",
        )
