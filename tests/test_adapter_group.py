"""Candidates are ranked by their mean over seeds; the interval is Student's, with n - 1 degrees of freedom."""

import math

import pytest
from scipy.stats import t as student

from harness.adapter_group import Training, best_seed, rank, spread


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
    assert (low, high) == (pytest.approx(mean - half), pytest.approx(mean + half))


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
