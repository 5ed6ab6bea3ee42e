"""Three local backends on three different bases in one run, again and again: every run must end with exit code 0.

    python -m benchmarks.abuse.bases --runs 100

transformers changes torch for the whole process while it makes a model, so two bases that load at the same time used
to break each other. The bases are tiny and random; every run loads all three again.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import transformers

from harness.cli.main import _run
from tests.support.tiny_architectures import tiny_model
from tests.support.tiny_llama import sentences, tokenizer

ARCHITECTURES = ("llama", "gpt2", "mistral")
TASK = """
prompt = "Which topic is this?\\n{{ text }}\\nTopic:"
reference = "label"
labels = ["World", "Sports"]
data = "rows"
"""


def stage(folder: Path) -> None:
    """The three bases, a task of a few rows and the settings of three backends."""
    made = tokenizer()
    tables = []
    for name in ARCHITECTURES:
        tiny_model(name, len(made)).save_pretrained(folder / name)
        made.save_pretrained(folder / name)
        tables.append(f'[backends.{name}]\nkind = "local"\nmodel = "{name}"\ndecode = "choose"\nthreads = 1\n')
    (folder / "bench.toml").write_text("\n".join(tables))
    (folder / "t.toml").write_text(TASK)
    (folder / "rows").mkdir()
    rows = [f"{text},{'World' if n % 2 else 'Sports'}" for n, text in enumerate(sentences(8))]
    (folder / "rows" / "test.csv").write_text("\n".join(["text,label", *rows]) + "\n")


def main() -> int:
    """Run so many times; prints how often each exit code came, and returns 0 where all were 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    codes: Counter[int] = Counter()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        stage(Path(folder))
        for n in range(runs):
            argv = ["run", "--task", "./t.toml", "--backends", ",".join(ARCHITECTURES), "--out", f"out-{n}", "--quiet"]
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = _run(argv)
            codes[code] += 1
            if code:
                print(said.getvalue()[-2000:], file=sys.stderr)
    print(f"{runs} runs of {len(ARCHITECTURES)} bases in {time.perf_counter() - begun:.0f} s: exit codes {dict(codes)}")
    return int(set(codes) != {0})


if __name__ == "__main__":
    sys.exit(main())
