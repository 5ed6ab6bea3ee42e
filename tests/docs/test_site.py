"""The site holds every page, and builds without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def listed(nav: list[Any]) -> set[str]:
    """The pages that a navigation names, at any depth."""
    found: set[str] = set()
    for entry in nav:
        for value in entry.values():
            found |= {value} if isinstance(value, str) else listed(value)
    return found


def test_every_page_is_in_the_navigation() -> None:
    docs = ROOT / "docs"
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    assert listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]) == pages, "name each in mkdocs.yml"


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ROADMAP.md", "benchmarks/RESULTS.md"]
)
def test_links_outside_the_site_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="needs the extra `docs`")
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert (tmp_path / "site" / "reference" / "settings" / "index.html").is_file()
