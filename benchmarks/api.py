"""Bench's API backend against its floors and a peer, at a loopback server in a process of its own.

    python -m benchmarks.api [race|cache|limit|wide|faults ..] [--rounds 5] [--inspect-python venv/bin/python]

Floors: a bare aiohttp loop and a bare loop over the official client (on its aiohttp transport). Peer: Inspect AI
in an environment of its own (`pip install inspect-ai openai`), at equal concurrency. Every contender runs in a
process of its own, interleaved, `--rounds` times; shown are medians and, for ratios, median and range over rounds.
Rows/s are counted at the server from the first to the last request; CPU is the contender's whole process after
Python has started, imports included. p50 and p95 are what each contender records of a row: Bench keeps the wait for
its own turn apart, a plain loop has it in them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.openai_server import OpenAIServer, ServerConfig, ServerStats

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 300


@dataclass
class Ran:
    """One contender's one turn."""

    said: dict[str, Any]
    stats: ServerStats
    rows: int

    @property
    def rate(self) -> float:
        return self.rows / max(self.stats.seconds_between_first_and_last, 1e-9)

    @property
    def cpu_ms(self) -> float:
        return float(self.said["cpu_s"]) / self.rows * 1e3


@dataclass
class Table:
    """All turns of all contenders of one scenario."""

    turns: dict[str, list[Ran]] = field(default_factory=dict)

    def median(self, name: str, value: Callable[[Ran], float]) -> float:
        return statistics.median(value(ran) for ran in self.turns[name])

    def show(self, name: str, *more: tuple[str, Callable[[Ran], float]]) -> None:
        parts = [
            f"{name:14}",
            f"{self.median(name, lambda r: r.rate):7,.0f} rows/s",
            f"{self.median(name, lambda r: r.cpu_ms):7.3f} ms CPU a row",
            f"p50 {self.median(name, lambda r: r.said['p50_s'] * 1e3):5.0f} ms",
            f"p95 {self.median(name, lambda r: r.said['p95_s'] * 1e3):5.0f} ms",
        ]
        print("  ".join([*parts, *(f"{label} {self.median(name, value):,.2f}" for label, value in more)]), flush=True)

    def ratio(self, name: str, other: str, value: Callable[[Ran], float], what: str) -> None:
        pairs = [value(a) / value(b) for a, b in zip(self.turns[name], self.turns[other], strict=True)]
        print(
            f"  {what}: {name} / {other} = {statistics.median(pairs):.2f} (range {min(pairs):.2f} to {max(pairs):.2f})"
        )


