"""How the tests of hosted fine-tuning train: against the loopback provider, in this process or in one of their own."""

import io
import json
import os
import subprocess
from pathlib import Path

from rich.console import Console

from harness.adapter_manifest import AdapterManifest
from harness.adapters.hosted.hosted_training import train_hosted
from harness.adapters.train_options import TrainOptions
from harness.workspace import Workspace
from tests.support.openai_server import OpenAIServer
from tests.support.processes import BENCH

RECIPE = "gpt-3.5-turbo-persona"
MODEL = "gpt-3.5-turbo-1106"
KEY = "sk-canary-0123456789abcdef"
ANSWER = '[{"text": "Aye.", "emotion": "dry"}]'


def conversations(path: Path, count: int, answer: str = ANSWER) -> Path:
    """Rows of persona-json, all different."""
    rows = [
        {
            "messages": [
                {"role": "system", "content": "You are Ada. Answer as a JSON array."},
                {"role": "user", "content": f"Question {n}: what of {'the sea ' * (n % 5)}and item {n * 7919}?"},
                {"role": "assistant", "content": answer},
            ]
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def options(server: OpenAIServer, data: Path | str, *settings: str, **more: object) -> TrainOptions:
    """A training at the loopback provider."""
    overrides = (f"base_url={server.url}", "poll_s=0.05", "validation_rows=5", *settings)
    return TrainOptions("persona-json", recipe=RECIPE, overrides=overrides, data=str(data), **more)  # type: ignore[arg-type]


def train(asked: TrainOptions, home: Path) -> tuple[Path, AdapterManifest, str]:
    """Train; also what was said to people."""
    said = io.StringIO()
    folder, manifest = train_hosted(asked, Workspace(home), Console(file=said, width=200))
    return folder, manifest, said.getvalue()


def command(server: OpenAIServer, data: Path, *more: str) -> list[str]:
    """The same as a command line."""
    words = ["train", "--task", "persona-json", "--recipe", RECIPE, "--data", str(data)]
    for setting in (f"base_url={server.url}", "poll_s=0.05", "validation_rows=5"):
        words += ["--set", setting]
    return [*BENCH, *words, *more]


def start(server: OpenAIServer, data: Path, home: Path, *more: str) -> "subprocess.Popen[str]":
    """The command in a process of its own."""
    return subprocess.Popen(
        command(server, data, *more),
        env={**os.environ, "BENCH_HOME": str(home), "OPENAI_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def notes(home: Path) -> list[Path]:
    """The notes of all jobs of a workspace."""
    return list((home / "adapters").glob(".training-*/job.json"))
