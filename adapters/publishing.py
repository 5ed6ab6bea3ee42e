"""Publishing an adapter to the Hub, object storage, an archive or a folder: weights, configuration, manifest, card."""

import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.adapter_manifest import ROWS, AdapterManifest, find_adapter, read_manifest, weights_digest
from harness.adapters.serving import CONFIG
from harness.backends.local.base_files import missing_local_extra
from harness.data.contamination import SIGNATURES
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS
from harness.remote_adapter import HUB, is_remote, send_adapter, verify_folder
from harness.text_sanitize import is_path
from harness.workspace import Workspace

TASKS = {"generate": "text-generation", "head": "text-classification"}


def model_card(manifest: AdapterManifest) -> str:
    """A README.md with the Hub's metadata; `manifest` is the one that is uploaded, without local paths."""
    m = manifest
    on_hub = "/" in m.base
    head = ["---", "library_name: peft", f"pipeline_tag: {TASKS[m.objective]}", "tags:", "- lora", "- bench-harness"]
    head += ["base_model:", f"- {m.base}"] if on_hub else []
    lines = [*head, "---", "", f"# {m.id}", ""]
    lines += [
        f"A LoRA adapter for the task `{m.task}` (version {m.task_version}), trained with Bench. "
        f"It {'answers in words' if m.objective == 'generate' else 'labels by a classification head'}.",
        "",
        f"- base: {m.base}{f' at {m.base_revision}' if m.base_revision else ''} (weights sha256 `{m.base_sha256}`); "
        "its licence applies",
        f"- recipe: {m.recipe_name}, seed {m.seed}, {m.steps:,} steps, {m.tokens:,} tokens, "
        f"{m.device_hours:.3f} device-hours{_price(m)}",
        f"- trained on {m.data.get('rows', 0):,} rows of {m.data.get('source', 'the task')}"
        f"{' (' + m.data['label'] + ')' if m.data.get('label') else ''}; fingerprint `{m.data.get('fingerprint')}`",
        f"- labels: {', '.join(m.labels)}" if m.labels else "- no label set",
        "",
        "## Figures",
        "",
        f"On {m.selection.get('rows', 0):,} rows held back from training, which also chose the checkpoint: no measure "
        "of how it does on new rows. Measure that with `bench run`.",
        "",
        "| metric | value |",
        "| --- | --- |",
        *(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in sorted(m.metrics.items())),
    ]
    claims = m.recipe.get("claims") or []
    if claims:
        lines += ["", "## Published about this case (not measured here)", ""]
        lines += [f"- {c['who']}: {c['metric']} {c['value']:g}" for c in claims]
    lines += [
        "",
        "## Use",
        "",
        "Put this repository's files into a folder and name it: "
        f'`adapter = "FOLDER"` in a `local` backend of `bench.toml`, then `bench run --task {m.task} ..`. '
        "`manifest.json` says how it was made.",
        "",
    ]
    return "\n".join(lines)


def _price(m: AdapterManifest) -> str:
    return "" if m.training_cost_usd is None else f", {m.training_cost_usd:.2f} USD"


class Pushed(NamedTuple):
    """Where it lies, and who can see it."""

    url: str
    public: bool


def push(folder: Path, repo: str, *, public: bool) -> Pushed:
    """Upload an adapter to `repo` (owner/name) in one commit; a repository that does not exist is made.

    Nothing else of the folder goes: no row ids, no local path, no token. Raises UsageError saying what to do: an
    adapter without PEFT weights or changed ones, not logged in, no right to write, no connection, and a public
    repository where nobody said --public.
    """
    manifest = read_manifest(folder)
    files = contents(folder, manifest)
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub import errors as hub
    except ImportError:
        raise missing_local_extra() from None
    api = HfApi()
    no_line: Any = hub.HTTPError  # type: ignore[attr-defined]  # of the client's own HTTP library, which changes
    try:
        url, is_public = _repository(api, repo, public)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(repo, operations, commit_message=f"Add adapter {manifest.id}")
    except hub.LocalTokenNotFoundError:
        raise _not_logged_in(repo) from None
    except hub.HFValidationError:
        raise UsageError(f"{repo} is not a Hub repository: say OWNER/NAME.") from None
    except hub.HfHubHTTPError as error:  # its own text is long, and names the request
        code = error.response.status_code if error.response is not None else 0
        if code == 401:
            raise _not_logged_in(repo) from None
        if code in (403, 404):
            raise UsageError(
                f"the Hub refuses {repo} ({code}): name a repository that your token may write to."
            ) from None
        raise UsageError(f"the Hub answered {code} for {repo}: try again later; nothing was committed.") from None
    except hub.OfflineModeIsEnabled:
        raise UsageError(f"pushing to {repo} needs a connection: unset HF_HUB_OFFLINE.") from None
    except (no_line, ConnectionError) as error:
        raise UsageError(
            f"{api.endpoint} cannot be reached ({type(error).__name__}): check the connection; nothing was committed."
        ) from None
    return Pushed(url, is_public)


