"""The table of real rows: SmolLM2 plain, tuned and served, and TF-IDF, on AG News, QQP and persona conversations.

    python -m benchmarks.real.table DATA --work FOLDER                  # all parts, one thread
    python -m benchmarks.real.table DATA --work FOLDER --part agnews    # one of them

DATA is the folder of public rows that benchmarks/RESULTS.md describes. Everything is an ordinary `bench` command,
printed before it runs; adapters and runs that lie in FOLDER are used again. One seed unless --seeds says otherwise.
The served copies want `python -m benchmarks.real.environments light vllm`; without them their rows are left out.
"""

import argparse
import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.real import environments, servers
from harness.adapter_manifest import read_manifest
from harness.adapters.serving import for_vllm
from harness.metrics import Estimate
from harness.results import PairResult, Summary
from harness.runs.run_log import RunLog

DEVICE_HOUR_USD = 0.10
"""An assumed price of the machine; every cost in the table follows from it."""

GENERATE = ("batch=8", "accumulate=1", "learning_rate=1e-3", "validation_rows=100", "evaluations=2")
HEAD = ("batch=16", "accumulate=1", "learning_rate=5e-4", "validation_rows=100", "evaluations=2")
PERSONA = (
    "quantization=none", "optimizer=adamw_torch", "epochs=3", "batch=4", "accumulate=1", "learning_rate=1e-3",
    "validation_rows=8", "evaluations=1",
)  # fmt: skip


class Part(NamedTuple):
    """One task: its rows, the candidates, and how many rows are evaluated (None: all)."""

    task: str
    data: str
    trainings: dict[str, tuple[str, ...]]
    limit: int | None
    shown: tuple[str, ...]


def training(recipe: str, rows: int | None, settings: tuple[str, ...], base: Path | None = None) -> tuple[str, ...]:
    """The words of a `bench train` after task, data and output."""
    words = ["--recipe", recipe]
    words += ["--base", str(base)] if base is not None else []
    words += ["--limit", str(rows)] if rows is not None else []
    return (*words, *(word for setting in settings for word in ("--set", setting)))


def parts(rows: int, limit: int | None) -> dict[str, Part]:
    """The three tasks. rows: training rows of AG News and QQP, those that choose the checkpoint included."""
    base = environments.model_folder()
    head = "llama-3.2-1b-agnews-head"
    held = ("validation_rows=100",)
    return {
        "agnews": Part(
            "agnews", "agnews",
            {
                "smollm2-generate": training("agnews-generate", rows, GENERATE, base),
                "smollm2-head": training(head, rows, HEAD, base),
                "tfidf-same-rows": training("tfidf", rows, held),
                "tfidf-all-rows": training("tfidf", None, held),
            },
            limit, ("accuracy", "format_error_rate"),
        ),
        "qqp": Part(
            "qqp", "qqp",
            {
                "smollm2-head": training(head, rows, HEAD, base),
                "tfidf-same-rows": training("tfidf", rows, held),
                "tfidf-all-rows": training("tfidf", None, held),
            },
            limit, ("accuracy", "f1"),
        ),
        "persona": Part(
            "persona-json", "persona", {"smollm2-generate": training("llama-3.1-8b-persona", None, PERSONA, base)},
            None, ("format_error_rate",),
        ),
    }  # fmt: skip


