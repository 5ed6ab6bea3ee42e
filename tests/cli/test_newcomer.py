"""A new user with a CSV and the README: a task, a baseline, and the very command that training says to type next."""

import csv
import random
import subprocess
import sys
from pathlib import Path

import pytest

TASK = '''prompt = """
Which team handles this mail, billing or technical? Answer with the team.

Mail: {{ message }}"""
reference = "team"
labels = ["billing", "technical"]
data = "mails"
'''


def mails(folder: Path) -> None:
    """120 training and 60 test mails whose team follows from one word."""
    draw = random.Random(1)
    words = {"billing": ("refund", "invoice", "receipt"), "technical": ("crash", "login", "screen")}
    (folder / "mails").mkdir()
    for split, count in (("train", 120), ("test", 60)):
        teams = [draw.choice(list(words)) for _ in range(count)]
        rows = [[f"Order {draw.randrange(10**9)}: about the {draw.choice(words[team])}", team] for team in teams]
        with (folder / "mails" / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["message", "team"], *rows])


def bench(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from bench_harness import main; main()", *words],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_training_says_to_type_next_can_be_typed(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    mails(tmp_path)
    (tmp_path / "mails.toml").write_text(TASK)
    said = bench(tmp_path, "train", "--task", "./mails.toml", "--recipe", "tfidf", "--quiet").splitlines()[-1]
    assert said == "next: bench run --task ./mails.toml --backends tfidf"
    table = bench(tmp_path, *said.split()[2:], "--quiet")
    assert "tfidf: accuracy 100.0" in table
