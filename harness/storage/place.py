"""Where the copies of a run are: the one in object storage, the one in the workspace."""

from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.hashing import digest

URL_FILE = "state/remote.json"
"""In a run directory: where its copy in object storage is."""


def local_folder(root: Path, url: str) -> Path:
    """Where a workspace keeps its copy of a run in object storage."""
    return root / "remote" / f"{url.rstrip('/').rsplit('/', 1)[-1]}-{digest(url.rstrip('/'))[:8]}"


def remote_url(folder: Path) -> str | None:
    """Where the copy of a run is; None where it has none. Raises UsageError for a file that is not readable."""
    try:
        return str(msgspec.json.decode((folder / URL_FILE).read_bytes(), type=dict[str, str | int])["url"])
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, KeyError) as error:
        raise UsageError(
            f"{folder / URL_FILE} is not readable ({error}): remove it, and the run has no copy."
        ) from None
