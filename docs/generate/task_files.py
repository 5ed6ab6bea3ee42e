"""docs/reference/task-files.md: the keys of a task written as TOML."""

from docs.generate.tables import record_table
from harness.task_forms import TaskFile

INTRODUCTION = """# Task files

`--task ./mine.toml` reads a task from a TOML file; [Write a task](../write-a-task.md) walks through one. An unknown
key is refused with the nearest name.

For completion and checks in an editor that knows Taplo or Even Better TOML, name the schema in the first line of the
file (a path, or the address of the file on the web):

```toml
#:schema ../bench/docs/schemas/task.schema.json
```
"""


def task_file_page() -> str:
    """The page."""
    return f"{INTRODUCTION}\n{record_table(TaskFile)}\n"
