"""docs/reference/settings.md: bench.toml, from the settings records of every backend and of the gate."""

import inspect

import msgspec

from docs.generate.tables import inner_records, record_table, table
from harness.gating.gate_settings import COST, ERRORS, LATENCY, GateKeys, Terms
from harness.registry import BACKENDS, find, names
from harness.settings import builtin_backends
from harness.summary.verdict_settings import VerdictSettings
from harness.workspace import Workspace

INTRODUCTION = """# bench.toml

Settings lie in `bench.toml` beside your work: the nearest one upwards from the current folder is read, or the one that
`--config` names. Flags win over it, and it wins over the built-in settings. An unknown key is refused with the nearest
name.

For completion and checks in an editor that knows Taplo or Even Better TOML, name the schema in the first line of the
file (a path, or the address of the file on the web):

```toml
#:schema ../bench/docs/schemas/bench.schema.json
```
"""


def backend_settings() -> dict[str, type[msgspec.Struct]]:
    """Kind -> settings record, for the backends that come with Bench."""
    own = {name: entry for name, entry in names(BACKENDS).items() if entry.value.startswith("harness.")}
    return {name: find(BACKENDS, name).Settings for name in own}


def settings_page() -> str:
    """The page."""
    return "\n\n".join([INTRODUCTION.rstrip(), _backends(), _verdict(), _gate(), _workspace()]) + "\n"


def _backends() -> str:
    parts = [
        "## [backends.NAME]\n\n"
        "`NAME` is what you write after `--backends`. `kind` says which backend it is: "
        f"{', '.join(f'`{kind}`' for kind in backend_settings())}, or `package.module:Class` and `./file.py:Class` for "
        "one of your own ([how](../write-a-backend.md)). These names are built in; a table of the same name and kind "
        "changes single keys of them:",
        table(
            ["name", "kind", "settings"],
            [
                [f"`{name}`", f"`{values['kind']}`", ", ".join(f"{k} = {v}" for k, v in values.items() if k != "kind")]
                for name, values in sorted(builtin_backends().items())
            ],
        ),
    ]
    inner: list[type[msgspec.Struct]] = []
    for kind, record in backend_settings().items():
        parts += [f'### kind = "{kind}"', record_table(record, hidden=("kind",))]
        inner += [one for one in inner_records(record) if one not in inner]
    parts += [f"### {one.__name__}\n\n{record_table(one)}" for one in inner]
    return "\n\n".join(parts)


def _gate() -> str:
    figures = ", ".join(f"`{name}`" for name in (COST, ERRORS, *LATENCY))
    return "\n\n".join(
        [
            "## [gate]",
            record_table(GateKeys),
            f"Every other key names a figure, a metric of the task or one of {figures}, and holds a table of terms "
            "such as `accuracy = { margin = 0.02 }`. [Guarding an answer in CI](../ci.md) says how to choose them.",
            "### Terms",
            record_table(Terms),
        ]
    )


def _verdict() -> str:
    return "\n\n".join(
        [
            "## [verdict]",
            "What the first sentence of every report is about: `llama-ft is at most 3.1 points less accurate than gpt4`"
            ".",
            record_table(VerdictSettings),
        ]
    )


def _workspace() -> str:
    folders = {
        name: inspect.cleandoc(member.fget.__doc__ or "")
        for name, member in vars(Workspace).items()
        if isinstance(member, property) and member.fget
    }
    rows = [[f"`{getattr(Workspace.current(), name).name}`", said] for name, said in folders.items()]
    return (
        "## The workspace\n\nNot in `bench.toml` but in the environment: `BENCH_HOME` names the folder of runs, "
        "trained adapters and the answer cache (default: `.bench` in the current folder).\n\n"
        + table(["in it", ""], rows)
    )
