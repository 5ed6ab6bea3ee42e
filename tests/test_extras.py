"""What an extra stands for is installed by packages that an index has, whether or not it has Bench."""

import pytest

from harness import extras


def test_an_extra_is_installed_by_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = [
        "click>=8",
        "pyarrow>=16; extra == 'parquet'",
        'bench-harness[parquet]; extra == "cloud"',
        "s3fs>=2024.6; extra == 'cloud'",
        "ray[client]>=2.30; extra == 'ray'",
    ]
    monkeypatch.setattr(extras, "_declared", lambda: declared)
    assert extras.install_command("cloud") == "python -m pip install 'pyarrow>=16' 's3fs>=2024.6'"
    assert extras.requirements("ray") == ["ray[client]>=2.30"]


def test_every_extra_that_a_message_names_is_declared() -> None:
    for extra in ("local", "hub", "parquet", "json", "ray", "embedding", "dump"):
        assert extras.requirements(extra), extra
        assert not any("bench-harness" in package for package in extras.requirements(extra))
