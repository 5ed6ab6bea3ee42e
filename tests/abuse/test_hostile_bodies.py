"""Bodies, streams and errors in the shapes of real servers, mutated: each ends as an answer or as a named error."""

from benchmarks.abuse.body_shapes import run


def test_no_body_stream_or_error_breaks_a_reader() -> None:
    found = run(3_000, seed=11)
    assert set(found) == {"answer", "BadBodyError", "ReportedError"}
    assert min(found.values()) > 100, "all three ends are met"
