"""The process behind `OpenAIServer`: `python -m tests.support.serve PORT HOST`; its configuration is a line on stdin.

Prints its port once it listens; ends when its standard input closes.
"""

import asyncio
import random
import sys
import time
import zlib
from collections import Counter, deque
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from tests.support.batches import Batches
from tests.support.limits import Limits
from tests.support.openai_server import ServerConfig, ServerStats, prompt_key
from tests.support.replies import completion, error_body, prompt_tokens, stream_events
from tests.support.tuning import Tuning

JSON = "application/json"


class Server:
    """State of the one server of this process."""

    def __init__(self, config: ServerConfig) -> None:
        self.begin(config)

    def begin(self, config: ServerConfig) -> None:
        """Start counting from nothing."""
        self.config = config
        self.limits = Limits(config.rpm, config.tpm, config.burst_s)
        self.batches = Batches(config)
        self.tuning = Tuning(config, self.batches, self.error)
        self.script = deque(config.script)
        self.count: Counter[str] = Counter()
        self.by_fault: Counter[str] = Counter()
        self.by_prompt: Counter[str] = Counter()
        self.answered_by_prompt: Counter[str] = Counter()
        self.bodies: deque[dict[str, Any]] = deque(maxlen=20)
        self.heads: deque[dict[str, str]] = deque(maxlen=20)
        self.transports: set[int] = set()
        self.in_flight: set[int] = set()  # a new one: what is left of an earlier test counts there
        self.max_in_flight = 0
        self.first = self.last = 0.0

    def stats(self) -> ServerStats:
        """Everything counted so far."""
        return ServerStats(
            by_fault=dict(self.by_fault),
            by_prompt=dict(self.by_prompt),
            answered_by_prompt=dict(self.answered_by_prompt),
            max_in_flight=self.max_in_flight,
            connections=len(self.transports),
            last_bodies=list(self.bodies),
            last_headers=list(self.heads),
            batches=len(self.batches.batches),
            uploads=[str(f["filename"]) for f in self.batches.uploads if f["purpose"] == "fine-tune"],
            jobs=self.tuning.asked,
            seconds_between_first_and_last=self.last - self.first,
            **{k: self.count[k] for k in ("requests", "answered", "refused", "prompt_tokens", "cached_tokens")},
            completion_tokens=self.count["completion_tokens"],
        )

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Every request comes here: one table instead of a router keeps the server cheap."""
        path = request.path
        if path == "/v1/chat/completions" or path.startswith("/openai/deployments/"):
            return await self.chat(request)
        if path == "/_stats":
            return web.Response(body=msgspec.json.encode(self.stats()), content_type=JSON)
        if path == "/_reset":
            self.begin(msgspec.json.decode(await request.read(), type=ServerConfig))
            return web.Response()
        if path == "/_change":
            self.config = self.batches.config = self.tuning.config = msgspec.json.decode(
                await request.read(), type=ServerConfig
            )
            return web.Response()
        if path == "/_cpu":
            return web.Response(body=str(time.process_time()).encode())
        if not self.authorized(request):
            return self.error("401")
        if path == "/v1/models":
            models = [
                {"id": m, "object": "model", "created": 1, "owned_by": "test", "shutdown_date": d}
                for m, d in self.config.models.items()
            ]
            return web.json_response({"object": "list", "data": models})
        return await self.tuning.handle(request) or await self.batches.handle(request) or self.error("404")

    def authorized(self, request: BaseRequest) -> bool:
        """Whether the key is the right one, or none is asked."""
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("api-key")
        return self.config.key is None or given == self.config.key

    def error(self, kind: str, headers: dict[str, str] | None = None) -> web.Response:
        """An error in OpenAI's shape."""
        status, body = error_body(kind)
        return web.Response(status=status, body=body, content_type=JSON, headers=headers)

    async def chat(self, request: BaseRequest) -> web.StreamResponse:
        """One chat completion, with its limits and faults."""
        body = msgspec.json.decode(await request.read())
        now = time.monotonic()
        self.first = self.first or now
        self.last = now
        key = prompt_key(body["messages"])
        self.count["requests"] += 1
        self.by_prompt[key] += 1
        self.transports.add(id(request.transport))
        self.bodies.append(body)
        head = {k.lower(): v for k, v in request.headers.items() if k.lower() not in ("authorization", "api-key")}
        self.heads.append(head | {"authorized": str(self.authorized(request))})
        if not self.authorized(request):
            return self.error("401")
        if self.config.models and body["model"] not in self.config.models:
            return self.error("404")
        tokens = prompt_tokens(body["messages"]) + (body.get("max_tokens") or body.get("max_completion_tokens") or 0)
        wait = self.limits.admit(tokens, now)
        headers = self.limits.headers() if self.config.headers else {}
        if wait:
            self.count["refused"] += 1
            after = {"retry-after-ms": str(int(wait * 1000) + 1), "retry-after": str(int(wait) + 1)}
            return self.error("429", headers | after if self.config.headers else {})
        in_flight = self.in_flight
        in_flight.add(id(request))
        self.max_in_flight = max(self.max_in_flight, len(in_flight))
        try:
            return await self.answer(request, body, key, headers)
        finally:
            in_flight.discard(id(request))

    def fault(self, body: dict[str, Any], key: str) -> str:
        """What happens to this request: the script, then `when`, then the seeded shares."""
        if self.script:
            return self.script.popleft()
        if self.config.when:
            text = " ".join(str(m["content"]) for m in body["messages"])
            for part, kind in self.config.when.items():
                if part in text:
                    return kind
        if self.config.faults:
            draw = zlib.crc32(f"{self.config.seed}/{key}/{self.by_prompt[key]}".encode()) / 2**32
            for kind, share in self.config.faults.items():
                if draw < share:
                    return kind
                draw -= share
        return "ok"

    async def answer(
        self, request: BaseRequest, body: dict[str, Any], key: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """The answer or the fault."""
        kind = self.fault(body, key)
        self.by_fault[kind] += 1
        if self.config.delay_s:
            await asyncio.sleep(self.config.delay_s)
        if kind == "stall":
            await asyncio.sleep(self.config.stall_s)
        if kind == "reset":
            return self.abort(request)
        if kind == "html":
            return web.Response(body=b"<html>proxy error</html>", content_type="text/html", headers=headers)
        if kind == "bad_json":
            return web.Response(body=b'{"id": "chatcmpl-', content_type=JSON, headers=headers)
        if kind in ("429", "overload", "insufficient_quota") or kind not in _WHOLE:
            self.count["refused"] += kind in ("429", "overload")
            if self.config.retry_after:
                headers = headers | {"retry-after": self.config.retry_after}
            if kind != "cut":
                return self.error(kind, headers)
        if kind == "remaining_zero":
            headers = headers | {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
        if body.get("stream"):
            return await self.stream(request, body, key, kind, headers)
        whole = completion(self.config, body, kind)
        data = msgspec.json.encode(whole)
        if kind == "surrogate":  # legal JSON that no UTF-8 can hold
            data = data.replace(b'"content":"', rb'"content":"\ud800')
        if kind == "cut":
            return await self.cut(request, data)
        if request.transport is None or request.transport.is_closing():
            return self.abort(request)  # the client has hung up: nothing is handed over, nothing counted
        self.note(key, whole.get("usage") or {})
        return web.Response(body=data, content_type=JSON, headers=headers | {"x-request-id": f"req_{key}"})

    def note(self, key: str, usage: dict[str, Any]) -> None:
        """Count a whole answer."""
        self.count["answered"] += 1
        self.answered_by_prompt[key] += 1
        self.count["prompt_tokens"] += usage.get("prompt_tokens") or 0
        self.count["completion_tokens"] += usage.get("completion_tokens") or 0
        self.count["cached_tokens"] += (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)

    async def stream(
        self, request: BaseRequest, body: dict[str, Any], key: str, kind: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Server-sent events, half of `delay_s` between the first and the last."""
        response = web.StreamResponse(headers=headers | {"content-type": "text/event-stream"})
        await response.prepare(request)
        events = stream_events(self.config, body, kind)
        for number, event in enumerate(events):
            if kind == "cut" and number == len(events) // 2:
                return self.abort(request)
            await response.write(event)
            await asyncio.sleep(self.config.delay_s / 2 / len(events))
        await response.write_eof()
        self.note(key, completion(self.config, body, kind).get("usage") or {})
        return response

    async def cut(self, request: BaseRequest, data: bytes) -> web.StreamResponse:
        """Half of a body whose length was promised whole, then the line is dropped."""
        response = web.StreamResponse(headers={"content-type": JSON, "content-length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def abort(self, request: BaseRequest) -> web.StreamResponse:
        """A reset connection."""
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError


_WHOLE = {
    "ok", "content_filter", "refusal", "length", "null_content", "empty_choices", "no_usage", "remaining_zero",
    "stall", "cut", "surrogate", "null_counts", "event_error", "event_garbage",
}  # fmt: skip


async def main(port: int, host: str) -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    config = msgspec.json.decode(await loop.run_in_executor(None, sys.stdin.buffer.readline), type=ServerConfig)
    server = Server(config)
    runner = web.ServerRunner(web.Server(server.handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=4096, reuse_address=True)
    await site.start()
    assert site._server is not None
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[attr-defined]
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    await runner.cleanup()


if __name__ == "__main__":
    random.seed(0)
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
