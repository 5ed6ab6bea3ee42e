"""Results of the GPU check: figures and comparisons, written as JSON and as a Markdown table after every row."""

import math
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from harness.backends.local.batching import is_out_of_memory
from harness.files import write_json, write_whole

JSON_FILE, TABLE_FILE = "gpu.json", "gpu.md"

Figures = dict[str, float | int | str]


class Finding(NamedTuple):
    """One measurement. holds: whether a required comparison holds; None where nothing is required."""

    figures: Figures
    holds: bool | None = None
    note: str = ""


class Row(msgspec.Struct, kw_only=True):
    """One line of the table. status: "skipped" rows say why in `note`, "failed" ones carry the error."""

    what: str
    status: Literal["measured", "skipped", "failed"] = "measured"
    holds: bool | None = None
    figures: Figures = {}
    note: str = ""


class PartResult(msgspec.Struct, kw_only=True):
    """One part. status: "stopped" at its time limit, with the rows measured until then."""

    name: str
    about: str
    status: Literal["running", "done", "skipped", "failed", "stopped"] = "running"
    seconds: float = 0.0
    limit_s: float = 0.0
    note: str = ""
    rows: list[Row] = []

    def figure(self, name: str) -> float | None:
        """The first figure of this name in any row."""
        found = next((row.figures[name] for row in self.rows if name in row.figures), None)
        return float(found) if found is not None else None


class Report(msgspec.Struct, kw_only=True):
    """The whole check; `format` rises when the meaning of a field changes."""

    format: int = 1
    created: str
    device: str
    small: bool
    budget_s: float
    spent_s: float = 0.0
    environment: dict[str, Any] = {}
    parts: list[PartResult] = []

    @classmethod
    def read(cls, folder: Path) -> "Report":
        """The report as last written."""
        return msgspec.json.decode((folder / JSON_FILE).read_bytes(), type=cls)

    def write(self, folder: Path) -> None:
        """Replace both files, each whole or not at all."""
        write_json(folder / JSON_FILE, self)
        write_whole(folder / TABLE_FILE, markdown(self).encode())

    def part(self, name: str) -> PartResult | None:
        """The result of a part, if it has begun or was skipped."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def passed(self) -> bool:
        """Whether every part and row ended and every required comparison holds."""
        ended = all(part.status in ("done", "skipped") for part in self.parts)
        return ended and all(r.holds is not False and r.status != "failed" for part in self.parts for r in part.rows)


class Recorder:
    """Takes the rows of the part that runs, and its time; every row is on disk before the next one begins."""

    def __init__(self, report: Report, folder: Path, limit_s: float) -> None:
        """The part is the report's last one; limit_s counts from now."""
        self.report = report
        self.folder = folder
        self.part = report.parts[-1]
        self._end = time.perf_counter() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds until the part's limit."""
        return self._end - time.perf_counter()

    def measure(self, what: str, work: Callable[[], Finding], *, needs_s: float = 5.0) -> Row:
        """Run one measurement and write its row; skipped where fewer than `needs_s` seconds are left.

        An error becomes a failed row and the part goes on; running out of memory is reported as skipped.
        """
        if self.left_s < needs_s:
            return self.skip(what, f"{max(0.0, self.left_s):.0f} s of this part were left, and it needs {needs_s:.0f}.")
        try:
            found = work()
        except Exception as error:
            if is_out_of_memory(error):
                return self.skip(what, "the device's memory has no room for it.")
            traceback.print_exc()
            return self._add(Row(what=what, status="failed", note=_sentence(error)))
        return self._add(Row(what=what, holds=found.holds, figures=found.figures, note=found.note))

    def skip(self, what: str, why: str) -> Row:
        """A row that was not measured, and why."""
        return self._add(Row(what=what, status="skipped", note=why))

    def _add(self, row: Row) -> Row:
        self.part.rows.append(row)
        self.report.write(self.folder)
        return row


def _sentence(error: BaseException) -> str:
    first = (str(error).splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {first}." if first else f"{type(error).__name__}."


def markdown(report: Report) -> str:
    """The report as one Markdown table below a line on machine and versions."""
    machine, versions = report.environment.get("hardware", {}), report.environment.get("versions", {})
    names = ", ".join(machine.get("gpus") or [str(machine.get("cpu", ""))])
    packages = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "peft") if name in versions)
    size = ", small shapes" if report.small else ""
    lines = [
        f"GPU check of {report.created} on {report.device} ({names}){size}; {packages}; "
        f"{report.spent_s:.0f} of {report.budget_s:.0f} s.",
        "",
        "| part | measurement | holds | figures | note |",
        "| --- | --- | --- | --- | --- |",
    ]
    for part in report.parts:
        lines.append(_line(part.name, f"({part.status}, {part.seconds:.0f} s)", "", "", part.note or part.about))
        for row in part.rows:
            holds = {True: "yes", False: "**no**", None: ""}[row.holds]
            shown = "; ".join(f"{name} {_shown(value)}" for name, value in row.figures.items())
            note = row.note if row.status == "measured" else f"{row.status}: {row.note}"
            lines.append(_line(part.name, row.what, holds, shown, note))
    return "\n".join(lines) + "\n"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: float | int | str) -> str:
    """Three significant digits; whole numbers whole."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