class Workbench:
    """Runs `bench` in one folder with a workspace of its own, one thread, offline; prints each command."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data.resolve(), folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "adapters").mkdir(exist_ok=True)

    def bench(self, *words: str) -> None:
        """Run a command; stops the program where it fails."""
        print(f"$ bench {shlex.join(words)}", flush=True)
        environment = {
            **os.environ,
            "BENCH_HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        environment["PYTHONPATH"] = os.pathsep.join([str(servers.ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(
            os.pathsep
        )
        subprocess.run([sys.executable, "-m", "harness", *words], cwd=self.folder, env=environment, check=True)

    def train(self, part: Part, name: str) -> Path:
        """The adapter of one training, made once."""
        folder = self.folder / "adapters" / f"{part.task}-{name}"
        if not folder.exists():
            source = str(self.data / part.data)
            self.bench("train", "--task", part.task, "--data", source, *part.trainings[name], "--out", str(folder))
        return folder

    def measure(self, name: str, part: Part, served: bool) -> Path:
        """Train what is missing, ask every candidate in one run, and return the run."""
        adapters = {candidate: self.train(part, candidate) for candidate in part.trainings}
        run = self.folder / f"run-{name}"
        if (run / "summary.json").exists():
            return run
        with ExitStack() as running:
            tables = [_local("smollm2-plain", f'model = "{environments.model_folder()}"')]
            for candidate, folder in adapters.items():
                kind = "sklearn" if candidate.startswith("tfidf") else "local"
                tables.append(_local(candidate, f'adapter = "{folder}"', kind))
            tuned = adapters.get("smollm2-generate")
            if served and tuned is not None and environments.missing("vllm") is None:
                served_id = read_manifest(tuned).id
                line = for_vllm(tuned, 64).command
                assert line is not None, "vLLM serves what these recipes train"
                server = running.enter_context(servers.vllm_command(line))
                tables.append(_served("vllm-adapter", server, served_id))
            if served and environments.missing("llamacpp") is None:
                tables.append(_served("llamacpp-q4-plain", running.enter_context(servers.llamacpp()), "smollm2"))
            if name == "persona":
                tables += [
                    f'[backends.{n}]\nkind = "replay"\npath = "{self.data / "persona" / file}"\n'
                    for n, file in (
                        ("llama-8b", "recorded_llama-3.1-8b.jsonl"),
                        ("llama-8b-tuned", "recorded_llama-3.1-8b-ft.jsonl"),
                    )
                ]
            (self.folder / "bench.toml").write_text("\n".join(tables), "utf-8")
            names = ",".join(table.split("]")[0].removeprefix("[backends.") for table in tables)
            limit = ["--limit", str(part.limit)] if part.limit else []
            self.bench(
                "run", "--task", part.task, "--data", str(self.data / part.data), "--backends", names, *limit,
                "--no-cache", "--out", str(run),
            )  # fmt: skip
        return run


def _local(name: str, what: str, kind: str = "local") -> str:
    return f'[backends.{name}]\nkind = "{kind}"\n{what}\ndevice_hour_usd = {DEVICE_HOUR_USD}\n'


def _served(name: str, server: servers.Server, model: str) -> str:
    return f'[backends.{name}]\nkind = "openai"\nmodel = "{model}"\nbase_url = "{server.base_url}"\nconcurrency = 4\n'


def markdown(summary: Summary, part: Part) -> str:
    """The results of one run as a table, and its paired differences from the tuned model."""
    lines = [
        f"{part.task}, {summary.rows:,} rows:",
        "",
        f"| candidate | {' | '.join(part.shown)} | rows/s | USD per 1,000 |",
        "| --- |" + " --- |" * (len(part.shown) + 2),
    ]
    for name, backend in summary.backends.items():
        figures = [percent(backend.metrics.get(metric)) for metric in part.shown]
        speed = backend.load.rows_per_s if backend.load else None
        cost = backend.cost.per_1000 if backend.cost else None
        lines.append(
            f"| {name} | {' | '.join(figures)} | {'-' if speed is None else f'{speed:.2f}'} "
            f"| {'unknown' if cost is None else f'{cost:.4f}'} |"
        )
    lines += ["", *(f"- {difference(pair)}" for pair in summary.pairs if pair.metric == part.shown[0])]
    return "\n".join(lines) + "\n"


def percent(figure: Estimate | None) -> str:
    """A proportion with its interval, in per cent."""
    if figure is None or figure.value is None:
        return "n/a"
    interval = (
        "" if figure.low is None or figure.high is None else f" [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    )
    return f"{100 * figure.value:.1f}{interval}"


def difference(pair: PairResult) -> str:
    """One paired difference in points."""
    return f"{pair.a} minus {pair.b}: {percent(pair.difference)} points ({pair.verdict})"


def main() -> None:
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with agnews, qqp and persona")
    parser.add_argument("--work", type=Path, required=True, help="folder for adapters, runs and the tables")
    parser.add_argument("--part", choices=["agnews", "qqp", "persona"], action="append")
    parser.add_argument(
        "--rows", type=int, default=2100, help="training rows of AG News and QQP (100 of them choose the checkpoint)"
    )
    parser.add_argument("--limit", type=int, help="evaluated rows of AG News and QQP; default: all")
    parser.add_argument("--no-servers", action="store_true", help="leave the served copies out")
    options = parser.parse_args()
    if sentence := environments.missing("model"):
        parser.error(sentence)
    bench = Workbench(options.data, options.work)
    for name, part in parts(options.rows, options.limit).items():
        if options.part and name not in options.part:
            continue
        run = bench.measure(name, part, served=not options.no_servers)
        summary = RunLog.open(run).summary()
        assert summary is not None
        table = markdown(summary, part)
        (options.work / f"{name}.md").write_text(table, "utf-8")
        print(table, flush=True)


if __name__ == "__main__":
    main()
