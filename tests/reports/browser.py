"""A headless Chromium for the browser tests; they skip with a reason where there is none."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

CHROMIUM = os.environ.get("BENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
AXE = os.environ.get("BENCH_AXE")
"""Path of axe.min.js (npm install axe-core), for the accessibility check."""

T = TypeVar("T")


@contextmanager
def chromium(profile: Path, *, size: str = "1280,900", dark: bool = False) -> Iterator[Any]:
    """A browser of its own, with a fresh profile, that talks to nobody."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install -e '.[dev]')")
    if not CHROMIUM or not DRIVER:
        pytest.skip("no chromium and chromedriver on this machine (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --hide-scrollbars "
        "--force-prefers-reduced-motion"  # no smooth scrolling: a click meets what it was meant for
    )
    for flag in (*flags.split(), f"--user-data-dir={profile}", f"--window-size={size}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        if dark:
            feature = {"name": "prefers-color-scheme", "value": "dark"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        yield driver
    finally:
        driver.quit()


def complaints(driver: Any) -> list[str]:
    """What the browser's console complained about."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def eventually(ask: Callable[[], T], seconds: float = 60.0) -> T:
    """The first true answer; fails after a while."""
    end = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < end, "the page never got there"
        time.sleep(0.05)
    return found


def open_rows(driver: Any, page: Path, anchor: str = "#rows") -> None:
    """Open a report at its rows and wait until the explorer is there."""
    driver.get("about:blank")  # else only the anchor changes and the page stays as a test left it
    driver.get(f"{page.as_uri()}{anchor}")
    eventually(lambda: driver.execute_script("return document.documentElement.dataset.rows === 'ready'"))
