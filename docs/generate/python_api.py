"""docs/reference/python-api.md and tests/python_api/surface.txt: every public name of `harness`."""

import inspect
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import msgspec

import harness
from docs.generate.meanings import explained, fields, meanings, paragraphs, unexplained
from docs.generate.signatures import attribute_docs, members, signature_of, type_text
from docs.generate.tables import table
from harness.errors import BenchError

INTRODUCTION = """# Python API

Everything on this page is imported from `harness` itself: `from harness import run, load_run`. These names, their
parameters and their fields are public: a change that could break a program is in the change log. Every other module,
and every name that begins with an underscore, is internal and may change without notice.

Paths of modules that earlier versions documented, such as `harness.answers.labels`, keep working and emit a
`DeprecationWarning` that names the import to write instead.

[Bench from Python](../python.md) shows how the names are used together. The verbs take the options of the
[command line](cli.md) under the same names and with the same defaults.
"""

SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Verbs": (
        "Functions that do what the verbs of the command line do, and return an object instead of printing. They can "
        "be called where an event loop is running, as in a notebook.",
        (
            *("run", "resume", "load_run", "compare", "gate", "cascade", "report", "train"),
            *("export_adapter", "parity"),
        ),
    ),
    "Runs and adapters": ("", ("Run", "RunLog", "Manifest", "Adapter", "AdapterManifest", "ExportManifest")),
    "Results": (
        "Records of `summary.json`, `gate.json` and `parity.json`; the [schemas](../run-directory.md) "
        "describe the files.",
        (
            *("Summary", "BackendResult", "Estimate", "PairResult", "ReplacementVerdict"),
            *("RunComparison", "GateResult", "CheckResult", "CascadeResult", "ParityResult"),
        ),
    ),
    "Tasks": (
        "What a [task of one's own](../write-a-task.md) is made of.",
        (
            *("Task", "load_task", "load_rows", "build_request", "task_problems", "Sample", "Request", "Message"),
            *("InputSpan", "user_message", "Completion", "Usage", "Timing", "Cost", "Failure"),
            *("Score", "Lenient", "score_label", "DataSource", "HubDataset", "open_rows", "DataRow", "Row", "LogLine"),
        ),
    ),
    "Metrics": (
        "",
        (
            *("Metric", "CLASSIFICATION", "ACCURACY", "MACRO_F1", "WEIGHTED_F1", "WEIGHTED_PRECISION"),
            *("WEIGHTED_RECALL", "FORMAT_ERROR_RATE", "LENIENT_ACCURACY", "LENIENT_FORMAT_ERROR_RATE"),
        ),
    ),
    "Backends": (
        "What a [backend of one's own](../write-a-backend.md) is made of.",
        ("Backend", "BackendIdentity", "RunRequirements", "RunContext", "Record"),
    ),
    "Settings": ("", ("Settings", "Workspace", "__version__")),
    "Errors": (
        "Every error that a user can fix is a `BenchError`; its message is a sentence that says what is wrong, where, "
        "and what to do. `exit_code` is what the command line ends with.",
        (),
    ),
}
"""Section -> its introduction and its names; errors are found by their base class."""


def sections() -> dict[str, tuple[str, tuple[str, ...]]]:
    """The sections with all names."""
    errors = sorted((n for n in harness.__all__ if _is_error(getattr(harness, n))), key=_by_depth)
    return {
        title: (text, (*errors, "ExitCode") if title == "Errors" else names)
        for title, (text, names) in SECTIONS.items()
    }


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BenchError)


def _by_depth(name: str) -> tuple[int, str]:
    return len(getattr(harness, name).__mro__), name


def python_api_page() -> str:
    """The page."""
    parts = [INTRODUCTION.rstrip()]
    for title, (text, names) in sections().items():
        parts += [f"## {title}", *([text] if text else [])]
        if title == "Errors":
            parts += [_errors(names)]
        elif title == "Metrics":
            parts += [_entry("Metric"), _constants(names[1:])]
        else:
            parts += [_entry(name) for name in names]
    return "\n\n".join(parts) + "\n"


def _entry(name: str) -> str:
    value = getattr(harness, name)
    if isinstance(value, str):
        return f"### {name}\n\nThe version of the installed package, as text."
    if inspect.isfunction(value):
        return _function(f"### {name}", name, value)
    if issubclass(value, msgspec.Struct):
        return _record(name, value)
    return _class(name, value)


def _block(text: str) -> str:
    return f"<!-- not run: a signature -->\n```python\n{text}\n```"


def _function(heading: str, name: str, function: Callable[..., Any]) -> str:
    names = [n for n in inspect.signature(function).parameters if n not in ("self", "cls")]
    doc = function.__doc__ or ""
    said = explained(doc, names)
    parts = [heading, _block(signature_of(name, function)), *unexplained(doc, names)]
    if said:
        parts.insert(3, table(["parameter", "meaning"], [[f"`{n}`", said[n]] for n in names if n in said]))
    return "\n\n".join(parts)


