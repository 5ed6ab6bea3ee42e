"""What one row costs the process that drives a run: to the wire and back, scored, appended, and read for the summary.

    python benchmarks/scale_driver.py --rows 50000

One core, no network, no model: the most rows a second that a single driver can carry is 1 / the sum.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

import msgspec

from harness.backends.ray.ray_worker import CHUNKS, AnswerChunk
from harness.backends.ray.worker_pool import RowWindow, StreamHandle, WindowQueue
from harness.records import BackendIdentity, Completion, Request, Sample, Score, Timing, Usage
from harness.runs.run_log import Manifest, RunLog
from harness.summary.summarise import summarise
from harness.task_loading import build_request, load_task

LABELS = ("World", "Sports", "Business", "Sci/Tech")
WINDOW = 1024


def samples(count: int) -> list[Sample]:
    """News of about 240 characters, each its own."""
    text = "Shares of the maker of chips rose after it told of a profit that was larger than what the market had hoped"
    return [
        Sample.of({"text": f"Item {n}: {text}; {text[: 40 + n % 80]}."}, LABELS[n % 4], "test") for n in range(count)
    ]


def answer(request: Request, n: int) -> Completion:
    """As the local engine gives it with `choose`."""
    scores = {label: -0.25 * (1 + (n + place) % 4) - 0.001 * (n % 977) for place, label in enumerate(LABELS)}
    return Completion(
        id=request.id,
        repeat=request.repeat,
        text=LABELS[n % 4],
        finish="stop",
        usage=Usage(prompt_tokens=90, completion_tokens=1),
        timing=Timing(queue_s=0.12345678, service_s=0.02345678),
        label_scores=scores,
        prompt_hash="0" * 64,
    )


def out(requests: list[Request], windows: list[RowWindow]) -> None:
    """Requests into windows and onto the wire."""
    asker = StreamHandle(WindowQueue(room=1), b"")
    for start in range(0, len(requests), WINDOW):
        window = RowWindow(b"", {(r.id, r.repeat): r for r in requests[start : start + WINDOW]}, asker)
        window.rows()
        windows.append(window)


def back(wire: list[bytes], windows: list[RowWindow]) -> None:
    """Pieces from the wire, handed to whoever asked."""
    for raw, window in zip(wire, windows, strict=True):
        for piece in CHUNKS.decode(raw):
            window.deliver(piece.answers)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), count))


async def measure(folder: Path, count: int) -> None:
    """Every step once over all rows."""
    task = load_task("agnews")
    rows = samples(count)
    took: dict[str, float] = {}

    def note(name: str, began: float) -> None:
        took[name] = time.process_time() - began

    began = time.process_time()
    requests = [build_request(task, sample) for sample in rows]
    note("make the request", began)
    manifest = Manifest(
        id="x",
        task="agnews",
        task_spec="agnews",
        parser=task.version,
        labels=task.labels,
        rows=count,
        backends={"ray": BackendIdentity(kind="local", model="m", decode="choose")},
    )
    began = time.process_time()
    log = RunLog.create(folder / "run", manifest, zip(rows, requests, strict=True))
    note("write samples.jsonl", began)
    windows: list[RowWindow] = []
    began = time.process_time()
    out(requests, windows)
    note("into windows, onto the wire", began)
    answers = [answer(request, n) for n, request in enumerate(requests)]
    cut = [answers[s : s + WINDOW] for s in range(0, count, WINDOW)]
    wire = [msgspec.msgpack.encode([AnswerChunk(window=0, answers=part)]) for part in cut]
    began = time.process_time()
    back(wire, windows)
    note("from the wire, matched", began)
    began = time.process_time()
    scores: list[Score] = [task.score(s, a) for s, a in zip(rows, answers, strict=True)]
    note("score", began)
    began = time.process_time()
    with log.writer("ray") as writer:
        for n, (completion, score) in enumerate(zip(answers, scores, strict=True)):
            writer.append(n, completion, score)
    note("append", began)
    began = time.process_time()
    summarise(log, task.metrics)
    note("read both files and summarise", began)
    show(took, count, folder, wire)


def show(took: dict[str, float], count: int, folder: Path, wire: list[bytes]) -> None:
    """The table, and bytes a row."""
    print(f"{count} rows, load {os.getloadavg()[0]:.1f}\n\n| step | us a row | rows/s |\n| --- | --- | --- |")
    for step, seconds in took.items():
        print(f"| {step} | {1e6 * seconds / count:.1f} | {count / seconds:,.0f} |")
    asking = sum(s for step, s in took.items() if step not in ("read both files and summarise", "write samples.jsonl"))
    print(f"| all that is done while asking | {1e6 * asking / count:.1f} | {count / asking:,.0f} |")
    rows = (folder / "run" / "samples.jsonl").stat().st_size / count
    logs = sum(p.stat().st_size for p in (folder / "run").glob("ray*.jsonl")) / count
    print(f"\nbytes a row: samples {rows:.0f}, log {logs:.0f}, wire back {sum(map(len, wire)) / count:.0f}")


if __name__ == "__main__":
    main()
