"""What is wanted of a local model, wherever it runs: which weights, and how rows are to be answered. No torch here."""

from typing import Any, Literal

from harness.records import Decode, Message, Record


class Weights(Record, frozen=True, kw_only=True):
    """Which base, and how it is to be placed ("auto" is resolved where it is loaded). `model`: a folder or a Hub id."""

    model: str
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "auto"
    quantization: str = "none"
    threads: int | None = None


class BaseFacts(Record, frozen=True, kw_only=True):
    """A base as found where it will run: its folder there, Hub commit or digests, and how it will be placed."""

    name: str
    folder: str
    revision: str | None = None
    sha256: str | None = None
    config_sha256: str = ""
    placement: dict[str, Any] = {}


class Work(Record, frozen=True, kw_only=True):
    """How one backend wants its rows answered.

    adapter: its name in an engine ("" is the base alone), `folder` where it lies and `sha256` what its weights
    must be; budget: tokens of a batch (None: the device's usual); unbatched: one row at a time (a latency probe).
    template: variables of the chat template; messages: of the first row, as an example of all.
    """

    decode: Decode
    adapter: str = ""
    folder: str | None = None
    sha256: str | None = None
    labels: tuple[str, ...] = ()
    normalisation: Literal["sum", "mean"] = "sum"
    budget: int | None = None
    unbatched: bool = False
    template: dict[str, Any] = {}
    messages: tuple[Message, ...] = ()
