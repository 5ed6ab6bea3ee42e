"""What a figure was measured on: package versions, the machine, and the commit. Nothing heavy is imported."""

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTIONS = (
    "bench-harness",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "datasets",
    "bitsandbytes",
    "liger-kernel",
    "scikit-learn",
    "numpy",
    "scipy",
    "openai",
    "msgspec",
)
"""Packages whose version can change a result."""


def versions() -> dict[str, str]:
    """Version of Python and of every installed package that can change a result, by distribution name."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The machine: "os", "machine", "cpu", "cores" (usable by this process), "memory_bytes", "gpus" (names).

    "memory_bytes" is left out where the system does not report it.
    """
    facts: dict[str, Any] = {
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "gpus": _gpus(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return facts


def git_commit() -> str | None:
    """The commit of the current folder's repository, "-dirty" where files differ; None outside of one."""
    commit = _output(["git", "rev-parse", "HEAD"])
    if commit is None:
        return None
    return f"{commit}-dirty" if _output(["git", "status", "--porcelain", "--untracked-files=no"]) else commit


def usable_cores() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Names of the GPUs in use: from torch where it is loaded already, else from nvidia-smi."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    listed = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return listed.splitlines() if listed else []


def _output(command: list[str]) -> str | None:
    """What a command prints; None where it is absent, fails, or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
