"""Rows by position, sorted lines and drawn rows are the same whether memory holds them or not."""

import random
from pathlib import Path

import pytest

from harness import hashing
from harness.data import record_store, sampling
from harness.data.record_store import SpooledRecords
from harness.data.sampling import LineSorter, draw, fingerprint, seeded_order
from harness.errors import UsageError
from harness.hashing import digest, digest_each, digest_fields
from harness.records import Sample, number_repeats


def samples(count: int) -> list[Sample]:
    rng = random.Random(0)
    return [Sample.of({"text": f"n {rng.randrange(count)}"}, f"class {rng.randrange(3)}", "test") for _ in range(count)]


@pytest.fixture(params=["in memory", "in a file"])
def anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in a file":
        monkeypatch.setattr(record_store, "IN_MEMORY", 100)
        monkeypatch.setattr(sampling, "AT_ONCE", 7)


@pytest.mark.usefixtures("anywhere")
def test_a_shelf_gives_back_what_was_put_there_in_any_order(tmp_path: Path) -> None:
    kept = SpooledRecords(Sample, tmp_path)
    everything = samples(400)
    for sample in everything:
        kept.append(sample)
        assert kept[len(kept) - 1] == sample
    order = random.Random(1).sample(range(400), 400)
    assert [kept[n] for n in order] == [everything[n] for n in order]
    assert [kept[n] for n in range(400)] == list(kept) == everything
    assert kept[-1] == everything[-1] and kept[390:] == everything[390:]
    with (tmp_path / "copy").open("wb") as file:
        kept.copy_to(file)
    assert list(SpooledRecords.of_file(Sample, tmp_path / "copy")) == everything
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    with pytest.raises(IndexError):
        kept[400]


def test_a_broken_line_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("{}\n{torn")
    with pytest.raises(UsageError, match="rows:1: not a line of this Bench"):
        SpooledRecords.of_file(Sample, tmp_path / "rows")[0]
    assert len(SpooledRecords.of_file(Sample, tmp_path / "rows")) == 1


@pytest.mark.usefixtures("anywhere")
def test_lines_come_back_sorted(tmp_path: Path) -> None:
    lines = [random.Random(n).randbytes(n % 9).replace(b"\n", b"") for n in range(100)]
    sorter = LineSorter(tmp_path)
    for line in lines:
        sorter.add(line)
    assert list(sorter) == sorted(lines)


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("limit", [None, 50])
def test_drawing_from_a_stream_is_numbering_and_ordering_a_list(tmp_path: Path, limit: int | None) -> None:
    everything = samples(300)
    drawn = draw(iter(everything), 3, limit, tmp_path)
    wanted = seeded_order(number_repeats(everything), 3)[:limit]
    assert any(sample.id.endswith("-3") for sample in wanted)
    assert list(drawn) == wanted == [drawn[n] for n in range(len(drawn))]
    assert drawn.total == 300
    assert fingerprint(drawn) == fingerprint(reversed(wanted))


def test_a_digest_of_a_stream_is_the_digest_of_its_list() -> None:
    for values in ([], ["a"], ["a", 'b"', "c"]):
        assert digest_each(iter(values)) == digest(values)


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14, 20])
def test_a_digest_in_pieces_is_the_digest_of_the_whole(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "PIECE", 7)
    fields = {"rows": tuple(f'row "{n}" é' for n in range(count)), "b": {"y": 1, "x": None}, "a": ("one",), "z": 0.5}
    assert digest_fields(fields) == digest(fields)
    assert digest_fields({}) == digest({})
    assert digest_fields({"only": fields["rows"]}) == digest({"only": fields["rows"]})
