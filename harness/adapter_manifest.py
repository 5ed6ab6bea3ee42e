"""What is known of a trained adapter: its manifest, its place, which is current, and whether it fits a base."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import UsageError, did_you_mean
from harness.files import lock, write_json
from harness.hashing import file_digest
from harness.peft_folder import (
    TOKENIZER,
    WEIGHTS,
    peft_location,
    read_peft_folder,
    tensor_name,
)
from harness.records import Decode, Record
from harness.remote_adapter import fetch_adapter, is_remote
from harness.safetensors_header import TensorInfo, read_header
from harness.workspace import Workspace


def misfit(adapter: Path, base: Path) -> str | None:
    """Why an adapter belongs to another base, as half a sentence; None where every size agrees.

    Only layers whose weights lie in the base under the adapter's own name for them are compared: quantised bases pack
    theirs, and some architectures fuse several layers into one.
    """
    weights: dict[str, TensorInfo] = {}
    for path in sorted(base.glob("*.safetensors")):
        weights |= read_header(path)
    for name, tensor in read_header(adapter / WEIGHTS).items():
        module, factor, _ = tensor_name(name).partition(".lora_")
        layer = weights.get(f"{module}.weight")
        if not factor or layer is None or len(layer.shape) != 2 or len(tensor.shape) != 2:
            continue
        outputs, inputs = layer.shape
        if tensor_name(name).endswith(".lora_A.weight") and tensor.shape[1] not in (inputs, outputs):
            return f"{module} takes {inputs:,} values there, the adapter's {tensor.shape[1]:,}"
        if tensor_name(name).endswith(".lora_B.weight") and tensor.shape[0] not in (inputs, outputs):
            return f"{module} gives {outputs:,} values there, the adapter's {tensor.shape[0]:,}"
    missing = _missing_layer(adapter, weights)
    return None if missing is None else f"it has no layer {missing}"


def _missing_layer(adapter: Path, weights: dict[str, TensorInfo]) -> int | None:
    """The number of a layer that the adapter has factors for and the base has not."""
    theirs = [number for name in read_header(adapter / WEIGHTS) if (number := _layer(tensor_name(name))) is not None]
    ours = [number for name in weights if (number := _layer(name)) is not None]
    return max(theirs) if theirs and ours and max(theirs) > max(ours) else None


def _layer(name: str) -> int | None:
    number = name.rpartition("layers.")[2].partition(".")[0]
    return int(number) if "layers." in name and number.isdecimal() else None


SCHEMA = 1
MANIFEST = "manifest.json"
OWN_ROWS = "the task's own rows"
"""What a manifest says of training rows that came from no file."""
BASELINE = "tfidf"
"""The value of `base` for a classical baseline."""

ROWS = "rows.json"
"""Ids (hashes of the inputs) of the rows an adapter learned from: {"train": [..], "validation": [..]}."""


class HostedTraining(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What a provider did: where and as which job, what it chose, and what it costs by the list.

    trained_tokens: as billed. usd_per_million, price_as_of: of trained tokens, and the price's date. None: not
    reported.
    """

    base_url: str
    job: str
    training_file: str | None = None
    validation_file: str | None = None
    trained_tokens: int | None = None
    epochs: int | None = None
    batch: float | None = None
    learning_rate_multiplier: float | None = None
    usd_per_million: float | None = None
    price_as_of: str = ""
    cost_usd: float | None = None


