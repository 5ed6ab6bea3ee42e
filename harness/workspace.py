"""The workspace: where runs, trained adapters and the answer cache are kept (`BENCH_HOME`, default ./.bench)."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NotFoundError
from harness.runs.object_storage import is_url


@dataclass(frozen=True)
class Workspace:
    """Folders of one workspace; created when first written to."""

    root: Path

    @classmethod
    def current(cls) -> "Workspace":
        """The workspace named by `BENCH_HOME`, else `./.bench`."""
        return cls(Path(os.environ.get("BENCH_HOME") or ".bench"))

    @property
    def runs(self) -> Path:
        """Run directories, one a run."""
        return self.root / "runs"

    @property
    def adapters(self) -> Path:
        """Trained adapters, one folder each, and `current.json`."""
        return self.root / "adapters"

    @property
    def cache(self) -> Path:
        """The answer cache (SQLite)."""
        return self.root / "cache.sqlite"

    def run_folders(self) -> list[Path]:
        """The folders of all runs, the newest first."""
        manifests = sorted(self.runs.glob("*/manifest.json"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
        return [path.parent for path in manifests]

    def find_run(self, word: str) -> Path:
        """The run named by a path, a (short) id, `last`, or a URL of object storage, from where it is fetched.
        Raises UsageError."""
        if is_url(word):
            from harness.runs.object_storage import fetch_run

            return fetch_run(word, self.root)
        path = Path(word)
        if (path / "manifest.json").is_file():
            return path
        if path.is_dir():
            raise NotFoundError(f"{path} is not a run directory: it holds no manifest.json.")
        runs = self.run_folders()
        if not runs:
            raise NotFoundError(f"no run '{word}': there are no runs in {self.runs}; start one with `bench run`.")
        if word == "last":
            return runs[0]
        found = [p for p in runs if p.name == word or p.name.endswith(f"-{word}")]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFoundError(f"'{word}' names {len(found)} runs: {', '.join(p.name for p in found)}.")
        raise NotFoundError(f"no run '{word}' in {self.runs}; the newest is {runs[0].name} (or say `last`).")
