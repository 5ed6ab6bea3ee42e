"""The prose linter finds phrases of its word list where people read, and only there."""

import pytest

from tools.prose import WORDS, checked, findings


def phrases(text: str, suffix: str = ".md") -> list[tuple[int, str]]:
    return [(found.line, found.phrase.lower()) for found in findings(text, suffix)]


def test_a_phrase_is_found_with_its_line_and_a_proposal() -> None:
    found = findings("Fine.\nThe page is written anew.\n")
    assert [(f.line, f.phrase) for f in found] == [(2, "anew")]
    assert found[0].instead == WORDS["anew"]


def test_a_phrase_over_a_line_end_is_found_where_it_begins() -> None:
    assert phrases("one\ntwo stands\n    in the log\n") == [(2, "stands in the")]


def test_words_match_whole_and_in_any_case() -> None:
    assert phrases("Front door. Mending. recommend, amended, anewly") == [(1, "front door"), (1, "mending")]


def test_in_python_comments_strings_and_docstrings_count_and_names_do_not() -> None:
    code = '"""Written anew."""\n\nanew = 1  # made anew\nprint(f"done anew: {1}")\n'
    assert phrases(code, ".py") == [(1, "anew"), (3, "anew"), (4, "anew")]


def test_a_line_may_quote_a_phrase_on_purpose() -> None:
    assert phrases('word = "anew"  # prose: ignore\n', ".py") == []


@pytest.mark.parametrize("name", ["docs/statistics.md", "harness/cli/run.py", "reports/templates/report.html.j2"])
def test_what_people_read_is_checked(name: str) -> None:
    assert checked(name)


@pytest.mark.parametrize("name", ["tasks/data/news/train.jsonl", "tools/samples/grammar/world.toml", "tools/prose.py"])
def test_data_and_the_list_itself_are_not(name: str) -> None:
    assert not checked(name)
