"""Every manifest holds what its figures were measured on."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness import hardware


def test_versions_are_those_of_the_installed_packages() -> None:
    found = hardware.versions()
    assert found["msgspec"] == metadata.version("msgspec")
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "DISTRIBUTIONS", ("msgspec", "no-such-distribution"))
    assert set(hardware.versions()) == {"python", "msgspec"}


def test_asking_for_versions_and_hardware_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness import hardware as h; h.versions(); h.hardware(); "
        "print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_machine_is_named() -> None:
    facts = hardware.hardware()
    assert facts["cores"] >= 1
    assert facts["cpu"] and facts["os"]


def test_the_commit_is_that_of_the_folder_and_none_outside_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert hardware.git_commit() is None
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q", "."], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run(["git", "add", "file"], check=True)
    subprocess.run([*run, "commit", "-qm", "one"], check=True)
    clean = hardware.git_commit()
    assert clean is not None and len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert hardware.git_commit() == f"{clean}-dirty"