class AdapterManifest(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything that an adapter depends on; stored with its weights as `manifest.json`.

    schema: version of the file. id: of the adapter. task: its name. task_version: of its parser. labels: the closed set
    of answers. recipe_name: as given. recipe: all its fields. objective: what was trained. decode: how answers are
    taken from it by default. hosted: what the provider did. template_hash: of the chat template. seed: of every choice.
    steps: of the optimiser. tokens: that were trained on. created: ISO time, UTC. duration_s: seconds of the training.
    device_hours: duration times devices. device_hour_usd: price of an hour of a device. metrics: on the validation
    rows. versions, hardware: of the machine. adapter_sha256: of the weights. base: model id or path as given;
    base_revision: the Hub commit, where there is one; base_sha256: of the weight files. objective "generate" trains
    answers, "head" a classification head, "tfidf" a classical baseline, "hosted" answers at a provider; decode is what
    `run` uses by default. data: {"source", "split", "fingerprint", "rows"}; selection: which rows chose the checkpoint;
    its "group": what this adapter was chosen from. places: "task", "base" and "data" by whole paths where they were
    files or folders of the machine that trained. prompt: {"file", "sha256"} where it was trained with another prompt
    than the task's. origin: "peft" for an adapter that Bench did not train; then task, data and selection are only what
    its import was given. tokenizer: whether its folder holds the tokenizer that it was trained with. model: for hosted
    fine-tuning, the tuned model's id at the provider (then no weights here), and hosted: what the provider did.
    temperature: by which label scores are divided to be calibrated probabilities, fitted on the validation rows; None
    where the adapter scores no labels or had too few of them.
    """

    schema: int = SCHEMA
    id: str
    task: str
    task_version: str
    base: str
    base_revision: str | None = None
    base_sha256: str | None = None
    objective: Literal["generate", "head", "tfidf", "hosted"] = "generate"
    decode: Decode = "generate"
    labels: tuple[str, ...] = ()
    recipe_name: str = ""
    recipe: dict[str, Any] = {}
    data: dict[str, Any] = {}
    selection: dict[str, Any] = {}
    places: dict[str, str] = {}
    template_hash: str | None = None
    prompt: dict[str, Any] | None = None
    seed: int = 0
    steps: int = 0
    tokens: int = 0
    created: str = ""
    duration_s: float = 0.0
    device_hours: float = 0.0
    device_hour_usd: float | None = None
    metrics: dict[str, float] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    adapter_sha256: str | None = None
    model: str | None = None
    hosted: HostedTraining | None = None
    temperature: float | None = None
    origin: Literal["bench", "peft"] = "bench"
    tokenizer: bool = False

    @property
    def quantization(self) -> str | None:
        """Of the base's weights that it learned on ("none", "nf4"); None where its recipe does not say."""
        quantization = self.recipe.get("quantization")
        return str(quantization) if quantization in ("none", "nf4") else None

    @property
    def task_spec(self) -> str:
        """What names the task from any folder: its file (and class), or its name."""
        return self.places.get("task", self.task)

    @property
    def base_spec(self) -> str:
        """What names the base from any folder: its own, where it is still there, or the name as given."""
        whole = self.places.get("base", "")
        return whole if whole and not Path(self.base).is_absolute() and Path(whole).exists() else self.base

    @property
    def training_cost_usd(self) -> float | None:
        """Device-hours times their price, or what the provider's list says; None where the price is unknown."""
        if self.hosted is not None:
            return self.hosted.cost_usd
        return None if self.device_hour_usd is None else self.device_hours * self.device_hour_usd

    @property
    def trainings(self) -> int:
        """How many trainings this adapter was chosen from (`--seeds`, `--sweep`), failed ones too."""
        return int(self.selection.get("group", {}).get("of", 1))

    @property
    def whole_training_cost_usd(self) -> float | None:
        """What it took to have this adapter: its own training and all others that it was chosen from.

        A training of unknown cost (one that failed, or a group of an older version) counts as its own.
        """
        own = self.training_cost_usd
        if own is None:
            return None
        known = [float(usd) for usd in self.selection.get("group", {}).get("training_usd", [])] or [own]
        return sum(known) + own * (self.trainings - len(known))


def write_manifest(folder: Path, manifest: AdapterManifest) -> None:
    """Write `manifest.json` whole or not at all (written aside, then renamed)."""
    write_json(folder / MANIFEST, manifest)


def read_manifest(folder: Path) -> AdapterManifest:
    """The manifest of an adapter folder; of a PEFT folder that Bench did not write, what its own files say.

    Raises UsageError where the folder is no adapter, for a PEFT folder that cannot be used, and for a newer schema.
    """
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError:
        return foreign_manifest(folder)
    try:
        schema = msgspec.json.decode(raw, type=dict[str, Any]).get("schema", 0)
        if isinstance(schema, int) and schema > SCHEMA:
            raise UsageError(f"{path} is of schema {schema}, this Bench reads up to {SCHEMA}: update Bench.")
        return msgspec.json.decode(raw, type=AdapterManifest)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is not a readable adapter manifest ({error}).") from None


def foreign_manifest(folder: Path) -> AdapterManifest:
    """A manifest for a PEFT folder from its configuration and weights. Raises UsageError where it cannot be used.

    Its id is the folder's name and the beginning of the weights' digest: two folders called `lora` are two adapters.
    """
    found = read_peft_folder(folder)
    sha256 = file_digest(found.folder / WEIGHTS)
    head = found.head_labels > 0
    return AdapterManifest(
        id=f"{found.folder.resolve().name}-{sha256[:8]}",
        task="",
        task_version="",
        base=found.base,
        base_revision=found.revision,
        objective="head" if head else "generate",
        decode="head" if head else "generate",
        labels=found.labels,
        recipe={"quantization": found.quantization} if found.quantization else {},
        adapter_sha256=sha256,
        origin="peft",
        tokenizer=found.tokenizer,
    )


def tokenizer_folder(folder: Path, manifest: AdapterManifest) -> Path | None:
    """Where the tokenizer lies that an adapter was trained with; None: it is the base's."""
    return folder if manifest.tokenizer and (folder / TOKENIZER).is_file() else None


def weights_digest(folder: Path) -> str | None:
    """SHA-256 of the adapter's weights; None for a hosted adapter, which has no weights here."""
    path = folder / WEIGHTS
    return file_digest(path) if path.is_file() else None


def learned_rows(folder: Path) -> frozenset[str] | None:
    """Ids of all rows an adapter has seen, validation rows included; None where it keeps no list."""
    try:
        lists = msgspec.json.decode((folder / ROWS).read_bytes(), type=dict[str, list[str]])
    except OSError:
        return None
    return frozenset(row for rows in lists.values() for row in rows)


def places_of(task: str, base: str, data: str | None) -> dict[str, str]:
    """The whole paths of what a training was given as files or folders (`AdapterManifest.places`)."""
    named = {"task": whole_task_spec(task), "base": base_key(base), "data": base_key(data or "")}
    given = {"task": task, "base": base, "data": data or ""}
    return {
        what: whole for what, whole in named.items() if whole and (whole != given[what] or Path(whole).is_absolute())
    }


def whole_task_spec(spec: str) -> str:
    """A task's word with a file's whole path in it, so that it names the task from any folder."""
    file, colon, name = spec.rpartition(":") if not spec.endswith(".toml") else (spec, "", "")
    return f"{Path(file).resolve()}{colon}{name}" if file.endswith((".py", ".toml")) else spec


def base_key(base: str) -> str:
    """How a base model is named in `current.json`: a local folder by its absolute path, else its Hub id."""
    return str(Path(base).resolve()) if base and Path(base).exists() else base


def _current(workspace: Workspace) -> dict[str, dict[str, str]]:
    path = workspace.adapters / "current.json"
    if not path.is_file():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])


