"""Before a run asks anything: was an adapter trained on another prompt than the one it is asked with?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.adapter import read_manifest
from harness.errors import UsageError


def prompt_remarks(asked: Mapping[str, Any] | None, adapters: Mapping[str, Path]) -> tuple[str, ...]:
    """A sentence for every adapter whose training prompt is not the run's.

    asked: the run's prompt as its manifest notes it ({"file", "sha256"}; None: the task's own). adapters: backend ->
    adapter folder.
    """
    remarks = []
    for name, folder in adapters.items():
        try:
            learned = read_manifest(folder).prompt
        except UsageError:  # the backend itself tells of an adapter that cannot be read
            continue
        if (learned or {}).get("sha256") != (asked or {}).get("sha256"):
            remarks.append(
                f"{name}: its adapter was trained with {_said(learned)} and is asked with {_said(asked)}: "
                "what it gets wrong may be the prompt's doing."
            )
    return tuple(remarks)


def _said(prompt: Mapping[str, Any] | None) -> str:
    if not prompt:
        return "the task's own prompt"
    return f"the prompt of {prompt.get('file')} (sha256 {str(prompt.get('sha256'))[:12]})"
