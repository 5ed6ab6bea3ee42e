"""Install the lowest versions that pyproject.toml allows into a fresh environment, and run the light tests there.

    python tools/lowest_versions.py                    # the core's dependencies
    python tools/lowest_versions.py --extra parquet    # and an extra's
    python tools/lowest_versions.py --keep /tmp/low -- tests/openai   # other tests, in an environment that stays

A bound is true where the tests pass with it; one that is too low fails here before it fails at a user's.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTING = ("hypothesis", "pandas", "pytest", "pytest-timeout", "pyyaml", "scikit-learn", "statsmodels")
"""Of all extras: what the light tests need. None of them brings torch: `--extra local` does, from the index that pip
is set up with (a CPU build from download.pytorch.org/whl/cpu spares gigabytes)."""
LIGHT = (
    "tests/openai/test_answer_shapes.py",
    "tests/openai/test_streams.py",
    "tests/openai/test_reachability.py",
    "tests/test_reasoning.py",
    "tests/test_labels.py",
    "tests/test_task_file.py",
    "tests/test_summary.py",
    "tests/cli/test_front_door.py",
    "tests/reports/test_page.py",
    "tests/statistics/test_confusion.py",
    "tests/statistics/test_paired_proportions.py",
    "tests/statistics/test_proportions.py",
)
_BOUND = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?P<extras>\[[^\]]*\])?\s*>=\s*(?P<least>[0-9][^,;\s]*)")


def bounds(extras: list[str]) -> dict[str, str]:
    """Name to lowest version, of the core, of some extras, and of what the tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    everything = {line for extra in optional.values() for line in extra}
    testing = sorted(line for line in everything if re.split(r"[\[>=<]", line)[0] in TESTING)
    lines = [*project["dependencies"], *testing, *(line for extra in extras for line in optional[extra])]
    found = {}
    for line in lines:
        match = _BOUND.match(line)
        if match is None:
            if not line.startswith("bench-harness["):
                sys.exit(f"pyproject.toml: '{line}' has no lower bound (write {line}>=..).")
            continue
        found[match["name"] + (match["extras"] or "")] = match["least"]
    return found


def pinned(name: str, least: str) -> str:
    """The requirement for the lowest version that a bound allows: "2024.11" is met by 2024.11.6, "3" by 3.0.x."""
    series = least if "." in least else f"{least}.0"
    return f"{name}=={least}" if least.count(".") >= 2 else f"{name}>={least},<={series}.99999"


def main() -> None:
    """Make the environment, install, run pytest; its exit code is ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", action="append", default=[], help="an extra whose lowest versions are installed too")
    parser.add_argument("--keep", type=Path, help="where the environment stays (default: a temporary one)")
    parser.add_argument("tests", nargs="*", help="what pytest runs (default: the light tests)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.keep or Path(temporary) / "venv"
        if not (place / "bin" / "python").exists():
            venv.create(place, with_pip=True)
        python = place / "bin" / "python"
        wanted = [pinned(name, least) for name, least in bounds(asked.extra).items()]
        print(*wanted, sep="\n", flush=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "setuptools>=77", *wanted]
        subprocess.run(install, check=True)
        own = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT)]
        subprocess.run(own, check=True)
        tests = asked.tests or LIGHT
        done = subprocess.run([str(python), "-m", "pytest", "-q", *tests], cwd=ROOT, check=False)
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