KEPT_HASHES = (ROWS, SIGNATURES)
"""Hashes of the training rows: with them a run elsewhere can tell that it evaluates on a training row."""


def hub_repository(target: str) -> str | None:
    """The Hub's repository that a target names (`owner/name`, `hub:owner/name`); None for a place elsewhere.

    A folder is written `./folder`, so that a mistyped repository is no folder.
    """
    if target.startswith(HUB):
        return target.removeprefix(HUB).partition("@")[0]
    elsewhere = is_remote(target) or Path(target).is_dir() or target.startswith((".", "~", "/"))
    return None if elsewhere else target


def push_files(folder: Path, target: str) -> str:
    """Write an adapter to object storage, an archive or a folder, with checksums; no row, no local path.

    Raises UsageError as `push` does, and StorageError.
    """
    files = contents(folder, read_manifest(folder))
    files |= {name: str(folder / name) for name in KEPT_HASHES if (folder / name).is_file()}
    return send_adapter(files, target)


def pull(source: str, workspace: Workspace) -> Path:
    """Fetch an adapter into the workspace's own ones, and return its folder. Raises UsageError."""
    fetched = find_adapter(workspace, source)
    verify_folder(fetched)
    manifest = read_manifest(fetched)
    target = workspace.adapters / manifest.id
    if target.exists():
        if weights_digest(target) == weights_digest(fetched):
            return target
        raise UsageError(f"another adapter {manifest.id} is in the workspace: bench adapter rm {manifest.id} first.")
    aside = target.with_name(f".new-{manifest.id}-{secrets.token_hex(2)}")
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(fetched, aside)
    aside.rename(target)
    return target


def contents(folder: Path, manifest: AdapterManifest) -> dict[str, bytes | str]:
    """What goes into the repository, by file name: bytes, or the path of the weights. Raises UsageError."""
    if manifest.model is not None or manifest.objective == "tfidf":
        kind = "is hosted by its provider" if manifest.model is not None else "is a classical baseline"
        raise UsageError(f"adapter {manifest.id} {kind}: the Hub takes PEFT adapters.")
    if weights_digest(folder) != manifest.adapter_sha256:
        raise UsageError(f"{folder / WEIGHTS} is not the file that was trained: nothing is pushed.")
    try:
        config = msgspec.json.decode((folder / CONFIG).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        raise UsageError(f"{folder / CONFIG} is missing or unreadable: train the adapter again.") from None
    public = without_paths({**msgspec.to_builtins(manifest), "places": {}})
    config["base_model_name_or_path"] = public["base"]
    return {
        WEIGHTS: str(folder / WEIGHTS),
        CONFIG: _json(without_paths(config)),
        "manifest.json": _json(public),
        "README.md": model_card(msgspec.convert(public, AdapterManifest)).encode(),
    }


def without_paths(value: Any) -> Any:
    """A JSON value in which every path of this machine is its last part only."""
    if isinstance(value, dict):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(inner) for inner in value]
    if isinstance(value, str) and is_path(value):
        return Path(value).name
    return value


def _repository(api: Any, repo: str, public: bool) -> tuple[str, bool]:
    from huggingface_hub import errors as hub

    try:
        return str(api.create_repo(repo, private=not public)), public
    except hub.HfHubHTTPError as error:
        if error.response is None or error.response.status_code != 409:
            raise
    there = api.model_info(repo)
    if not there.private and not public:
        raise UsageError(f"{repo} exists and is public: use --public, or name another repository.")
    return f"{api.endpoint}/{repo}", not there.private


def _not_logged_in(repo: str) -> UsageError:
    return UsageError(
        f"you are not logged in at the Hub, so {repo} cannot be written: run `hf auth login`, or set HF_TOKEN."
    )


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
