"""Ray nodes on loopback, each a real `ray start` with an address of its own; stopped, or killed, by process id."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support.processes import free_port

START_S = 60
QUICK = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "300",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_open_telemetry": "0",
}
"""A node that is gone is noticed within about two seconds, and not half a minute."""


def descendants(pid: int) -> list[int]:
    """A process's children, their children, and so on."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


class Node:
    """One node: its own raylet and workers; the head (without `head`) also runs the cluster's state."""

    def __init__(
        self,
        address: str,
        cpus: int,
        *,
        head: "Node | None" = None,
        client_port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.port: int = head.port if head is not None else free_port()
        self.gcs = f"{head.address if head is not None else address}:{self.port}"
        self._client_port = client_port
        self._folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # a socket's path must be short
        if head is not None:
            role = [f"--address={self.gcs}"]
        else:
            role = ["--head", f"--port={self.port}", f"--temp-dir={self._folder}", "--include-dashboard=false"]
            role += [f"--ray-client-server-port={client_port}"] if client_port else []
        self._command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *role),
            *(f"--node-ip-address={address}", f"--num-cpus={cpus}", "--num-gpus=0"),
            *("--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0"),
        ]
        self._environment = {**os.environ, **QUICK, **(environment or {})}
        self._environment.pop("RAY_ADDRESS", None)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Node":
        """Start it and wait until the cluster knows it."""
        log = (self._folder / "start.log").open("wb")
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        log.close()
        deadline = time.monotonic() + START_S
        while b"Ray runtime started" not in (said := (self._folder / "start.log").read_bytes()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the node {self.address} did not start:\n{said.decode(errors='replace')}")
            time.sleep(0.05)
        while self._client_port and not self._listens(self._client_port) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self

    def _listens(self, port: int) -> bool:
        try:
            socket.create_connection((self.address, port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """`kill -9` for the node and everything that it has started."""
        if self._process is None:
            return
        for pid in [*descendants(self._process.pid), self._process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(30)
        self._process = None

    def __enter__(self) -> "Node":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
