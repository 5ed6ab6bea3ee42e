"""Adapters that lie elsewhere: at the Hub, in object storage, or in an archive; fetched once, verified by hash.

`hub:OWNER/NAME[@REVISION]`, `s3://..`, `gs://..`, `az://..`, or a `.tar.gz` archive. Beside the adapter's files lies
`checksums.json` with the SHA-256 of each; what is fetched is kept under the hash of that file, so that an adapter that
has changed is another copy, and one that has not is not fetched again. At the Hub the commit takes its place.
"""

import hashlib
import io
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UsageError
from harness.files import write_whole
from harness.hashing import digest, file_digest
from harness.runs.object_storage import ObjectStore, is_url

HUB = "hub:"
ARCHIVES = (".tar.gz", ".tgz")
CHECKSUMS = "checksums.json"
FILES = ("adapter_model.safetensors", "adapter_config.json", "manifest.json", "rows.json", "rows.npz", "README.md")
"""What an adapter consists of; nothing else is sent or fetched."""

NEEDED = ("adapter_model.safetensors", "adapter_config.json", "manifest.json")
MOST_BYTES = 1 << 36
"""Of one file in an archive; a header may claim any size."""


def is_remote(word: str) -> bool:
    """Whether a word names an adapter that must be fetched."""
    return word.startswith(HUB) or is_url(word) or word.endswith(ARCHIVES)


def fetch_adapter(word: str, root: Path) -> Path:
    """The local copy of a remote adapter, in the workspace at `root`. Raises UsageError where there is none, or where a
    file is not the one that was sent."""
    if word.startswith(HUB):
        return _from_hub(word.removeprefix(HUB))
    if is_url(word):
        store = ObjectStore.open(word)
        return _keep(word, root, _checksums_of(store, word), store.get)
    return _from_archive(Path(word).expanduser(), root)


def verify_folder(folder: Path) -> None:
    """Hold an adapter's files against the checksums beside them, where there are any. Raises UsageError."""
    listing = folder / CHECKSUMS
    if not listing.is_file():
        return
    for name, sha256 in read_checksums(listing.read_bytes(), str(folder)).items():
        if not _is(folder / name, sha256):
            raise UsageError(f"{folder / name} is not the file that was pushed: its SHA-256 differs from {CHECKSUMS}.")


def _checksums_of(store: ObjectStore, word: str) -> dict[str, str]:
    if CHECKSUMS not in store.files():
        raise UsageError(f"{word} holds no {CHECKSUMS}: push the adapter with `bench adapter push ADAPTER {word}`.")
    with tempfile.TemporaryDirectory() as folder:
        store.get(CHECKSUMS, Path(folder) / CHECKSUMS)
        return read_checksums((Path(folder) / CHECKSUMS).read_bytes(), word)


def read_checksums(raw: bytes, where: str) -> dict[str, str]:
    """File name -> SHA-256. Raises UsageError for what is no such list, or names other files than an adapter's."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: {CHECKSUMS} is not readable ({error}): push the adapter again.") from None
    foreign = sorted(set(found) - set(FILES))
    missing = [name for name in NEEDED if name not in found]
    if foreign or missing:
        problem = f"names {foreign[0]}, which is no file of an adapter" if foreign else f"does not name {missing[0]}"
        raise UsageError(f"{where}: {CHECKSUMS} {problem}: push the adapter again.")
    return found


def _keep(word: str, root: Path, checksums: Mapping[str, str], get: Callable[[str, Path], None]) -> Path:
    """The copy of these very files in the workspace; fetched where it is not there yet, or is damaged."""
    folder = root / "fetched-adapters" / digest(dict(checksums))[:16]
    if folder.is_dir() and all(_is(folder / name, sha256) for name, sha256 in checksums.items()):
        return folder
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(2)}")
    aside.mkdir(parents=True)
    try:
        for name, sha256 in checksums.items():
            get(name, aside / name)
            if not _is(aside / name, sha256):
                raise UsageError(
                    f"{word}: {name} is not the file that was pushed (its SHA-256 differs from {CHECKSUMS}): "
                    "push the adapter again."
                )
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _is(file: Path, sha256: str) -> bool:
    return file.is_file() and file_digest(file) == sha256


def _from_archive(path: Path, root: Path) -> Path:
    """An archive's files; members of other names, links and devices are not looked at."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            members = {Path(m.name).name: m for m in archive.getmembers() if m.isfile() and m.size <= MOST_BYTES}
            raw = archive.extractfile(members[CHECKSUMS]) if CHECKSUMS in members else None
            if raw is None:
                raise UsageError(f"{path} holds no {CHECKSUMS}: make it with `bench adapter push ADAPTER {path}`.")
            checksums = read_checksums(raw.read(1 << 20), str(path))

            def get(name: str, to: Path) -> None:
                held = archive.extractfile(members[name]) if name in members else None
                if held is None:
                    raise UsageError(f"{path} lacks {name}, which its {CHECKSUMS} names: push the adapter again.")
                with to.open("wb") as out:
                    shutil.copyfileobj(held, out)

            return _keep(str(path), root, checksums, get)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such archive.") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"{path} is no archive of an adapter ({error}).") from None


