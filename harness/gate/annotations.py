"""The gate as GitHub annotations: workflow commands on standard output."""

from .records import GateResult
from .untrusted import workflow_message, workflow_property

LEVELS = {
    "fail": "error",
    "incomparable": "error",
    "incomplete": "error",
    "inconclusive": "warning",
    "unchanged": "notice",
}


def annotations(result: GateResult) -> list[str]:
    """One line a check that did not pass; one for the gate where it gave no verdict."""
    lines = [_command(LEVELS[result.verdict], "Bench gate", reason) for reason in result.reasons]
    lines += [_command(LEVELS[c.verdict], c.name, c.sentence) for c in result.checks if c.verdict in LEVELS]
    lines += [_command("warning", "Bench gate", warning) for warning in result.warnings]
    return lines + [_command("notice", "Bench gate", note) for note in result.notes]


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={workflow_property(title)}::{workflow_message(message)}"
