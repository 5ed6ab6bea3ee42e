"""Runs the parts one after another, each in a process of its own that ends at its limit.

A process of its own: an error on the device (an illegal access, a hang) ends one part and not the check, memory is
whole at the beginning of each part, and kernels that a library patches in stay where they were asked for.
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu.parts import BUDGET_S, PARTS
from benchmarks.gpu.results import PartResult, Recorder, Report
from benchmarks.gpu.workload import Setting

MARGIN_S = 3.0
"""What a part's own clock ends ahead of its process's limit, so that its last row is written."""

ROOT = Path(__file__).parents[2]


def run_all(report: Report, folder: Path, names: list[str], begun: float) -> None:
    """Every part in its own process; the report on disk is complete after each. begun: of time.perf_counter."""
    for name in names:
        part = PARTS[name]
        left = report.budget_s - (time.perf_counter() - begun)
        result = PartResult(name=name, about=part.about, limit_s=min(part.limit_s * report.budget_s / BUDGET_S, left))
        report.parts.append(result)
        if left < part.least_s:
            result.status = "skipped"
            result.note = f"{max(0.0, left):.0f} s of the budget were left, and this part needs {part.least_s:.0f}."
        else:
            report.write(folder)
            started = time.perf_counter()
            problem = run_process(name, folder, result.limit_s)
            report.parts = Report.read(folder).parts
            result = report.parts[-1]
            result.seconds = time.perf_counter() - started
            settle(result, problem)
        report.spent_s = time.perf_counter() - begun
        report.write(folder)
        print(f"{name}: {result.status}, {len(result.rows)} rows, {result.seconds:.0f} s. {result.note}", flush=True)


def settle(result: PartResult, problem: str) -> None:
    """The final status of a part whose process has ended. problem: "" where it ended by itself and well."""
    if not problem:
        result.status = "done"
        return
    result.status = "stopped" if problem == STOPPED else "failed"
    result.note = f"stopped at its limit of {result.limit_s:.0f} s." if problem == STOPPED else problem


STOPPED = "stopped"


def run_process(name: str, folder: Path, limit_s: float) -> str:
    """Run one part; returns "" where it ended well, STOPPED at its limit, else a sentence."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--out", str(folder.resolve())]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=ROOT, stderr=errors)
        try:
            code = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return STOPPED
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            errors.seek(0)
            text = errors.read().decode("utf-8", "replace")
            sys.stderr.write(text[-4000:])
    if code == 0:
        return ""
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}."
    lines = text.strip().splitlines()
    return f"its process ended with code {code}: {lines[-1].rstrip('.') if lines else 'no message'}."


def run_part(name: str, folder: Path) -> None:
    """The part that the report names last, in this process."""
    report = Report.read(folder)
    result = report.parts[-1]
    if result.name != name:
        raise ValueError(f"{folder}: the report waits for the part {result.name}, not for {name}")
    record = Recorder(report, folder, result.limit_s - MARGIN_S)
    PARTS[name].run(Setting(report.device, report.small), record)