def _record(name: str, kind: type[msgspec.Struct]) -> str:
    known = fields(kind)
    doc = kind.__doc__ or ""
    said = meanings(kind)
    parts = [f"### {name}", *unexplained(doc, list(known))]
    rows = [[f"`{n}`", f"`{type_text(field.type)}`", _default(field), said.get(n, "")] for n, field in known.items()]
    if rows:
        parts.append(table(["field", "type", "default", "meaning"], rows))
    return "\n\n".join([*parts, *_members(name, kind)])


def _default(field: msgspec.structs.FieldInfo) -> str:
    if isinstance(field.default, msgspec.Struct):
        return f"`{type(field.default).__name__}()`"
    if field.default is not msgspec.NODEFAULT:
        return f"`{field.default!r}`"
    return "required" if field.default_factory is msgspec.NODEFAULT else f"`{field.default_factory()!r}`"


def _class(name: str, kind: type) -> str:
    attributes = attribute_docs(kind)
    annotated = {n: a for n, a in getattr(kind, "__annotations__", {}).items() if not n.startswith("_")}
    doc = kind.__doc__ or ""
    names = [*annotated, "path", "log", "manifest"] if not attributes else []
    said = {n: meaning for n, meaning in explained(doc, names).items() if n in annotated}
    parts = [f"### {name}", *(unexplained(doc, list(said)) if said else paragraphs(doc))]
    rows = [[f"`{n}`", f"`{kind}`", text] for n, (kind, text) in attributes.items()]
    rows += [[f"`{n}`", f"`{type_text(a)}`", said[n]] for n, a in annotated.items() if n in said]
    if rows:
        parts.append(table(["attribute", "type", "meaning"], rows))
    return "\n\n".join([*parts, *_members(name, kind)])


def _members(owner: str, kind: type) -> list[str]:
    """Properties as one table, then a section for each method."""
    found = members(kind)
    properties = [
        [f"`{n}`", f"`{type_text(inspect.signature(p.fget).return_annotation)}`", " ".join(paragraphs(p.__doc__ or ""))]
        for n, p in found.items()
        if isinstance(p, property) and p.fget is not None
    ]
    methods = [
        _function(f"#### {owner}.{n}", n, m.__func__ if isinstance(m, classmethod | staticmethod) else m)
        for n, m in found.items()
        if not isinstance(m, property)
    ]
    return [*([table(["property", "type", "meaning"], properties)] if properties else []), *methods]


def _constants(names: tuple[str, ...]) -> str:
    rows = []
    for name in names:
        value = getattr(harness, name)
        shown = ", ".join(m.name for m in value) if isinstance(value, tuple) else value.name
        rows.append([f"`{name}`", f"`{shown}`"])
    return table(["constant", "metrics"], rows)


def _errors(names: tuple[str, ...]) -> str:
    rows = []
    for name in names[:-1]:
        kind = getattr(harness, name)
        base = kind.__mro__[1].__name__
        rows.append([f"`{name}`", f"`{base}`", str(int(kind.exit_code)), " ".join(paragraphs(kind.__doc__ or ""))])
    codes = [[f"`ExitCode.{code.name}`", str(int(code))] for code in harness.ExitCode]
    return "\n\n".join(
        [table(["error", "base", "exit code", "raised for"], rows), "### ExitCode", table(["code", "value"], codes)]
    )


def surface() -> str:
    """Every public name with its signature, one a line: what a program may rely on."""
    lines = [line for name in sorted(harness.__all__) for line in _surface(name, getattr(harness, name))]
    return "\n".join(lines) + "\n"


def _surface(name: str, value: Any) -> list[str]:
    if name == "__version__":
        return ["__version__: str"]
    if inspect.isfunction(value):
        return [f"def {_one_line(name, value)}"]
    if not isinstance(value, type):
        return [f"{name}: {type(value).__name__}"]
    lines = [f"class {name}({', '.join(base.__name__ for base in value.__bases__ if base is not object)})"]
    if issubclass(value, msgspec.Struct):
        lines += [f"{name}.{n}: {type_text(f.type)} = {_default(f).strip('`')}" for n, f in fields(value).items()]
    elif issubclass(value, IntEnum):
        lines += [f"{name}.{member.name} = {int(member)}" for member in value]
    else:
        annotated = getattr(value, "__annotations__", {})
        lines += [f"{name}.{n}: {type_text(a)}" for n, a in annotated.items() if not n.startswith("_")]
    for n, member in members(value).items():
        if isinstance(member, property):
            assert member.fget is not None
            lines.append(f"{name}.{n}: {type_text(inspect.signature(member.fget).return_annotation)}")
        else:
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            lines.append(f"def {name}.{_one_line(n, function)}")
    return lines


def _one_line(name: str, function: Callable[..., Any]) -> str:
    return " ".join(signature_of(name, function).split()).replace("( ", "(").replace(", )", ")")
