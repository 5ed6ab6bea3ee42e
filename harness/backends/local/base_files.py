"""The base model's files: location, commit or digest, and the lock under which one model loads at a time."""

import functools
import logging
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command
from harness.hashing import digest, file_digest
from harness.peft_folder import PEFT_CONFIG, WEIGHTS, peft_config
from harness.safetensors_header import read_header

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
UNWANTED = ["original/*", "onnx/*", "consolidated*"]
PICKLES = (".bin", ".pt", ".pth", ".pkl")


class BaseFiles(NamedTuple):
    """A base model on this machine: the name as given, its folder, its Hub commit (None for a local folder)."""

    name: str
    folder: Path
    revision: str | None = None

    @property
    def weights(self) -> list[Path]:
        """The weight files, all of them safetensors."""
        return sorted(self.folder.glob("*.safetensors"))

    def sha256(self) -> str:
        """SHA-256 over the names and contents of the weight files; hashed once a process."""
        return digest({p.name: _file_sha256(p, p.stat().st_size, p.stat().st_mtime_ns) for p in self.weights})

    def config_sha256(self) -> str:
        """SHA-256 over configuration, tokenizer and chat template: the same weights answer differently under others."""
        files = sorted(p for p in self.folder.iterdir() if p.suffix in (".json", ".jinja", ".model"))
        return digest({p.name: _file_sha256(p, p.stat().st_size, p.stat().st_mtime_ns) for p in files})


@functools.lru_cache(maxsize=256)
def _file_sha256(path: Path, _size: int, _changed_ns: int) -> str:
    return file_digest(path)


def find_base(model: str, purpose: str = "base model", instead: str = "--base PATH") -> BaseFiles:
    """The files of a local folder, or of a Hub model (downloaded where they are not yet cached).

    what, instead: how sentences name it, and the option that names another.
    Raises UsageError saying what to do: no such folder, no connection, gated, pickled or truncated weights.
    """
    folder = Path(model).expanduser()
    local = folder.is_dir()
    if not local and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise UsageError(f"{purpose} {model}: there is no such folder; name one with {instead}.")
    files = BaseFiles(model, folder) if local else _from_hub(model, f"{purpose} {model}", instead)
    _refuse_adapter_files(files.folder, f"{purpose} {model}")
    if not (files.folder / "config.json").is_file():
        raise UsageError(f"{purpose} {model}: {files.folder} holds no config.json, so it is not a transformers model.")
    if not files.weights:
        pickled = [p.name for p in files.folder.iterdir() if p.suffix in PICKLES] if local else []
        reason = f"its weights are pickled ({pickled[0]}), which can run code" if pickled else "it holds no weights"
        raise UsageError(
            f"{purpose} {model}: {reason}; Bench reads safetensors only: "
            f"save it again with save_pretrained, or name another with {instead.split()[0]}."
        )
    for path in files.weights:
        read_header(path)
    for index in files.folder.glob("*.safetensors.index.json"):
        _check_shards(index, f"{purpose} {model}")
    return files


def _check_shards(index: Path, fail: str) -> None:
    """Raise UsageError where a file of a model in shards is missing."""
    try:
        named = msgspec.json.decode(index.read_bytes(), type=_ShardIndex).weight_map
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{fail}: {index} cannot be read ({error}).") from None
    missing = sorted({name for name in named.values() if not (index.parent / name).is_file()})
    if missing:
        raise UsageError(f"{fail}: {index.parent} lacks {missing[0]}, which its index names: download it again.")


class _ShardIndex(msgspec.Struct):
    weight_map: dict[str, str]


def _refuse_adapter_files(folder: Path, fail: str) -> None:
    """Raise UsageError for a folder with a PEFT adapter: transformers loads such an adapter on top of the weights."""
    if peft_config(folder) is None:
        return
    if any(path.name != WEIGHTS for path in folder.glob("*.safetensors")):
        raise UsageError(
            f"{fail}: {folder} holds a whole model and a PEFT adapter ({PEFT_CONFIG}), which transformers would apply "
            "on top of the model's weights: move the files adapter_config.json and adapter_model.safetensors out of "
            "the folder (after a merge they are left over), or name the model without the adapter."
        )
    raise UsageError(f'{fail}: {folder} is an adapter, not a model: name its base here, and say adapter = "{folder}".')


def _from_hub(model: str, fail: str, instead: str) -> BaseFiles:
    try:
        from huggingface_hub import errors as hub
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        raise missing_local_extra() from None
    disable_progress_bars()
    folder = f"or name a folder with {instead}"
    try:
        path = snapshot_download(model, allow_patterns=WANTED, ignore_patterns=UNWANTED)
    except hub.GatedRepoError:
        raise UsageError(
            f"{fail} is gated: accept its licence at https://huggingface.co/{model} and set HF_TOKEN, {folder}."
        ) from None
    except hub.RepositoryNotFoundError:
        raise UsageError(f"{fail} is not on the Hub, or is private: check the name, set HF_TOKEN, {folder}.") from None
    except hub.HFValidationError:
        raise UsageError(
            f"{fail} is neither a folder nor a Hub id (owner/name): {folder.removeprefix('or ')}."
        ) from None
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, hub.HfHubHTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(f"{fail} cannot be fetched ({reason}): check the connection and HF_TOKEN, {folder}.") from None
    return BaseFiles(model, Path(path), revision=Path(path).name)


def missing_local_extra() -> UsageError:
    """The sentence for an installation without the `local` extra."""
    return MissingExtraError(f"local models need torch, transformers and peft: {install_command('local')}.")


logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it advises about optional kernels when PEFT imports it
