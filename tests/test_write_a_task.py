"""docs/write-a-task.md walks through a task that works as it is printed."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "write-a-task.md"


def test_the_files_of_the_page_are_a_task_that_passes_its_test(tmp_path: Path) -> None:
    files = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert {name for name, _ in files} >= {"tickets.toml", "tickets.py", "test_tickets.py", "rows/test.jsonl"}
    for name, content in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_tickets.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
