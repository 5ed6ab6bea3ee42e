"""Recipes are typed TOML: they inherit, are overridden from the command line, and refuse what they do not know."""

from pathlib import Path

import pytest

from harness.adapters.hosted.hosted_recipe import load_hosted
from harness.adapters.recipe import Lora, builtin_names, list_recipes, load_recipe
from harness.errors import UsageError

HOSTED = "gpt-3.5-turbo-persona"


def test_every_builtin_recipe_loads_and_says_what_it_is_about() -> None:
    assert {"agnews-generate", "tiny-agnews"} <= set(builtin_names())
    assert all(list_recipes().values())
    assert all(load_recipe(name) for name in {*builtin_names()} - {HOSTED})
    assert load_hosted(HOSTED, (), None)


def test_the_published_cases_are_as_published() -> None:
    head = load_recipe("llama-3.2-1b-agnews-head")
    assert (head.objective, head.batch, head.accumulate, head.epochs, head.max_length) == ("head", 16, 2, 1, 128)
    assert (head.base, head.dtype) == ("meta-llama/Llama-3.2-1B-Instruct", "auto")
    assert (head.learning_rate, head.lora) == (5e-5, Lora(r=16, alpha=32, dropout=0.1, targets="all-linear"))
    published = {("accuracy", 0.95, 7600), ("weighted_f1", 0.95, 7600), ("accuracy", 0.872, 500)}
    assert {(c.metric, c.value, c.n) for c in head.claims} == published

    qqp = load_recipe("llama-3-8b-qqp-explained")
    assert (qqp.quantization, qqp.rows, qqp.batch, qqp.epochs, qqp.seed) == ("nf4", 1000, 2, 2, 3407)
    assert (qqp.learning_rate, qqp.schedule, qqp.warmup, qqp.weight_decay) == (2e-4, "cosine", 5, 0.01)
    assert (qqp.base, qqp.optimizer) == ("meta-llama/Meta-Llama-3-8B", "paged_adamw_8bit")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert qqp.lora == Lora(r=16, alpha=16, dropout=0.0, targets=targets)
    assert [(c.metric, c.value, c.n) for c in qqp.claims] == [("accuracy", v, 200) for v in (0.99, 0.63, 0.695)]

    persona, hosted = load_recipe("llama-3.1-8b-persona"), load_hosted(HOSTED, (), None)
    assert (persona.base, hosted.model) == ("meta-llama/Llama-3.1-8B-Instruct", "gpt-3.5-turbo-1106")
    assert [c.value for c in persona.claims] == [0.30, 0.0, 0.02, 0.02]
    assert {c.metric for c in (*persona.claims, *hosted.claims)} == {"format_error_rate"}

    everything = load_recipe("llama-3.2-3b-crossvalidated-all")
    best = load_recipe("llama-3.2-3b-crossvalidated-top10k")
    assert {(r.base, r.quantization) for r in (everything, best)} == {("meta-llama/Llama-3.2-3B-Instruct", "nf4")}
    assert (everything.epochs, everything.rows, everything.best_by) == (1, 39_668, None)
    assert (best.epochs, best.rows, best.best_by) == (3, 10_000, "score")
    assert (best.batch, best.accumulate, best.learning_rate) == (4, 4, 2e-4)


def test_a_recipe_inherits_from_another_beside_it_or_built_in(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "agnews-generate"\nepochs = 3\n[lora]\nr = 4\n')
    (tmp_path / "yours.toml").write_text('extends = "mine"\nbatch = 2\n')
    recipe = load_recipe(str(tmp_path / "yours.toml"))
    assert (recipe.epochs, recipe.batch, recipe.lora.r, recipe.lora.alpha) == (3, 2, 4, 32)


def test_set_overrides_any_field() -> None:
    recipe = load_recipe(
        "tiny-agnews", ("lora.r=2", "learning_rate=1e-4", "schedule=linear", 'lora.targets=["q_proj"]')
    )
    assert (recipe.lora.r, recipe.learning_rate, recipe.schedule) == (2, 1e-4, "linear")
    assert recipe.lora.targets == ["q_proj"]


@pytest.mark.parametrize(
    ("word", "overrides", "said"),
    [
        ("tiny-agnew", (), "did you mean 'tiny-agnews'?"),
        ("tiny-agnews", ("learning_rat=1",), "did you mean 'learning_rate'?"),
        ("tiny-agnews", ("lora.alfa=1",), "did you mean 'alpha'?"),
        ("tiny-agnews", ("epochs=many",), "Expected `float`"),
        ("tiny-agnews", ("lora.r",), "say key=value"),
        ("tiny-agnews", ("batch=0",), "batch must be more than 0"),
        ("tiny-agnews", ("epochs=inf",), "epochs must be more than 0, and finite"),
        ("tiny-agnews", ("learning_rate=nan",), "learning_rate must be more than 0"),
        ("tiny-agnews", ("rows=-1",), "rows must be more than 0"),
        ("nowhere.toml", (), "there is no such file"),
    ],
)
def test_what_a_recipe_does_not_know_is_refused_with_the_nearest_name(
    word: str, overrides: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe(word, overrides)
    assert said in str(caught.value)


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b"')
    (tmp_path / "b.toml").write_text('extends = "a"')
    with pytest.raises(UsageError, match="extends itself"):
        load_recipe(str(tmp_path / "a.toml"))
