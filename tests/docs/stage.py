"""Where the commands of a page run: a folder with rows and with backends that answer from a loopback server."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

from harness.tasks import agnews
from tests.docs.blocks import Block, Page

NAMES = ("gpt4", "gpt35", "llama-ft", "llama-base", "mine")
TIME_LIMIT_S = 400
SAMPLE = Path(agnews.__file__).parent / "data" / "news"


class Stage:
    """A folder for one page: its files, bench.toml, rows, and the commands `bench`, `python` and `pytest`."""

    def __init__(self, folder: Path, urls: tuple[str, str]) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.printed = ""
        commands = folder / "bin"
        commands.mkdir()
        for name, start in {
            "bench": "-m harness",
            "python": "",
            "pytest": "-m pytest -p no:cacheprovider",
        }.items():
            (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {start} "$@"\n')
            (commands / name).chmod(0o755)
        self.environment = {
            "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "100",
            **{key: os.environ[key] for key in ("LANG", "TMPDIR", "OMP_NUM_THREADS") if key in os.environ},
        }
        tables = [
            f'[backends.{name}]\nkind = "openai"\nmodel = "{name}"\nbase_url = "{urls[name.startswith("gpt")]}"\n'
            "price = { input = 2.0, output = 8.0 }\n"
            for name in NAMES
        ]
        (self.folder / "bench.toml").write_text("\n".join(tables))
        subprocess.run(["git", "init", "-q", str(self.folder)], check=True, capture_output=True)
        self._rows()

    def _rows(self) -> None:
        """rows/train.jsonl, rows/test.jsonl and test.csv: a piece of the embedded news."""
        (self.folder / "rows").mkdir()
        for split, count in (("train", 80), ("test", 60)):
            lines = (SAMPLE / f"{split}.jsonl").read_text("utf-8").splitlines()[:count]
            (self.folder / "rows" / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        rows = [json.loads(line) for line in lines]
        with (self.folder / "test.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["text", "label"], *([row["text"], row["label"]] for row in rows)])

    def write_files(self, page: Page) -> None:
        """Write the blocks that are files."""
        for block in page.blocks:
            if "file" in block.marks:
                path = self.folder / block.marks["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, "utf-8")

    def shell(self, script: str, place: str, code: int = 0) -> None:
        """Run a script; what it printed is kept. Fails with the place, the exit code and what was printed."""
        done = subprocess.run(
            ["bash", "-c", f"set -eu\n{script}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        self.printed = done.stdout.decode("utf-8", "replace")
        assert done.returncode == code, f"{place} ended with {done.returncode}, not {code}:\n{self.printed}"

    def run(self, block: Block) -> None:
        """Run a block of bash or python."""
        code = int(block.marks.get("exits", "0"))
        if block.language == "bash":
            self.shell(block.text, block.place, code)
        elif block.language == "python":
            self.shell(f"python - <<'END_OF_BLOCK'\n{block.text}\nEND_OF_BLOCK\n", block.place, code)
        else:
            raise AssertionError(f"{block.place}: say which language it is, such as bash or python")
