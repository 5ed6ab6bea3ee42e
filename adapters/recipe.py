"""Recipes: how an adapter is trained, as TOML. Unknown fields are refused, `extends` inherits, `--set` overrides."""

import math
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from harness.errors import SettingsError, did_you_mean
from harness.files import read_text
from harness.records import Decode, Record

T = TypeVar("T", bound=msgspec.Struct)


class RowChoice(Protocol):
    """What a recipe of any kind says of rows: how many train and which, how many validate, and by what seed."""

    @property
    def rows(self) -> int | None:
        """At most so many training rows."""
        ...

    @property
    def best_by(self) -> str | None:
        """The column whose largest numbers are taken; None: a seeded sample."""
        ...

    @property
    def validation_rows(self) -> int:
        """Rows held back from training."""
        ...

    @property
    def drawn_by(self) -> int:
        """The seed by which rows are drawn."""
        ...


class Lora(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Low-rank adapters (LoRA).

    r: rank of the added matrices. alpha: their scale is alpha / r. dropout: share of their inputs left out at each
    step. targets: "all-linear" or names of modules. rslora: scale by alpha / sqrt(r) instead. dora: train directions
    and magnitudes apart (DoRA).
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | list[str] = "all-linear"
    rslora: bool = False
    dora: bool = False


class Tfidf(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The classical baseline: TF-IDF and logistic regression.

    ngrams: longest word n-gram that is counted. min_df: those that occur in this many rows. c: inverse strengths of
    the regularisation to try; validation rows choose.
    """

    ngrams: int = 2
    min_df: int = 1
    c: tuple[float, ...] = (10.0,)


class Claim(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What was published about a case, as data beside what is measured; never a target.

    who: the model meant. metric: the figure's name. value: a share (0.95), or a bound where `text` says so. n: rows it
    rests on. text: the claim in words.
    """

    who: str
    metric: str
    value: float
    n: int | None = None
    text: str = ""


class Recipe(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything that decides a training, its data aside.

    about: one line for `bench list recipes`.
    objective: "generate" trains the answers to the prompts that `run` sends, "head" a classification head on
        the row's own texts, "tfidf" a classical baseline on them.
    decode: what `run` uses by default ("auto": by objective).
    base: taken when the command names none. quantization: "nf4" trains on 4-bit base weights.
    dtype: type of the frozen weights; "auto" is a 16-bit type on an accelerator, and on a CPU float32, or bfloat16
        where the weights are stored so and the processor computes it (AVX512-BF16, AMX).
    max_length: most tokens of prompt and answer (default: the base's context). too_long: rows beyond it are
        refused, dropped, or lose the ends of their passages ("cut"), as `run` cuts them; answers never.
    epochs: how often each row is seen. max_steps: ends the training early, whatever the epochs (-1: not).
    batch: rows computed at once, together with accumulate the rows of a step. accumulate: batch x accumulate rows make
        one step, whatever the number of devices.
    learning_rate: the highest one. schedule: how the learning rate moves, as transformers names it. warmup: steps
        until the highest learning rate, or a share of all steps below 1.
    optimizer: as transformers names it. weight_decay: how much the trained weights shrink in a step, times the
        learning rate. max_grad_norm: maximum gradient norm (gradient clipping).
    activation_checkpointing: less memory for more time (default: where memory asks for it).
    sharding: "fsdp2" spreads the base's weights over several devices, for bases that one cannot hold.
    kernels: "auto" takes Liger's on CUDA where liger-kernel is installed, "none" never does.
    rows: at most so many training rows: a seeded sample, or with best_by the best ones. best_by: the column whose
        largest numbers say which rows are best.
    validation_rows: kept out of the training rows to choose the checkpoint.
    evaluations: how often validation rows are asked during the training; patience: so many evaluations without a
        better score end it (0: never).
    seed: of row order, initial weights and dropout. rows_seed: of which rows are drawn and held back (default: seed).
    device_hour_usd: price of the device, for the adapter's cost.
    template: variables of the chat template ({ enable_thinking = false }); `run` asks the adapter with the same.
    lora: the adapter's shape. tfidf: settings of the classical baseline. claims: what was published about the case.
    """

    about: str = ""
    objective: Literal["generate", "head", "tfidf"] = "generate"
    decode: Decode | Literal["auto"] = "auto"
    base: str | None = None
    quantization: Literal["none", "nf4"] = "none"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_length: int | None = None
    too_long: Literal["refuse", "drop", "cut"] = "refuse"
    epochs: float = 1.0
    max_steps: int = -1
    batch: int = 16
    accumulate: int = 1
    learning_rate: float = 2e-4
    schedule: str = "linear"
    warmup: float = 0.0
    optimizer: str = "adamw_torch"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    activation_checkpointing: bool | None = None
    sharding: Literal["none", "fsdp2"] = "none"
    kernels: Literal["auto", "none"] = "auto"
    rows: int | None = None
    best_by: str | None = None
    validation_rows: int = 500
    evaluations: int = 4
    patience: int = 0
    seed: int = 0
    rows_seed: int | None = None
    device_hour_usd: float | None = None
    template: dict[str, Any] = {}
    lora: Lora = Lora()
    tfidf: Tfidf = Tfidf()
    claims: tuple[Claim, ...] = ()

    @property
    def drawn_by(self) -> int:
        """The seed of which rows are drawn and held back."""
        return self.seed if self.rows_seed is None else self.rows_seed

    @property
    def default_decode(self) -> Decode:
        """How answers are taken from this adapter when nobody says otherwise."""
        if self.decode != "auto":
            return self.decode
        return "generate" if self.objective == "generate" else "head"


def builtin_names() -> list[str]:
    """Names of the recipes that come with Bench."""
    folder = resources.files("harness.adapters.recipes")
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".toml"))


def list_recipes() -> dict[str, str]:
    """Every built-in recipe with what it is about."""
    return {name: str(recipe_table(name).get("about", "")) for name in builtin_names()}


def recipe_table(word: str, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe as a plain table, parents and overrides applied; its fields are not yet checked.

    Raises UsageError: unknown recipe, no TOML, `extends` in a circle.
    """
    table = _table(word, ())
    for override in overrides:
        _override(table, override)
    return table


def load_recipe(word: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A recipe by name or by path to a TOML file, with `key=value` overrides (`lora.r=8`) on top.

    Raises UsageError: unknown recipe or field (with the nearest name), wrong type, `extends` in a circle.
    """
    table, where = recipe_table(word, overrides), f"recipe {word}"
    for name, kind in (("lora", Lora), ("tfidf", Tfidf)):
        if isinstance(table.get(name), dict):
            _refuse_unknown(table[name], kind, f"{where}: [{name}]")
    recipe = checked(table, Recipe, where)
    refuse_below_zero(recipe, ("batch", "accumulate", "learning_rate", "epochs", "rows", "max_length"), where)
    return recipe


def _table(word: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if word in seen:
        raise SettingsError(f"recipe {word} extends itself: {' -> '.join((*seen, word))}.")
    table = _read(word)
    parent = table.pop("extends", None)
    if parent is None:
        return table
    beside = Path(word).parent / f"{parent}.toml" if word.endswith(".toml") else None
    return _merged(_table(str(beside) if beside and beside.is_file() else parent, (*seen, word)), table)


def _read(word: str) -> dict[str, Any]:
    if word.endswith(".toml"):
        path = Path(word)
        if not path.is_file():
            raise SettingsError(f"--recipe {word}: there is no such file.")
        try:
            text = read_text(path)
        except UnicodeDecodeError as error:
            raise SettingsError(f"recipe {word} is not UTF-8 (byte {error.start}).") from None
    elif word in builtin_names():
        text = resources.files("harness.adapters.recipes").joinpath(f"{word}.toml").read_text("utf-8")
    else:
        raise SettingsError(f"no recipe '{word}'{did_you_mean(word, builtin_names())}.")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"recipe {word} is not valid TOML: {error}.") from None


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        inner = both.get(key)
        both[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
    return both


def _override(table: dict[str, Any], override: str) -> None:
    """Apply one `key=value`; values are read as TOML, and as plain words where that fails."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"--set {override}: say key=value, for example --set lora.r=8.")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *outer, last = key.split(".")
    for part in outer:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"--set {override}: '{part}' is not a table.")
    table[last] = value


def checked(table: dict[str, Any], kind: type[T], where: str) -> T:
    """A table as a typed recipe. Raises UsageError for unknown fields (with the nearest name) and wrong types."""
    _refuse_unknown(table, kind, where)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}.") from None


def refuse_below_zero(recipe: msgspec.Struct, names: tuple[str, ...], where: str) -> None:
    """Raises UsageError naming the first of these numbers that is not above 0, or no number (words and None pass)."""
    for name in names:
        value = getattr(recipe, name)
        if isinstance(value, int | float) and not 0 < value < math.inf:
            raise SettingsError(f"{where}: {name} must be more than 0, and finite; it is {value}.")


def _refuse_unknown(table: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    known = {f.name for f in msgspec.structs.fields(kind)}
    for key in table:
        if key not in known:
            raise SettingsError(f"{where}: unknown field '{key}'{did_you_mean(key, known)}.")
