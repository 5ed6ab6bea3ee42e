"""Bench's local inference against lm-evaluation-harness and plain transformers, whole processes side by side.

    python benchmarks/local.py --data agnews/test.csv --peer-python LMEVAL/bin/python
    python benchmarks/local.py --data agnews/test.csv --peer-python LMEVAL/bin/python --base SMOLLM2 --rows 60
    python benchmarks/local.py --data agnews/test.csv --vllm-python VLLM/bin/python --base SMOLLM2 --table vllm

`--data` is AG News' own CSV (class, title, description); `--peer-python` an interpreter that has lm-eval and
these packages. Models are made here: Llama architecture, random weights (speed needs no others), a tokenizer
trained on the rows. With `--base` a model folder takes their place, and every contestant applies its chat template; the
table `agreement` then holds Bench's labels, and the token sequences that were scored, against lm-eval's in one type.
Contestants run in processes of their own, in interleaved pairs; printed are medians,
the ratio of medians, the smallest and largest ratio of a pair, and whether the answers agree row by row. Peers run at
the batch size that is best for them; what `bench run` does besides (scoring, log, summary: 0.04 ms a row) is left out.
On a CUDA card: `python -m benchmarks.gpu`.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_models import INSTRUCTION, LABELS, Made, make, make_writers, prompt

HERE = Path(__file__).parent
TABLES = ("choose", "shots", "generate", "head", "adapters")
REAL_TABLES = ("agreement", "vllm")


@dataclass(frozen=True)
class Ran:
    """One process: seconds of wall and CPU time, peak bytes, and what it answered."""

    wall_s: float
    cpu_s: float
    peak: int
    said: dict[str, Any]


@dataclass(frozen=True)
class Bout:
    """A comparison: the job, the peer and its batch size, how many pairs, and the ratio to reach."""

    title: str
    job: dict[str, Any]
    peer: str
    goal: float
    pairs: int


def read_rows(path: Path) -> list[tuple[int, str]]:
    """(class from 0, text) of AG News' CSV; its line breaks are written as backslashes."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(c) - 1, f"{t}\n{d}".replace("\\", " ").strip()) for c, t, d in csv.reader(file)]
    step = 7919  # a fixed stride mixes the classes without a copy of the harness's own order
    return [rows[i * step % len(rows)] for i in range(len(rows))]


def run(python: str, contestant: str, job: dict[str, Any], threads: int) -> Ran:
    """One contestant in a process of its own; wall time from its start to its end, imports included."""
    with tempfile.TemporaryDirectory() as folder:
        job_path, out = Path(folder) / "job.json", Path(folder) / "out.json"
        job_path.write_text(json.dumps(job))
        env = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "true",
            "HF_HUB_OFFLINE": "1",
        }
        command = [python, str(HERE / "local_contestants.py"), contestant, str(job_path), str(out)]
        with (Path(folder) / "err").open("wb") as err:
            begun = time.perf_counter()
            process = subprocess.Popen(command, stdout=err, stderr=err, env=env)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
        if status:
            sys.exit(f"{contestant} failed:\n{(Path(folder) / 'err').read_text()[-4000:]}")
        said = json.loads(out.read_text())
    return Ran(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said)


def compare(bout: Bout, python: str, threads: int) -> tuple[list[Ran], list[Ran]]:
    """Interleaved pairs of (bench, peer); who goes first changes from pair to pair."""
    ours: list[Ran] = []
    theirs: list[Ran] = []
    for n in range(bout.pairs):
        turns = [(ours, sys.executable, "bench"), (theirs, python, bout.peer)]
        for rans, interpreter, contestant in turns if n % 2 == 0 else turns[::-1]:
            rans.append(run(interpreter, contestant, bout.job, threads))
        ratio = theirs[-1].wall_s / ours[-1].wall_s
        note = f"    pair {n + 1}: bench {ours[-1].wall_s:.1f} s, {bout.peer} {theirs[-1].wall_s:.1f} s, {ratio:.2f} x"
        print(note, file=sys.stderr, flush=True)
    return ours, theirs


