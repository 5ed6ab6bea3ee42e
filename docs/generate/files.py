"""Every generated file with its text."""

import json

from docs.generate.command_line import command_line_page
from docs.generate.python_api import python_api_page, surface
from docs.generate.recipes import recipes_page
from docs.generate.schemas import schemas
from docs.generate.settings import settings_page
from docs.generate.task_files import task_file_page

COMMAND = "python -m docs.generate"


def generated() -> dict[str, str]:
    """Path from the root of the checkout -> text."""
    pages = {
        "cli": command_line_page(),
        "settings": settings_page(),
        "recipes": recipes_page(),
        "task-files": task_file_page(),
        "python-api": python_api_page(),
    }
    note = f"<!-- Written by `{COMMAND}` from the code: change the code, then run that command. -->\n"
    return {
        **{f"docs/reference/{name}.md": note + text for name, text in pages.items()},
        **{
            f"docs/schemas/{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
            for name, schema in schemas().items()
        },
        "tests/python_api/surface.txt": surface(),
    }
