"""Which parameters a model refuses, renames or needs: a table, so that none is dropped silently."""

from functools import lru_cache
from importlib import resources

import msgspec

from harness.records import Record

GATEWAYS = {"openai", "azure", "azure_ai", "openrouter", "litellm", "github", "vercel"}
"""What may stand before the name of one of OpenAI's models: "openai/gpt-5-mini", "openrouter/openai/o3"."""


class Family(Record, frozen=True, kw_only=True):
    """One family's line; see capabilities.toml for the meaning of each field."""

    prefixes: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    reasoning_effort: str | None = None
    refused: tuple[str, ...] = ()
    refused_reasoning: tuple[str, ...] = ()
    schema: bool = True

    def refuses(self, effort: str | None) -> tuple[str, ...]:
        """What is refused at a reasoning effort."""
        return self.refused if effort == "none" else self.refused + self.refused_reasoning


class _Table(Record, frozen=True, kw_only=True):
    families: tuple[Family, ...]


@lru_cache(maxsize=1)
def _families() -> tuple[Family, ...]:
    text = resources.files("harness.api").joinpath("capabilities.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Table).families


@lru_cache(maxsize=64)
def family_of(model: str) -> Family:
    """The family of a model id by its longest matching prefix; an unknown model is taken to accept everything, until
    the server says otherwise (`parameters.py`)."""
    *providers, name = model.split("/")
    if not GATEWAYS.issuperset(providers):  # a model of somebody else's, whatever its name begins with
        return Family()
    base = name.split(":")[1] if name.startswith("ft:") else name
    matches = [(len(p), f) for f in _families() for p in f.prefixes if base.startswith(p) or base == p.rstrip("-")]
    return max(matches, key=lambda match: match[0])[1] if matches else Family()
