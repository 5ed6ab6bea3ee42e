"""Pages for contributors name modules: each of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/how-to-change-bench.md",
    "docs/write-a-backend.md",
    "docs/api-backends.md",
)
WORDS = re.compile(r"`((?:harness|adapters|reports|tasks|tests|benchmarks|tools|docs)/[\w./-]*)`")
EXAMPLES = {"harness/backends/constant_backend.py", "harness/cli/version.py"}
"""Files that the walks make."""


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    named = set(WORDS.findall((ROOT / page).read_text("utf-8"))) - EXAMPLES
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_the_table_of_packages_names_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    packages = [
        path.parent.relative_to(ROOT)
        for path in (ROOT / "harness").glob("*/__init__.py")
        if not path.parent.is_symlink()
    ]
    assert packages and not [package for package in packages if f"`{package.as_posix()}/`" not in text]
