"""Several processes share a step: the same rows, equal parts, one decision."""

import pytest

from harness.adapters import distributed
from harness.adapters.recipe import Recipe
from harness.adapters.training_examples import IGNORED, Example, GroupedByLength, as_items, blank, collate
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("batch", "accumulate", "processes", "share"),
    [
        (16, 1, 1, (16, 1)),
        (16, 2, 2, (16, 1)),
        (16, 1, 2, (8, 1)),
        (6, 2, 4, (3, 1)),
        (4, 3, 2, (3, 2)),
        (8, 4, 2, (8, 2)),
    ],
)
def test_a_step_keeps_its_rows_whatever_the_number_of_processes(
    batch: int, accumulate: int, processes: int, share: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    mine = distributed.share(Recipe(batch=batch, accumulate=accumulate))
    assert (mine.batch, mine.accumulate) == share
    assert mine.batch * mine.accumulate * processes == batch * accumulate
    assert mine.batch <= batch, "no process holds more rows at once than the recipe allows"


def test_a_step_that_cannot_be_shared_equally_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match=r"a step of 32 rows .* by 3 processes.*--set batch=33 --set accumulate=1"):
        distributed.share(Recipe(batch=16, accumulate=2))


def test_alone_nobody_is_asked() -> None:
    assert distributed.agreed(True, False) == [True, False]
    assert distributed.told("a") == "a" and distributed.gathered([1, 2]) == [1, 2]
    assert (distributed.rank(), distributed.world(), distributed.device()) == (0, 1, "auto")


def test_processes_take_the_rows_of_one_process_step_by_step_and_as_many_batches() -> None:
    lengths = [5 + n % 7 for n in range(53)]
    step, micro, processes = 12, 3, 2
    alone, shared = (GroupedByLength(lengths, step, seed=4, fill=n) for n in (1, micro * processes))
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        shared.set_epoch(epoch)
        rows, filled = list(alone), list(shared)
        assert filled[: len(rows)] == rows
        assert filled[len(rows) :] == [53] and len(filled) == len(shared) == 54
        assert len(filled) % (micro * processes) == 0


def test_a_filling_row_carries_no_loss() -> None:
    answer, label = Example([7, 8], [9, 2]), Example([7, 8], [], 3)
    both = collate(as_items([answer, blank(answer)]))
    assert both["labels"].tolist() == [[9, 2], [IGNORED, IGNORED]]
    assert collate(as_items([blank(answer)]))["labels"].shape == (1, 1)
    assert collate(as_items([label, blank(label)]))["labels"].tolist() == [3, IGNORED]
