"""Four small evaluations with recorded answers, each of which asks for one verdict.

    python -m benchmarks.statistics_grid.recordings FOLDER
    cd FOLDER/rare-references && sh commands.sh

- `rare-references`: worse only on rows whose reference occurs once, asked with `--limit`; must fail.
- `one-row-a-label`: 77 labels with one row each; gives no verdict on macro-F1.
- `five-graded-rows`: five graded rows of which four tie; is inconclusive.
- `memorised`: right only on rows that are in the training split; must not pass.
"""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

CANDIDATE, REFERENCE = "small", "large"


@dataclass(frozen=True)
class Line:
    """A test row: its text, the right answer, and what the two backends answered."""

    text: str
    right: str
    small: str
    large: str


@dataclass(frozen=True)
class Evaluation:
    """One evaluation. task: the task file's own lines, or the name of a task; text, right: its columns; run, gate:
    options of the two commands."""

    name: str
    prompt: str
    lines: tuple[Line, ...]
    task: str
    columns: tuple[str, str] = ("text", "label")
    train: tuple[tuple[str, str], ...] = ()
    run: tuple[str, ...] = ()
    gate: tuple[str, ...] = ()

    @property
    def commands(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The words after `bench` of the run and of the gate."""
        task = "task.toml" if "\n" in self.task else self.task
        names = f"{CANDIDATE},{REFERENCE}"
        return (
            ("run", "--task", task, "--data", "rows", "--backends", names, "--out", "run", *self.run),
            ("gate", "run", "--candidate", CANDIDATE, "--reference", REFERENCE, *self.gate),
        )

    def write(self, folder: Path) -> None:
        """Task, rows, recordings, settings and commands."""
        (folder / "rows").mkdir(parents=True)
        if "\n" in self.task:
            (folder / "task.toml").write_text(self.task)
        text, right = self.columns
        _write(folder / "rows" / "test.jsonl", [{text: line.text, right: line.right} for line in self.lines])
        if self.train:
            _write(folder / "rows" / "train.jsonl", [{text: a, right: b} for a, b in self.train])
        settings = ""
        for backend in (CANDIDATE, REFERENCE):
            settings += f'[backends.{backend}]\nkind = "replay"\npath = "{backend}.jsonl"\nmodel = "{backend}-1"\n'
            _write(folder / f"{backend}.jsonl", [self._conversation(line, backend) for line in self.lines])
        (folder / "bench.toml").write_text(settings)
        (folder / "commands.sh").write_text("".join(f"bench {shlex.join(words)}\n" for words in self.commands))

    def _conversation(self, line: Line, backend: str) -> dict[str, object]:
        asked, answered = self.prompt + line.text, str(getattr(line, backend))
        return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


def _write(path: Path, lines: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _task(prompt: str, labels: list[str]) -> str:
    named = f"labels = {json.dumps(labels)}\n" if labels else ""
    return f'prompt = "{prompt}{{{{ text }}}}"\nreference = "label"\n{named}'


def rare_references() -> Evaluation:
    """1,000 orders: 450 are paid, 450 are open, 100 have a number each. The candidate misses half of these numbers and
    is as good elsewhere: a loss of 5 points, asked about on 400 rows against a margin of 2."""
    prompt = "State or number of this order? "
    lines = []
    for k in range(1000):
        right = "paid" if k < 450 else "open" if k < 900 else f"no. {7919 * k % 100_003}"
        other = "open" if right == "paid" else "paid"
        small = other if (k >= 900 and k % 2) or (k < 900 and k % 60 == 7) else right
        large = other if k < 900 and k % 60 == 37 else right
        lines.append(Line(f"order {k}, left the warehouse on day {k % 28}", right, small, large))
    return Evaluation(
        "rare-references",
        prompt,
        tuple(lines),
        _task(prompt, []),
        run=("--limit", "400"),
        gate=("--margin", "accuracy", "0.02"),
    )


def one_row_a_label() -> Evaluation:
    """77 labels, one row each: each side misses rows that the other has right, the candidate one row less."""
    prompt = "Which shelf? "
    shelves = [f"shelf {k:02}" for k in range(77)]
    wrong = {"small": range(4, 70, 11), "large": range(7, 77, 11)}
    lines = tuple(
        Line(
            f"crate number {3 * k + 1}",
            shelf,
            *(shelves[(k + 5) % 77] if k in wrong[side] else shelf for side in (CANDIDATE, REFERENCE)),
        )
        for k, shelf in enumerate(shelves)
    )
    return Evaluation("one-row-a-label", prompt, lines, _task(prompt, shelves), gate=("--margin", "macro_f1", "0.05"))


def five_graded_rows() -> Evaluation:
    """Five open answers compared with their references by characters: four are the same, one is a little better."""
    prompt = "Answer this question about statistics, in plain text.\n\n"
    answers = (
        ("What is a median?", "The middle value of the sorted data."),
        ("What is a mode?", "The value that occurs most often."),
        ("What is a range?", "The largest value minus the smallest value."),
        ("What is a quartile?", "A value that a quarter of the data do not exceed."),
        ("What is a variance?", "The mean of the squared distances from the mean."),
    )
    lines = [Line(question, right, right[:-9], right[:-9]) for question, right in answers]
    lines[-1] = Line(*answers[-1], answers[-1][1][:-4], answers[-1][1][:-7])
    return Evaluation(
        "five-graded-rows",
        prompt,
        tuple(lines),
        "crossvalidated",
        columns=("question", "answer"),
        gate=("--margin", "chrf", "0.02"),
    )


def memorised() -> Evaluation:
    """300 messages, 250 of which are in the training split: the candidate is right on these and on no other; the
    reference is right on four in five of all."""
    prompt = "Which team answers? "
    teams = ("sales", "support", "billing")
    texts = [f"ticket {k}: {_words(k)}" for k in range(300)]
    right = [teams[k % 3] for k in range(300)]
    other = [teams[(k + 1) % 3] for k in range(300)]
    lines = tuple(
        Line(texts[k], right[k], right[k] if k % 6 else other[k], right[k] if k % 5 else other[k]) for k in range(300)
    )
    train = tuple((texts[k], right[k]) for k in range(300) if k % 6)
    return Evaluation(
        "memorised",
        prompt,
        lines,
        _task(prompt, list(teams)),
        train=train,
        gate=("--margin", "accuracy", "0.05"),
    )


def _words(k: int) -> str:
    """A few words that no other row shares in this order: rows are not near duplicates of each other."""
    words = ("invoice", "engine", "parcel", "contract", "window", "refund", "printer", "account", "holiday", "cable")
    return " ".join(words[(k * step + step // 3) % 10] + str(k * step % 97) for step in (7, 13, 29, 31))


def evaluations() -> tuple[Evaluation, ...]:
    """All four."""
    return rare_references(), one_row_a_label(), five_graded_rows(), memorised()


def main() -> None:
    """Write the folders named after the evaluations below the folder on the command line."""
    for evaluation in evaluations():
        folder = Path(sys.argv[1]) / evaluation.name
        evaluation.write(folder)
        print(f"wrote {folder}")


if __name__ == "__main__":
    main()
