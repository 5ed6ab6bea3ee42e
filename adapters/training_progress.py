"""Training made visible: a live line on a terminal, a plain line every tenth of the way in a pipe."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback


class TrainingProgress(TrainerCallback):
    """Step, loss, tokens a second and time left on `console`; validation scores as lines of their own."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.loss: float | None = None
        self._begun = 0.0
        self._first = 0
        self._first_tokens = 0
        self._told = 0
        self._bar: Progress | None = None
        self._row: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._begun, self._first = time.perf_counter(), state.global_step
        self._first_tokens = state.num_input_tokens_seen
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[words]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._row = self._bar.add_task("", total=self.total, completed=state.global_step, words="")
            self._bar.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Remember the loss; print validation scores."""
        logs = logs or {}
        self.loss = logs.get("loss", self.loss)
        scores = {k.removeprefix("eval_"): v for k, v in logs.items() if k.startswith("eval_")}
        shown = {k: v for k, v in scores.items() if k not in NOT_SCORES}
        if shown:
            words = ", ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in shown.items())
            self.console.print(f"validation at step {state.global_step}: {words}", highlight=False)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar, or print a line for every tenth."""
        words = self._words(state)
        if self._bar is not None:
            self._bar.update(self._row, completed=state.global_step, words=words)
        elif state.global_step * 10 // self.total > self._told:
            self._told = state.global_step * 10 // self.total
            left = self._seconds() / max(1, state.global_step - self._first) * (self.total - state.global_step)
            self.console.print(
                f"training: step {state.global_step}/{self.total}, {words}, {left:.0f} s left", highlight=False
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the finished bar visible."""
        self.close()

    def close(self) -> None:
        """End the live display; safe to call twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._begun, 1e-6)

    def _words(self, state: Any) -> str:
        speed = (state.num_input_tokens_seen - self._first_tokens) / self._seconds()
        return f"loss {self.loss:.3f}, {speed:,.0f} tokens/s" if self.loss is not None else f"{speed:,.0f} tokens/s"


NOT_SCORES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
"""What the training loop logs beside the validation scores."""