def median(values: list[float]) -> float:
    return statistics.median(values)


def report(bout: Bout, ours: list[Ran], theirs: list[Ran]) -> None:
    """One comparison as a table row or two."""
    print(f"\n### {bout.title}")
    print("| | wall s | CPU s | peak MB |\n| --- | --- | --- | --- |")
    for name, rans in (("bench", ours), (bout.peer, theirs)):
        wall, cpu = median([r.wall_s for r in rans]), median([r.cpu_s for r in rans])
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {median([r.peak for r in rans]) / 1e6:.0f} |")
    pairs = [t.wall_s / o.wall_s for o, t in zip(ours, theirs, strict=True)]
    wall = median([r.wall_s for r in theirs]) / median([r.wall_s for r in ours])
    cpu = median([r.cpu_s for r in theirs]) / median([r.cpu_s for r in ours])
    peak = median([r.peak for r in ours]) / median([r.peak for r in theirs])
    print(
        f"\nwall {wall:.2f} x ({min(pairs):.2f} to {max(pairs):.2f} over {len(pairs)} pairs; goal {bout.goal} x), "
        f"CPU {cpu:.2f} x, peak memory {peak:.2f} of the peer's"
    )


def differing(ours: Ran, theirs: Ran) -> list[int]:
    """Rows whose answers differ."""
    pairs = zip(ours.said["answers"], theirs.said["answers"], strict=True)
    return [n for n, (a, b) in enumerate(pairs) if a != b]