class Track:
    """A server and the contenders that take turns at it."""

    def __init__(self, server: OpenAIServer, options: argparse.Namespace) -> None:
        self.server = server
        self.options = options

    def turn(self, name: str, config: ServerConfig, rows: int, concurrency: int, **settings: Any) -> Ran:
        """One contender, once."""
        self.server.reset(config)
        contender = "inspect" if name == "inspect" else name.split(" ")[0]
        python = self.options.inspect_python if contender == "inspect" else sys.executable
        words = [f"{k}={json.dumps(v)}" for k, v in settings.items()]
        done = subprocess.run(
            [
                python,
                "-m",
                "benchmarks.api_contenders",
                contender,
                self.server.url,
                str(rows),
                str(concurrency),
                *words,
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        return Ran(json.loads(done.stdout.strip().splitlines()[-1]), self.server.stats(), rows)


def race(track: Track) -> None:
    """`--rows` rows of 50 ms at concurrency 100."""
    names = ["aiohttp", "openai", "bench", "bench-run"] + (["inspect"] if track.options.inspect_python else [])
    table = Table({name: [] for name in names})
    for _ in range(track.options.rounds):
        for name in names:
            table.turns[name].append(track.turn(name, ServerConfig(delay_s=0.05), track.options.rows, 100))
    for name in names:
        table.show(name)
    bound = [r.said["counters"]["client_bound"] for r in table.turns["bench"]]
    print(f"  bench says client-bound in {sum(bound):.0f} of {len(bound)} rounds")
    table.ratio("bench", "openai", lambda r: r.rate, "rows/s")
    table.ratio("bench", "openai", lambda r: r.cpu_ms, "CPU a row")
    table.ratio("bench-run", "openai", lambda r: r.rate, "rows/s")
    if "inspect" in names:
        table.ratio("bench-run", "inspect", lambda r: r.rate, "rows/s")
        table.ratio("bench", "inspect", lambda r: r.rate, "rows/s")


def cache(track: Track) -> None:
    """The same 2,000 rows from a warm cache."""
    with tempfile.TemporaryDirectory() as folder:
        track.turn("bench", ServerConfig(), 2000, 100, cache=folder)
        table = Table({"bench": []})
        for _ in range(track.options.rounds):
            ran = track.turn("bench", ServerConfig(), 2000, 100, cache=folder)
            assert ran.stats.requests == 0
            table.turns["bench"].append(ran)
    cpu = table.median("bench", lambda r: r.said["cpu_s"])
    asking = table.median("bench", lambda r: r.said["asking_cpu_s"])
    print(f"2,000 rows from the cache: {asking:.2f} s CPU to ask, {cpu:.2f} s with all imports; nothing sent")


def limit(track: Track) -> None:
    """20 requests a second enforced, 200 rows: ideal 9 s (20 go at once)."""
    contenders: list[tuple[str, dict[str, Any]]] = [("bench", {"rpm": 1200}), ("bench (limit not configured)", {})]
    if track.options.inspect_python:
        contenders.append(("inspect", {}))
    turns: dict[str, list[ServerStats]] = {name: [] for name, _ in contenders}
    for _ in range(track.options.rounds):
        for name, settings in contenders:
            ran = track.turn(name, ServerConfig(delay_s=0.05, rpm=1200), 200, 100, **settings)
            turns[name].append(ran.stats)
    for name, stats in turns.items():
        refused = [s.refused for s in stats]
        took = statistics.median(s.seconds_between_first_and_last for s in stats)
        print(f"{name:30} {statistics.median(refused):4.0f} refused ({min(refused)} to {max(refused)}), {took:.2f} s")


def wide(track: Track) -> None:
    """20,000 rows at concurrency 100 and 1,000, and 4,000 rows at 1,000: rate and peak memory."""
    shapes = {"bench (100)": (20_000, 100), "bench (1000)": (20_000, 1000), "bench (1000, a fifth)": (4000, 1000)}
    table = Table({name: [] for name in shapes})
    for _ in range(track.options.rounds):
        for name, (rows, concurrency) in shapes.items():
            table.turns[name].append(track.turn(name, ServerConfig(delay_s=0.05), rows, concurrency))
    for name in shapes:
        table.show(name, ("peak MB", lambda r: r.said["peak_mb"]), ("most in flight", lambda r: r.stats.max_in_flight))
    table.ratio("bench (1000)", "bench (100)", lambda r: r.rate, "rows/s")


def faults(track: Track) -> None:
    """10 % of requests end in a 500, a cut body, a reset or a 10-s stall (attempts end after 2 s)."""
    config = ServerConfig(delay_s=0.05, faults={"500": 0.04, "cut": 0.03, "reset": 0.02, "stall": 0.01})
    table = Table({"bench": [], "bench (faults)": []})
    for _ in range(track.options.rounds):
        table.turns["bench"].append(track.turn("bench", ServerConfig(delay_s=0.05), 4000, 100, timeout_s=2.0))
        table.turns["bench (faults)"].append(track.turn("bench", config, 4000, 100, timeout_s=2.0))
    for name in table.turns:
        table.show(name)
    for ran in table.turns["bench (faults)"]:
        ledger = (ran.stats.prompt_tokens + 2 * ran.stats.completion_tokens) / 1e6
        print(
            f"  {ran.stats.requests} requests, errors {ran.said['errors'] or 'none'}; ledger "
            f"{ran.said['incurred']:.6f} USD, by the server's count {ledger:.6f} USD; {ran.said['retry_s']:.0f} s of "
            f"attempts and waits that led to nothing"
        )
    table.ratio("bench (faults)", "bench", lambda r: r.rate, "rows/s")


SCENARIOS: dict[str, Callable[[Track], None]] = {
    "race": race,
    "cache": cache,
    "limit": limit,
    "wide": wide,
    "faults": faults,
}


def main() -> None:
    """Run the scenarios named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inspect-python", help="an interpreter with inspect-ai; without it the peer is left out")
    parser.add_argument("--rows", type=int, default=2000, help="rows of a turn in the race")
    options = parser.parse_args()
    with OpenAIServer() as server:
        track = Track(server, options)
        for name in options.scenarios or SCENARIOS:
            print(f"\n{name}: {SCENARIOS[name].__doc__}", flush=True)
            SCENARIOS[name](track)


if __name__ == "__main__":
    main()
