"""`bench.toml`: found upwards from the current folder; flags win over it, it wins over the built-in defaults."""

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.errors import SettingsError, did_you_mean
from harness.files import read_text

T = TypeVar("T")

TABLES = ("backends", "gate", "verdict")
"""The tables of `bench.toml`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a `bench.toml`, merged over the built-in ones.

    backends: name -> its table. gate, verdict: the tables `[gate]` and `[verdict]`. path: the file; None where there is
    none.
    """

    backends: dict[str, dict[str, Any]]
    gate: dict[str, Any] = {}
    verdict: dict[str, Any] = {}
    path: Path | None = None

    def backend(self, name: str) -> dict[str, Any]:
        """The raw table of one backend. Raises UsageError with the nearest name."""
        if name not in self.backends:
            raise SettingsError(f"no backend '{name}'{did_you_mean(name, self.backends)}.")
        return self.backends[name]


def builtin_backends() -> dict[str, dict[str, Any]]:
    """The backends that can be named without a `bench.toml`."""
    text = resources.files("harness").joinpath("defaults.toml").read_text("utf-8")
    backends: dict[str, dict[str, Any]] = tomllib.loads(text)["backends"]
    return backends


def load_settings(config: Path | None = None) -> Settings:
    """Built-in defaults, overlaid by `config` or else the nearest `bench.toml` upwards.

    Raises UsageError for a file that is not TOML or holds unknown keys.
    """
    backends = builtin_backends()
    path = config or _nearest(Path.cwd())
    if path is None:
        return Settings(backends=backends)
    table = read_toml(path)
    for key in table:
        if key not in TABLES:
            raise SettingsError(f"{path}: unknown key '{key}'{did_you_mean(key, TABLES)}.")
    for key in table:
        if not isinstance(table[key], dict):
            raise SettingsError(f"{path}: [{key}] must be a table.")
    for name, own in table.get("backends", {}).items():
        if not isinstance(own, dict):
            raise SettingsError(f"{path}: [backends.{name}] must be a table.")
        base = backends.get(name, {})
        same_kind = own.get("kind", base.get("kind")) == base.get("kind")
        backends[name] = {**(base if same_kind else {}), **own}
    return Settings(backends=backends, gate=table.get("gate", {}), verdict=table.get("verdict", {}), path=path)


def _nearest(folder: Path) -> Path | None:
    return next((p / "bench.toml" for p in (folder, *folder.parents) if (p / "bench.toml").is_file()), None)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a table. Raises UsageError for a file that cannot be read or is not TOML."""
    try:
        return tomllib.loads(read_text(path))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from None


def decode_table(table: dict[str, Any], kind: type[T], where: str) -> T:
    """A raw table as a typed Struct. Raises UsageError: unknown keys with the nearest name, wrong types."""
    known = {f.encode_name for f in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise SettingsError(f"{where}: unknown key '{key}'{did_you_mean(key, known)}.")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {explained(error)}.") from None


_TYPES = {
    "float": "a number",
    "int": "a whole number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list in [ ]",
    "object": "a table",
}
"""msgspec's names of types, in words."""


def explained(error: msgspec.ValidationError) -> str:
    """A decoder's complaint with the key first and types in words: `rpm: a number is expected, not text in quotes`."""
    problem, _, path = str(error).rpartition(" - at `$") if " - at `$" in str(error) else (str(error), "", "")
    key = re.sub(r"\[\.\.\.\]", "", path.rstrip("`").lstrip("."))
    missing = re.fullmatch(r"Object missing required field `(.+)`", problem)
    if missing:
        return f"the key '{'.'.join(filter(None, (key, missing[1])))}' is missing"
    kinds = re.fullmatch(r"Expected `([^`]+)`(?:, got `([^`]+)`| ?(.*))?", problem)
    if kinds is None:
        return f"{key}: {problem}" if key else problem
    wanted = [_TYPES.get(kind, kind) for kind in kinds[1].split(" | ") if kind != "null"]
    got = f", not {_TYPES.get(kinds[2], kinds[2])}" if kinds[2] else ""
    bound = f" {kinds[3]}" if kinds[3] else ""
    expected = f"{' or '.join(wanted)}{bound} is expected{got}"
    return f"{key}: {expected}" if key else expected