class Benchmark:
    """The tables; every one can be run alone."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.rows = read_rows(args.data)
        texts = [text for _, text in self.rows]
        words = [*texts, *[f" {label}" for label in LABELS for _ in range(99)], INSTRUCTION]
        self.made: Made = Made(args.base, args.base) if args.base else make(args.work, args.model, words, len(LABELS))

    def job(self, kind: str, rows: int, *, shots: int = 0, batch: int = 64) -> dict[str, Any]:
        """A job over the first rows (shots are taken from the end)."""
        shown = self.rows[-shots:] if shots else []
        taken = self.rows[:rows]
        return {
            "kind": kind,
            "base": str(self.made.base),
            "adapter": str(self.made.adapter),
            "prompts": [prompt(text, shown) for _, text in taken],
            "texts": [text for _, text in taken],
            "labels": LABELS,
            "max_tokens": 8,
            "batch": batch,
            "threads": self.args.threads,
            "dtype": self.args.peer_dtype,
        }

    def python_of(self, peer: str) -> str:
        """The interpreter that has a peer."""
        return str({"lm-eval": self.args.peer_python, "vllm": self.args.vllm_python}.get(peer, sys.executable))

    def best_batch(self, kind: str, peer: str) -> int:
        """The batch size with which a peer needs the least CPU time, of those asked for, on the first rows."""
        if len(self.args.batches) == 1:
            return int(self.args.batches[0])
        rows = self.args.search_rows
        rans = {
            b: run(self.python_of(peer), peer, self.job(kind, rows, batch=b), self.args.threads)
            for b in self.args.batches
        }
        print(f"\n{peer}'s CPU s by batch size: " + ", ".join(f"{b}: {ran.cpu_s:.2f}" for b, ran in rans.items()))
        return min(rans, key=lambda b: rans[b].cpu_s)

    def fight(
        self, title: str, job: dict[str, Any], peer: str, goal: float, pairs: int | None = None
    ) -> tuple[Ran, Ran]:
        """Run and report one comparison."""
        bout = Bout(title, job, peer, goal, pairs or self.args.pairs)
        ours, theirs = compare(bout, self.python_of(peer), self.args.threads)
        report(bout, ours, theirs)
        return ours[-1], theirs[-1]

    def choose(self) -> None:
        """Label scoring, growing rows."""
        per_row = {}
        batch = self.best_batch("choose", "lm-eval")
        for rows in self.args.rows:
            job = self.job("choose", rows, batch=batch)
            ours, theirs = self.fight(f"choose, {rows} rows, lm-eval at batch {batch}", job, "lm-eval", 4.0)
            print(f"predictions that differ: {len(differing(ours, theirs))} of {rows}")
            per_row[rows] = ours.said["counters"]["busy_s"] / rows
            tell(ours)
        print("\nBench's scoring time per row: " + ", ".join(f"{r} rows {s * 1e3:.2f} ms" for r, s in per_row.items()))

    def shots(self) -> None:
        """Four fixed shots: tokens computed against the ideal."""
        from transformers import AutoTokenizer

        from harness.backends.local.kv_cache import shared_length
        from harness.prompting.chat_rendering import Renderer

        rows = self.args.rows[0]
        job = self.job("choose", rows, shots=4, batch=self.best_batch("choose", "lm-eval"))
        ours, theirs = self.fight(f"choose, 4 fixed shots, {rows} rows", job, "lm-eval", 4.0, pairs=1)
        tokenizer = AutoTokenizer.from_pretrained(self.made.base)
        prompts = Renderer(tokenizer).encode(job["prompts"])
        shared = shared_length(prompts)
        labels = sum(len(tokenizer(f" {label}")["input_ids"]) for label in LABELS)
        ideal = shared + sum(len(p) - shared + labels for p in prompts)
        print(f"predictions that differ: {len(differing(ours, theirs))} of {rows}")
        print(
            f"tokens: ideal {ideal}, bench {ours.said['tokens']:.0f} ({ours.said['tokens'] / ideal:.2f} x, "
            f"goal 1.1 x), lm-eval {theirs.said['tokens']} ({theirs.said['tokens'] / ideal:.2f} x)"
        )

    def generate(self) -> None:
        """Eight new tokens."""
        from local_contestants import near_ties

        rows = self.args.rows[0]
        batch = self.best_batch("generate", "lm-eval")
        job = self.job("generate", rows, batch=batch)
        title = f"generate, 8 new tokens, {rows} rows, lm-eval at batch {batch}"
        ours, theirs = self.fight(title, job, "lm-eval", 2.0)
        odd = differing(ours, theirs)
        print(f"texts that differ from lm-eval's: {len(odd)} of {rows}")
        if self.args.base:
            return
        few = self.job("generate", min(rows, 200), batch=1)
        ours, theirs = self.fight(
            "generate, against model.generate row by row, 200 rows", few, "generate", 1.0, pairs=1
        )
        alone = differing(ours, theirs)
        close = near_ties(job, sorted({*odd, *alone}), 1e-4)
        print(f"texts that differ from model.generate's: {len(alone)} of {len(few['prompts'])}")
        print(f"differing rows without a near-tie (1e-4) on their path: {len({*odd, *alone} - set(close))}")

    def agreement(self) -> None:
        """Labels, and the token sequences that were scored, of Bench and lm-eval on the same rows; one run each."""
        rows = self.args.rows[0]
        job = self.job("choose", rows, batch=self.best_batch("choose", "lm-eval")) | {"sequences": True}
        ours = run(sys.executable, "bench", job, self.args.threads)
        theirs = run(self.python_of("lm-eval"), "lm-eval", job, self.args.threads)
        pairs = list(zip(ours.said["sequences"], theirs.said["sequences"], strict=True))
        print(f"\n### agreement with lm-eval in {self.args.peer_dtype}, {rows} rows")
        print(f"CPU s, what was scored written down besides: bench {ours.cpu_s:.1f}, lm-eval {theirs.cpu_s:.1f}")
        print(f"rows of which the same token sequences were scored: {sum(a == b for a, b in pairs)} of {rows}")
        odd = differing(ours, theirs)
        print(f"labels that differ: {len(odd)} of {rows}: {[(n, self.margin(theirs, n)) for n in odd]}")

    def margin(self, ran: Ran, row: int) -> float:
        """By how much a peer's best label leads its second, in nats."""
        best, second, *_ = sorted(ran.said["scores"][row], reverse=True)
        return round(best - second, 4)

    def vllm(self) -> None:
        """Eight new tokens against vLLM in one process, its start counted, and apart."""
        rows = self.args.rows[0]
        title = f"generate, 8 new tokens, {rows} rows, vLLM ({self.args.peer_dtype})"
        bout = Bout(title, self.job("generate", rows), "vllm", 2.0, self.args.pairs)
        ours, theirs = compare(bout, self.python_of("vllm"), self.args.threads)
        report(bout, ours, theirs)
        answering = [median([r.said["answering_cpu_s"] for r in rans]) for rans in (ours, theirs)]
        print(f"CPU s of answering alone: bench {answering[0]:.2f}, vllm {answering[1]:.2f}")
        print(f"texts that differ: {len(differing(ours[-1], theirs[-1]))} of {rows}")

    def head(self) -> None:
        """Classification head against the pipeline at its best batch size."""
        rows = self.args.rows[0]
        best = self.best_batch("head", "pipeline")
        ours, theirs = self.fight(
            f"head, {rows} rows, pipeline at batch {best}", self.job("head", rows, batch=best), "pipeline", 1.5
        )
        print(f"labels that differ: {len(differing(ours, theirs))} of {rows}")

    def adapters(self) -> None:
        """Peak memory of the base and three adapters in one process, against the base alone."""
        rows, folders = min(self.args.rows[0], 200), make_writers(self.made, 3)
        alone, many = [], []
        for _ in range(self.args.pairs):
            alone.append(run(sys.executable, "bench", self.job("choose", rows), self.args.threads))
            job = self.job("choose", rows) | {"adapters": [str(folder) for folder in folders]}
            many.append(run(sys.executable, "bench", job, self.args.threads))
        one, four = median([r.peak for r in alone]), median([r.peak for r in many])
        print(f"\n### one base, three adapters, {rows} rows each, all asked at once")
        print(f"peak of the process: base alone {one / 1e6:.0f} MB, with three adapters {four / 1e6:.0f} MB")
        print(
            f"{four / one:.2f} x (goal at most 1.2 x); the base's answers differ in {len(differing(alone[0], many[0]))}"
        )


