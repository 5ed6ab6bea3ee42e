"""Candidates are ranked by their mean over seeds; the interval is Student's, with n - 1 degrees of freedom."""

import math

import msgspec
import pytest
from scipy.stats import t as student

from harness.adapter_group import Training, best_seed, rank, spread
from harness.adapter_manifest import AdapterManifest


def trainings(*scores: float | None, settings: str = "a", first: int = 1) -> list[Training]:
    return [
        Training(
            number=first + n,
            settings={"x": settings},
            seed=n,
            adapter=f"{settings}{n}",
            score=s,
            failed="" if s else "nan",
        )
        for n, s in enumerate(scores)
    ]


def test_the_interval_of_three_seeds_is_that_of_students_t_with_two_degrees_of_freedom() -> None:
    mean, sd, low, high = spread([0.90, 0.94, 0.95], proportion=True)
    assert mean == pytest.approx(0.93) and sd == pytest.approx(0.0264575, rel=1e-5)
    assert low is not None and high is not None and sd is not None
    half = student.ppf(0.975, 2) * sd / math.sqrt(3)
    assert [low, high] == pytest.approx([mean - half, mean + half])


def test_an_interval_of_shares_stays_within_0_and_1_and_others_do_not() -> None:
    assert spread([0.9, 0.99], proportion=True)[3] == 1.0
    high = spread([0.9, 0.99], proportion=False)[3]
    assert high is not None and high > 1.0


def test_equal_scores_of_a_few_seeds_are_not_certainty() -> None:
    assert spread([0.9, 0.9], proportion=True) == (0.9, 0.0, None, None)


def test_one_seed_says_nothing_about_others() -> None:
    assert spread([0.9], proportion=True) == (0.9, None, None, None)


def test_candidates_are_ranked_by_their_mean_and_not_by_their_luckiest_seed() -> None:
    lucky = trainings(0.99, 0.60, settings="lucky")
    steady = trainings(0.90, 0.92, settings="steady", first=3)
    ranked = rank([*lucky, *steady], "higher", proportion=True)
    assert [(c.rank, c.settings["x"]) for c in ranked] == [(1, "steady"), (2, "lucky")]
    chosen = best_seed(ranked[0], "higher")
    assert chosen is not None and chosen.adapter == "steady1"
    assert rank([*lucky, *steady], "lower", proportion=True)[0].settings["x"] == "lucky"


def test_a_candidate_with_a_failed_seed_ranks_behind_all_that_finished() -> None:
    broken = trainings(0.99, None, settings="broken")
    poor = trainings(0.30, 0.31, settings="poor", first=3)
    ranked = rank([*broken, *poor], "higher", proportion=True)
    assert [c.settings["x"] for c in ranked] == ["poor", "broken"]
    assert (ranked[1].failed, ranked[1].mean) == (1, 0.99)


def test_equal_candidates_stand_in_the_order_of_training() -> None:
    first, second = trainings(0.5, settings="z"), trainings(0.5, settings="a", first=2)
    assert [c.settings["x"] for c in rank([*second, *first], "higher", proportion=True)] == ["z", "a"]


def test_a_training_that_was_chosen_among_several_costs_what_all_of_them_cost() -> None:
    alone = AdapterManifest(id="a", task="t", task_version="1", base="b", device_hours=2.0, device_hour_usd=0.5)
    assert (alone.trainings, alone.whole_training_cost_usd) == (1, 1.0)

    def of(**facts: object) -> AdapterManifest:
        return msgspec.structs.replace(alone, selection={"group": facts})

    assert of(of=3, training_usd=[1.0, 1.5, 0.5]).whole_training_cost_usd == 3.0
    assert of(of=4, training_usd=[1.0, 1.5]).whole_training_cost_usd == 4.5, "two that failed count as its own"
    assert of(of=5).whole_training_cost_usd == 5.0, "a group of an older version"
    assert msgspec.structs.replace(of(of=5), device_hour_usd=None).whole_training_cost_usd is None
