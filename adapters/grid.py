"""`--seeds` and `--sweep`: which trainings a group consists of, all of them checked before the first one begins."""

import itertools
import re
from typing import Any, NamedTuple

import msgspec

from harness.errors import UsageError

from .keep import plain
from .recipe import Recipe, load_recipe

VALUES = re.compile(r"""(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^,])+""")
"""Values between commas; commas within a TOML list or text do not part them."""

NOT_SWEPT = {
    "seed": "say --seeds N",
    "rows_seed": "all candidates learn from, and are ranked on, the same draw of rows",
    "validation_rows": "candidates can only be ranked on the same validation rows",
    "objective": "train each recipe on its own, and let `bench run` compare them",
    "decode": "answers taken in different ways cannot be ranked; let `bench run` compare them",
    "base": "start one sweep a base, and let `bench run` compare their winners",
}
"""Recipe fields that a sweep cannot vary -> why, or what to do."""


class Point(NamedTuple):
    """One training of a group: what differs from the others, how to ask for it, and what it resolves to."""

    number: int
    settings: dict[str, Any]
    overrides: tuple[str, ...]
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Of row order, initial weights and dropout."""
        return self.recipe.seed

    def named(self) -> str:
        """`learning_rate=0.0002, lora.r=8, seed 1`."""
        return ", ".join([*(f"{k}={v}" for k, v in self.settings.items()), f"seed {self.seed}"])


def swept_fields(sweeps: tuple[str, ...]) -> dict[str, list[str]]:
    """Field -> its values as typed. Raises UsageError for what cannot be swept."""
    found: dict[str, list[str]] = {}
    for sweep in sweeps:
        key, equals, text = sweep.partition("=")
        values = [value.strip() for value in VALUES.findall(text)]
        if not equals or not key or not values:
            raise UsageError(f"--sweep {sweep}: say field=value,value, for example --sweep lora.r=8,16.")
        if key in NOT_SWEPT:
            raise UsageError(f"--sweep {sweep}: {key} is not for sweeps: {NOT_SWEPT[key]}.")
        if key in found:
            raise UsageError(f"--sweep {key} is given twice: name all its values in one, split by commas.")
        if len(values) < 2:
            raise UsageError(f"--sweep {sweep} names one value: say --set {sweep}, or name several, split by commas.")
        found[key] = values
    return found


def grid(recipe_name: str, overrides: tuple[str, ...], sweeps: tuple[str, ...], seeds: int) -> list[Point]:
    """All trainings: every point of the grid with every seed, the seeds of one point after each other.

    Which rows are drawn and held back is decided by the first seed for all of them. Raises UsageError:
    unknown field (with the nearest name), wrong value, or the same training twice.
    """
    fields = swept_fields(sweeps)
    first = load_recipe(recipe_name, overrides)
    points: list[Point] = []
    for values in itertools.product(*fields.values()):
        typed = tuple(f"{key}={value}" for key, value in zip(fields, values, strict=True))
        for seed in range(first.seed, first.seed + seeds):
            mine = (*overrides, *typed, f"seed={seed}", f"rows_seed={first.drawn_by}")
            recipe = load_recipe(recipe_name, mine)
            settings = {key: _field(recipe, key) for key in fields}
            points.append(Point(len(points) + 1, settings, mine, recipe))
    seen: set[bytes] = set()
    for point in points:
        encoded = msgspec.json.encode(point.recipe)
        if encoded in seen:
            raise UsageError(f"--sweep names {point.named()} twice.")
        seen.add(encoded)
    return points


def _field(recipe: Recipe, key: str) -> Any:
    """The value of a (dotted) field, as JSON holds it."""
    found: Any = plain(recipe)
    for part in key.split("."):
        found = found[part]
    return found