def tell(ran: Ran) -> None:
    """What Bench says of its own work."""
    counters = ran.said["counters"]
    shown = ("rows_per_s", "tokens_per_s", "padding_share", "prefix_reuse_share", "peak_memory_bytes")
    print("bench's counters: " + ", ".join(f"{name} {counters[name]:.4g}" for name in shown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="AG News CSV (class, title, description)")
    parser.add_argument("--peer-python", help="interpreter that has lm-eval")
    parser.add_argument("--vllm-python", help="interpreter that has vLLM")
    parser.add_argument("--base", type=Path, help="a model folder, in place of the models made here")
    parser.add_argument(
        "--peer-dtype", default="float32", help="what lm-eval and vLLM compute in; auto: their own choice"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64], help="a peer's batch sizes to try")
    parser.add_argument("--search-rows", type=int, default=200, help="rows on which the best batch size is looked for")
    parser.add_argument("--model", choices=["8m", "100m"], default="8m")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 5600])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", choices=[*TABLES, *REAL_TABLES, "all"], default="all")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "bench-local-models")
    args = parser.parse_args()
    tables = [args.table] if args.table != "all" else ["choose", "generate"] if args.base else list(TABLES)
    if args.peer_python is None and {"choose", "shots", "generate", "agreement"} & set(tables):
        parser.error("--peer-python is needed to compare with lm-eval")
    if args.base is None and args.table in REAL_TABLES:
        parser.error(f"--table {args.table} needs --base")
    benchmark = Benchmark(args)
    print(
        f"model {args.base or args.model}, {args.threads} threads, peer {args.peer_dtype}, {time.strftime('%Y-%m-%d')}"
    )
    for table in tables:
        getattr(benchmark, table)()


if __name__ == "__main__":
    main()
