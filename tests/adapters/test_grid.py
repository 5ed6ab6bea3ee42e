"""A sweep is resolved before anything is trained: what it cannot mean is one sentence."""

import pytest

from harness.adapters.sweep import grid, swept_fields
from harness.errors import UsageError

LR = "learning_rate=1e-4,2e-4"


def test_a_grid_holds_every_combination_with_every_seed_in_a_fixed_order() -> None:
    points = grid("tiny-agnews", ("seed=7",), (LR, "lora.r=8,16"), 2)
    assert [p.number for p in points] == list(range(1, 9))
    assert [p.named() for p in points[:3]] == [
        "learning_rate=0.0001, lora.r=8, seed 7",
        "learning_rate=0.0001, lora.r=8, seed 8",
        "learning_rate=0.0001, lora.r=16, seed 7",
    ]
    assert {p.recipe.drawn_by for p in points} == {7}, "all learn from the same rows"
    assert points[2].recipe.lora.r == 16 and points[2].recipe.seed == 7


def test_seeds_alone_vary_nothing_but_the_seed() -> None:
    points = grid("tiny-agnews", (), (), 3)
    assert [(p.seed, p.settings) for p in points] == [(0, {}), (1, {}), (2, {})]


def test_commas_within_a_list_or_a_text_do_not_part_values() -> None:
    assert swept_fields(('lora.targets=["q_proj", "v_proj"],all-linear',)) == {
        "lora.targets": ['["q_proj", "v_proj"]', "all-linear"]
    }


@pytest.mark.parametrize(
    ("sweeps", "said"),
    [
        (("lr=1e-4,2e-4",), "unknown field 'lr'; did you mean"),
        (("lora.rank=8,16",), r"\[lora\]: unknown field 'rank'"),
        (("lora.r",), "say field=value,value"),
        (("lora.r=8",), "names one value: use --set lora.r=8"),
        ((LR, "learning_rate=1,2"), "is given twice"),
        (("learning_rate=1e-4,0.0001",), "names learning_rate=0.0001, seed 0 twice"),
        (("seed=1,2",), "use --seeds N"),
        (("validation_rows=10,20",), "same validation rows"),
        (("objective=head,generate",), "train each recipe on its own"),
        (("learning_rate=-1,1",), "learning_rate must be more than 0"),
        (("lora.r=8,many",), "Expected `int`"),
    ],
)
def test_what_cannot_be_swept_is_told_in_one_sentence(sweeps: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        grid("tiny-agnews", (), sweeps, 1)
