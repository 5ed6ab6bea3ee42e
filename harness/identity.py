"""What answered: the identity of a backend, as it stands in manifests, cache keys and comparisons."""

from typing import Any

from harness.records import Decode, Record


class Identity(Record, frozen=True, kw_only=True):
    """What answered: stands in the manifest, in the cache key, and decides what may be compared.

    `price` is USD per million tokens as used; `settings` are further facts (dtype, device, adapter path,
    base URL, limits), never a secret; `training_usd` is what its adapter's training cost, with
    all `trainings` that it was chosen from;
    `retired` is the model's shut-down date where one is known.
    """

    kind: str
    model: str
    decode: Decode
    adapter: str | None = None
    adapter_sha256: str | None = None
    base_sha256: str | None = None
    price: dict[str, Any] | None = None
    device_hour_usd: float | None = None
    training_usd: float | None = None
    trainings: int = 1
    retired: str | None = None
    settings: dict[str, Any] = {}