def _from_hub(word: str) -> Path:
    """A snapshot of the Hub's cache, which checks hashes itself; and the weights against the adapter's manifest."""
    repo, _, revision = word.partition("@")
    try:
        from huggingface_hub import errors as hub
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        from harness.extras import install_command

        raise UsageError(f"adapters of the Hub need huggingface-hub: {install_command('local')}.") from None
    disable_progress_bars()
    try:
        folder = Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(FILES)))
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError):
        at = f" at {revision}" if revision else ""
        raise UsageError(f"{HUB}{repo} is not on the Hub{at}, or is private: check the name, set HF_TOKEN.") from None
    except hub.HFValidationError:
        raise UsageError(f"{HUB}{repo} is no Hub repository: write hub:OWNER/NAME@REVISION.") from None
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, hub.HfHubHTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(f"{HUB}{repo} cannot be fetched ({reason}): check the connection and HF_TOKEN.") from None
    weights, manifest = folder / "adapter_model.safetensors", folder / "manifest.json"
    if manifest.is_file() and weights.is_file():
        told = msgspec.json.decode(manifest.read_bytes(), type=dict[str, Any]).get("adapter_sha256")
        if told is not None and not _is(weights, told):
            raise UsageError(f"{HUB}{repo}: its weights are not those that its manifest.json names: push it again.")
    return folder


def send_adapter(files: Mapping[str, bytes | str], target: str) -> str:
    """Write an adapter's files, given by name as bytes or as a path, with their checksums; where they lie.

    target: a URL of object storage, an archive (`.tar.gz`), or a folder. Raises UsageError where it is taken by
    something else, StorageError where it cannot be written.
    """
    contents = {name: Path(what).read_bytes() if isinstance(what, str) else what for name, what in files.items()}
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    contents[CHECKSUMS] = msgspec.json.format(msgspec.json.encode(checksums), indent=2) + b"\n"
    if is_url(target):
        _to_storage(contents, target)
    elif target.endswith(ARCHIVES):
        _to_archive(contents, Path(target).expanduser())
    else:
        _to_folder(contents, Path(target).expanduser())
    return target


def _to_storage(contents: Mapping[str, bytes], target: str) -> None:
    """The checksums go last: they make it an adapter."""
    store = ObjectStore.open(target)
    store.try_to_write()
    with tempfile.TemporaryDirectory() as folder:
        for name, data in sorted(contents.items(), key=lambda item: item[0] == CHECKSUMS):
            file = Path(folder) / name
            file.write_bytes(data)
            store.put(file, name)


def _to_archive(contents: Mapping[str, bytes], path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    write_whole(path, out.getvalue())


def _to_folder(contents: Mapping[str, bytes], path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        held = {p.name for p in path.iterdir()} if path.is_dir() else {path.name}
        if not path.is_dir() or held - {*FILES, CHECKSUMS}:
            raise UsageError(f"{path} holds other files than an adapter's: name another folder.")
    for name, data in sorted(contents.items(), key=lambda item: item[0] == CHECKSUMS):
        write_whole(path / name, data)
