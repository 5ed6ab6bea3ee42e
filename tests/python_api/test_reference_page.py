"""The reference page of the Python API: every public name, each parameter and field explained."""

import inspect

import msgspec
import pytest

import harness
from docs.generate.meanings import explained, fields, meanings
from docs.generate.python_api import python_api_page, sections
from docs.generate.signatures import signature_of, type_text
from harness import Run, run, user_message

VERBS = ("run", "resume", "load_run", "compare", "gate", "report", "train", "export_adapter", "parity")
RECORDS = [name for name in harness.__all__ if isinstance(getattr(harness, name), type(msgspec.Struct))]


def test_every_public_name_is_in_one_section() -> None:
    listed = [name for _, names in sections().values() for name in names]
    assert sorted(listed) == sorted(harness.__all__)


@pytest.mark.parametrize("verb", VERBS)
def test_every_parameter_of_a_verb_has_a_meaning(verb: str) -> None:
    function = getattr(harness, verb)
    names = list(inspect.signature(function).parameters)
    assert not set(names) - set(explained(function.__doc__ or "", names))
    assert "Raises" in (function.__doc__ or "")


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_has_a_meaning(name: str) -> None:
    kind = getattr(harness, name)
    assert not set(fields(kind)) - set(meanings(kind)), "say it in the docstring, as `name: meaning.`"


def test_a_signature_is_written_as_in_the_code() -> None:
    assert signature_of("load_run", harness.load_run) == (
        "load_run(run: Run | Path | str = 'last', *, workspace: Path | str | Workspace | None = None) -> Run"
    )
    assert signature_of("user_message", user_message) == (
        "user_message(head: str, *own: tuple[str, str]) -> tuple[tuple[Message, ...], tuple[InputSpan, ...]]"
    )
    assert signature_of("run", run).splitlines()[:4] == [
        "run(",
        "    task: str | Task | type[Task],",
        "    backends: str | Sequence[str] | Mapping[str, Mapping[str, Any] | type[Backend]],",
        "    *,",
    ]
    assert type_text(Run) == "Run"


def test_an_error_is_listed_with_its_base_and_its_exit_code() -> None:
    page = python_api_page()
    assert "| `UsageError` | `BenchError` | 2 |" in page
    assert "| `NotComparableError` | `BenchError` | 4 |" in page
