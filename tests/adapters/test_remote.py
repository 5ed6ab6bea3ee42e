"""An adapter's way to another machine: pushed with checksums, fetched once, and refused where a file has changed."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

safetensors = pytest.importorskip("safetensors.numpy")

from harness.adapter_manifest import AdapterManifest, find_adapter, read_manifest, weights_digest, write_manifest  # noqa: E402
from harness.adapters.publishing import hub_repository, pull, push_files  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness.peft_folder import WEIGHTS  # noqa: E402
from harness.remote_adapter import CHECKSUMS, is_remote  # noqa: E402
from harness.workspace import Workspace  # noqa: E402


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "here" / "adapters" / "mine"
    folder.mkdir(parents=True)
    safetensors.save_file({"base_model.model.x.lora_A.weight": np.ones((2, 2), np.float32)}, folder / WEIGHTS)
    config = {"r": 2, "peft_type": "LORA", "base_model_name_or_path": "owner/base", "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "rows.json").write_text('{"train": ["1"], "validation": []}')
    (folder / "examples.json").write_text('[{"text": "a row"}]')
    manifest = AdapterManifest(
        id="mine", task="agnews", task_version="1", base="owner/base", adapter_sha256=weights_digest(folder)
    )
    write_manifest(folder, manifest)
    return folder


def elsewhere(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "there")


@pytest.mark.parametrize("target", ["pushed.tar.gz", "pushed"])
def test_what_is_pushed_is_pulled_with_all_but_its_rows(trained: Path, tmp_path: Path, target: str) -> None:
    place = push_files(trained, str(tmp_path / target))
    folder = pull(place, elsewhere(tmp_path))
    assert folder == elsewhere(tmp_path).adapters / "mine"
    assert weights_digest(folder) == weights_digest(trained)
    assert read_manifest(folder).id == "mine"
    assert (folder / "rows.json").is_file(), "hashes of the training rows: contamination can be checked there"
    assert not (folder / "examples.json").exists()
    assert pull(place, elsewhere(tmp_path)) == folder, "a second time it is there already"


def test_an_archive_in_bench_toml_is_fetched_once_and_kept_by_its_hash(trained: Path, tmp_path: Path) -> None:
    place = push_files(trained, str(tmp_path / "mine.tar.gz"))
    first = find_adapter(elsewhere(tmp_path), place)
    written = (first / WEIGHTS).stat().st_mtime_ns
    assert find_adapter(elsewhere(tmp_path), place) == first
    assert (first / WEIGHTS).stat().st_mtime_ns == written
    (first / WEIGHTS).write_bytes(b"damaged")
    assert weights_digest(find_adapter(elsewhere(tmp_path), place)) == weights_digest(trained), "fetched again"


def test_a_file_that_has_changed_is_refused(trained: Path, tmp_path: Path) -> None:
    place = Path(push_files(trained, str(tmp_path / "pushed")))
    (place / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"adapter_config\.json is not the file that was pushed"):
        pull(str(place), elsewhere(tmp_path))


def test_an_archive_with_foreign_members_yields_no_file_outside(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    listing = tmp_path / CHECKSUMS
    listing.write_text(json.dumps({"../../outside": "0" * 64}))
    with tarfile.open(path, "w:gz") as archive:
        archive.add(listing, CHECKSUMS)
    with pytest.raises(UsageError, match="which is no file of an adapter"):
        find_adapter(elsewhere(tmp_path), str(path))
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "no archive"), (b"not a tar", "no archive"), (None, "there is no such archive")]
)
def test_what_is_no_archive_is_refused_in_a_sentence(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "x.tar.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        find_adapter(elsewhere(tmp_path), str(path))


def test_a_folder_with_other_files_is_not_written_to(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        push_files(trained, str(tmp_path / "full"))


@pytest.mark.parametrize(
    ("word", "repo"),
    [
        ("owner/name", "owner/name"),
        ("hub:owner/name@v1", "owner/name"),
        ("./owner/name", None),
        ("s3://bucket/name", None),
        ("adapters/mine.tar.gz", None),
        ("/absolute/folder", None),
        ("one/two/three", "one/two/three"),
    ],
)
def test_a_target_is_the_hub_or_a_place(word: str, repo: str | None) -> None:
    assert hub_repository(word) == repo


def test_words_that_name_a_place_elsewhere() -> None:
    assert all(map(is_remote, ("hub:a/b", "s3://b/k", "gs://b/k", "x.tar.gz", "x.tgz")))
    assert not any(map(is_remote, ("a/b", "mine", "./folder", "https://x/y")))


def test_a_fresh_workspace_runs_an_adapter_out_of_an_archive(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from harness import runner
    from harness.settings import Settings
    from tests.support.tiny_llama import make_adapter, make_base

    base = make_base(tmp_path / "base", chat=True)
    place = push_files(make_adapter(Workspace(tmp_path / "here"), base, "mine"), str(tmp_path / "mine.tar.gz"))
    table = {"kind": "local", "model": str(base), "adapter": place}
    log = runner.run(
        "agnews",
        ["tuned"],
        settings=Settings(backends={"tuned": table}),
        workspace=elsewhere(tmp_path),
        data="embedded",
        limit=4,
    )
    identity = log.manifest.backends["tuned"]
    assert identity.adapter == "mine" and identity.adapter_sha256 is not None
    assert len(log.lines("tuned")) == 4
