"""Ray workers whose work is a sleep, through the very pool that runs models: what feeding and listening cost.

    python benchmarks/scale.py workers --workers 1 2 4 --pairs 5

Each worker takes --row-ms for a row; with no other cost W workers answer W times as fast. Efficiency is
rate(W) / (W x rate(1)), the median of --pairs rounds that ask every number of workers in turn. `--row-ms 0` shows
instead how many rows a second one driver can hand out and take back.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

from harness.backends.ray.ray_cluster import Cluster, import_ray, reply
from harness.backends.ray.ray_worker import Worker
from harness.backends.ray.worker_pool import WorkerPool
from harness.records import Completion, Message, Request, Usage

BATCH = 32


class Sleeper(Worker):
    """Sleeps for each row and answers "World"."""

    def __init__(self, row_s: float) -> None:
        super().__init__()
        self._row_s = row_s
        self._turn = asyncio.Lock()

    async def answer(self, order: bytes, requests: list[Request]) -> AsyncIterator[list[Completion]]:
        """Batches of rows, one at a time, as a device would."""
        async with self._turn:
            for start in range(0, len(requests), BATCH):
                batch = requests[start : start + BATCH]
                if self._row_s:
                    await asyncio.sleep(self._row_s * len(batch))
                usage = Usage(prompt_tokens=60, completion_tokens=1)
                yield [Completion(id=r.id, repeat=r.repeat, text="World", finish="stop", usage=usage) for r in batch]


async def requests(count: int) -> AsyncIterator[Request]:
    """Rows of about 300 bytes, made as they are asked for."""
    for n in range(count):
        text = f"Item {n} " + "of the news of the day " * 10
        yield Request(id=f"row-{n}", messages=(Message(role="user", content=text),), labels=("World", "Sports"))


async def rate(workers: int, rows: int, row_s: float, window: int) -> tuple[float, float]:
    """Rows a second with so many workers, from the first window to the last answer; and CPU seconds here a row."""
    ray = import_ray()
    actor = ray.remote(Sleeper).options(num_cpus=0)

    async def admit(one: Any) -> str:
        await reply(one.info.remote())
        return "here"

    pool = WorkerPool(lambda: actor.remote(row_s), admit, workers, 120.0)
    try:
        await pool.start()
        async for _ in pool.stream(b"warm", requests(workers * BATCH), BATCH):
            pass
        began, cpu = time.perf_counter(), time.process_time()
        answered = 0
        async for _ in pool.stream(b"order", requests(rows), window):
            answered += 1
        took, used = time.perf_counter() - began, time.process_time() - cpu
    finally:
        await pool.aclose()
    if answered != rows:
        raise RuntimeError(f"{answered} of {rows} rows came back")
    return rows / took, used / rows


async def measure(counts: list[int], pairs: int, rows: int, row_ms: float, window: int) -> None:
    """Interleaved rounds, then the table."""
    cluster = Cluster("local")
    await cluster.join()
    try:
        found: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
        for _ in range(pairs):
            for count in counts:
                found[count].append(await rate(count, rows * count, row_ms / 1000, window))
    finally:
        await cluster.release()
    print(f"{rows} rows a worker, {row_ms:g} ms a row, windows of {window}, load {os.getloadavg()[0]:.1f}\n")
    print("| workers | rows/s, median (range) | efficiency, median (range) | driver's CPU a row |")
    print("| --- | --- | --- | --- |")
    for count in counts:
        rates = [r for r, _ in found[count]]
        shares = [r / one * counts[0] / count for r, (one, _) in zip(rates, found[counts[0]], strict=True)]
        cpu = statistics.median(used for _, used in found[count])
        print(
            f"| {count} | {statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f}) "
            f"| {statistics.median(shares):.1%} ({min(shares):.1%}-{max(shares):.1%}) | {1e6 * cpu:.0f} us |"
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this table, for `scale.py workers`."""
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4000, help="rows for each worker")
    parser.add_argument("--row-ms", type=float, default=2.0)
    parser.add_argument("--window", type=int, default=250)


def print_workers(args: argparse.Namespace) -> None:
    """Measure and print the table."""
    asyncio.run(measure(args.workers, args.pairs, args.rows, args.row_ms, args.window))