@contextmanager
def _changing_current(workspace: Workspace) -> Iterator[dict[str, dict[str, str]]]:
    """The marks, to be changed in place while no other process does: trainings may end in the same instant."""
    workspace.adapters.mkdir(parents=True, exist_ok=True)
    path = workspace.adapters / "current.lock"
    with path.open("ab") as held:
        lock(held, f"{path} is being written by another bench process", wait=True)
        current = _current(workspace)
        yield current
        write_json(workspace.adapters / "current.json", current)


def mark_current(workspace: Workspace, manifest: AdapterManifest) -> None:
    """Make this the adapter that `adapter = "auto"` finds for its task and base."""
    with _changing_current(workspace) as current:
        current.setdefault(manifest.task, {})[base_key(manifest.base_spec)] = manifest.id


def unmark(workspace: Workspace, adapter_id: str) -> None:
    """Forget that an adapter is current, wherever it is."""
    if not any(adapter_id in of_task.values() for of_task in _current(workspace).values()):
        return
    with _changing_current(workspace) as current:
        for task, of_task in current.items():
            current[task] = {base: i for base, i in of_task.items() if i != adapter_id}


def find_current(workspace: Workspace, task: str, base: str, train: str | None = None) -> Path:
    """The folder of the adapter marked current. Raises UsageError saying which command (`train`) makes one."""
    of_task = _current(workspace).get(task, {})
    found = of_task.get(base_key(base))
    if found is not None and (workspace.adapters / found / MANIFEST).is_file():
        return workspace.adapters / found
    train = train or f"bench train --task {task} --base {base}"
    others = [b for b in of_task if b not in (base_key(base), BASELINE)]
    hint = f" (there is one for {others[0]}: use --base {others[0]})" if others else ""
    raise UsageError(f"no adapter for task '{task}' on base {base} in {workspace.adapters}{hint}: run `{train}` first.")


def adapter_folders(workspace: Workspace) -> list[Path]:
    """Folders of a workspace's adapters, by name; one that is being made or taken away is none."""
    return sorted(path.parent for path in workspace.adapters.glob(f"[!.]*/{MANIFEST}"))


def find_adapter(workspace: Workspace, word: str) -> Path:
    """An adapter folder by path or by id in the workspace; one that lies elsewhere (`hub:..`, `s3://..`, an archive) is
    fetched. Raises UsageError with the nearest id."""
    if is_remote(word):
        return fetch_adapter(word, workspace.root)
    for folder in (Path(word).expanduser(), workspace.adapters / word):
        if (folder / MANIFEST).is_file():
            return folder
    path = Path(word).expanduser()
    foreign = peft_location(path)
    if foreign is not None:
        return foreign
    if path.exists():
        read_peft_folder(path)  # says why it is none
    ids = [path.name for path in adapter_folders(workspace)]
    raise UsageError(f"no adapter '{word}': neither an adapter's folder nor an id{did_you_mean(word, ids)}.")
