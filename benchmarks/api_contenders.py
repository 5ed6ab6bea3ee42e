"""One contender of benchmarks/api.py, in a process of its own: asks N rows, prints one line of JSON.

python -m benchmarks.api_contenders NAME URL ROWS CONCURRENCY [KEY=VALUE ..]
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

LABELS = ("World", "Sports", "Business", "Sci/Tech")


def prompt(n: int) -> str:
    """A news-like prompt of about 60 tokens; every row its own."""
    body = f"Item {n}: the committee of district {n * 7919 % 1000} met on day {n % 365} to discuss the budget. " * 2
    return f"Classify the news item into one topic: {', '.join(LABELS)}. Answer with the topic only.\n\n{body}"


async def at_once(rows: int, concurrency: int, ask: Callable[[int], Awaitable[Any]]) -> list[float]:
    """The plain loop: `concurrency` workers share a counter. Seconds of each row."""
    seconds: list[float] = []
    numbers = iter(range(rows))

    async def worker() -> None:
        for n in numbers:
            began = time.perf_counter()
            await ask(n)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return seconds


def body(n: int) -> dict[str, Any]:
    """What every contender asks."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt(n)}], "max_tokens": 12, "temperature": 0.0}


async def bare_aiohttp(url: str, rows: int, concurrency: int) -> dict[str, Any]:
    """Floor: aiohttp alone."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def ask(n: int) -> None:
            async with session.post(f"{url}/chat/completions", json=body(n), headers={"Authorization": "x"}) as answer:
                assert (await answer.json())["choices"][0]["message"]["content"] in LABELS

        return {"seconds": await at_once(rows, concurrency, ask)}


async def bare_openai(url: str, rows: int, concurrency: int) -> dict[str, Any]:
    """Floor: the official client on its aiohttp transport."""
    import openai

    async with openai.AsyncOpenAI(
        base_url=url, api_key="x", max_retries=0, http_client=openai.DefaultAioHttpClient()
    ) as client:

        async def ask(n: int) -> None:
            answer = await client.chat.completions.create(**body(n))
            assert answer.choices[0].message.content in LABELS

        return {"seconds": await at_once(rows, concurrency, ask)}


async def bench_backend(url: str, rows: int, concurrency: int, cache: str = "", **settings: Any) -> dict[str, Any]:
    """Bench's backend: pacing, retries, money, timings, and the cache where a folder is given."""
    from harness.backend import RunContext, RunRequirements
    from harness.backends.openai_backend import OpenAIBackend
    from harness.records import Message, Request
    from harness.settings import decode_table
    from harness.workspace import Workspace

    async def requests() -> Any:
        for n in range(rows):
            message = Message(role="user", content=prompt(n))
            yield Request(id=f"{n:016x}", messages=(message,), labels=LABELS, max_tokens=12)

    table = {"model": "m", "base_url": url, "concurrency": concurrency, "price": {"input": 1.0, "output": 2.0}}
    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(Workspace(Path(cache or folder)), use_cache=bool(cache))
        backend = OpenAIBackend("b", decode_table(table | settings, OpenAIBackend.Settings, "b"), "t", context)
        await backend.check(RunRequirements(task="t", rows=rows))
        asking = time.process_time()
        seconds, errors, queued, wasted, spent = [], {}, 0.0, 0.0, 0.0
        async for c in backend.stream(requests(), Path(folder)):
            if c.error:
                errors[c.error.kind] = errors.get(c.error.kind, 0) + 1
            seconds.append(c.timing.service_s)
            queued += c.timing.queue_s
            wasted += c.timing.retry_s
            spent += c.cost.incurred or 0.0
        asking_cpu = time.process_time() - asking
        counters = backend.counters()
        await backend.aclose()
    return {
        "seconds": seconds,
        "errors": errors,
        "counters": counters,
        "queue_s": queued,
        "retry_s": wasted,
        "incurred": spent,
        "asking_cpu_s": asking_cpu,
    }


def bench_run(url: str, rows: int, concurrency: int) -> dict[str, Any]:
    """Bench as people use it: every row scored and appended to the run directory, then the summary with its tests."""
    from harness.runner import run
    from harness.settings import Settings
    from harness.workspace import Workspace

    table = {"kind": "openai", "model": "m", "base_url": url, "concurrency": concurrency}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        lines = (json.dumps({"text": prompt(n), "label": n % 4}) for n in range(rows))
        (place / "rows.jsonl").write_text("\n".join(lines))
        log = run(
            "agnews",
            ["b"],
            data=str(place / "rows.jsonl"),
            settings=Settings(backends={"b": table}),
            workspace=Workspace(place),
            use_cache=False,
        )
        lines_found = log.lines("b").values()
        assert all(line.score is not None for line in lines_found)
        return {"seconds": [line.timing.service_s for line in lines_found]}


def inspect_ai(url: str, rows: int, concurrency: int) -> dict[str, Any]:
    """Inspect AI with everything that can be switched off switched off."""
    os.environ |= {"OPENAI_API_KEY": "x", "INSPECT_LOG_LEVEL": "error"}
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    samples = MemoryDataset([Sample(input=prompt(n), target=LABELS[n % 4]) for n in range(rows)])
    config = GenerateConfig(max_connections=concurrency, max_tokens=12, temperature=0.0)
    model = get_model("openai/gpt-4.1", base_url=url, responses_api=False, config=config)
    with tempfile.TemporaryDirectory() as folder:
        logs = evaluate(
            Task(dataset=samples, solver=generate(), scorer=match()),
            model=model,
            max_samples=concurrency,
            display="none",
            log_dir=folder,
            score_display=False,
        )
        seconds = [e.working_time for s in logs[0].samples or [] for e in s.events if e.event == "model"]
        assert logs[0].status == "success"
    return {"seconds": [s for s in seconds if s is not None]}


CONTENDERS: dict[str, Callable[..., Any]] = {
    "aiohttp": bare_aiohttp,
    "openai": bare_openai,
    "bench": bench_backend,
    "bench-run": bench_run,
    "inspect": inspect_ai,
}


def main() -> None:
    """Run one contender and print what it took."""
    name, url, rows, concurrency, *pairs = sys.argv[1:]
    options = {k: json.loads(v) for k, _, v in (pair.partition("=") for pair in pairs)}
    begun = time.process_time()
    made = CONTENDERS[name](url, int(rows), int(concurrency), **options)
    result = asyncio.run(made) if asyncio.iscoroutine(made) else made
    seconds = sorted(result.pop("seconds")) or [0.0]
    at = lambda share: seconds[min(len(seconds) - 1, int(share * len(seconds)))]  # noqa: E731
    print(
        json.dumps(
            {
                "cpu_s": time.process_time() - begun,
                "p50_s": at(0.5),
                "p95_s": at(0.95),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                **result,
            }
        )
    )


if __name__ == "__main__":
    main()
