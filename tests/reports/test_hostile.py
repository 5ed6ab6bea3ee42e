"""Model output is hostile text: it is shown, whatever it says, and never obeyed."""

import base64
import gzip
import re

import msgspec
import pytest

from harness.reports.run_page import write_report
from harness.runs.run_log import RunLog
from harness.text_sanitize import visible, visible_line
from tests.support.hostile_run import PAYLOADS, hostile_run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    return hostile_run(tmp_path_factory.mktemp("hostile") / "run")


@pytest.fixture(scope="module")
def page(hostile: RunLog, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(hostile, tmp_path_factory.mktemp("page") / "report.html").read_text("utf-8")


def test_no_payload_becomes_markup(page: str) -> None:
    assert "<script>window" not in page and "<img" not in page and "<svg/onload" not in page and "<b>bold" not in page
    tags = re.findall(r"<[a-zA-Z][^>]*>", page)
    assert not [t for t in tags if re.search(r"\son\w+\s*=|javascript:", re.sub(r'"[^"]*"', '""', t))]


def test_hidden_characters_are_shown_as_signs(page: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b]", page)
    assert "⟨U+202E⟩" in page and "␀" in page and "␛[31m" in page and "⟨U+2028⟩" in page


def test_a_template_is_never_made_of_data(page: str) -> None:
    assert "{{ 7 * 7 }}" in page and "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]


def test_the_packed_rows_hold_no_hidden_character_either(page: str) -> None:
    found = re.search(r'<script type="text/plain" id="rows-data">([A-Za-z0-9+/=]*)</script>', page)
    assert found is not None
    rows = msgspec.json.decode(gzip.decompress(base64.b64decode(found.group(1))))
    texts = {text for b in rows["backends"] for text in b["texts"]["values"]}
    assert {visible(p) for p in PAYLOADS} >= texts and len(texts) == len(PAYLOADS)


def test_lone_surrogates_survive_as_their_code_points() -> None:
    shown = visible("a\ud800b\udfffc")
    assert shown == "a⟨U+D800⟩b⟨U+DFFF⟩c" and shown.encode()


def test_ordinary_text_of_every_script_stays_as_it_is() -> None:
    text = "naïve café\n\t中文 العربية हिन्दी 😀 ∀x می\u200cخواهم क्\u200dष ❤\ufe0f 👩\u200d💻"
    assert visible(text) == text


def test_joiners_in_latin_words_are_shown() -> None:
    assert visible("pass\u200cword\u200d") == "pass⟨U+200C⟩word⟨U+200D⟩"


def test_one_line_folds_and_cuts() -> None:
    assert visible_line("a\n\n b\tc") == "a b c"
    assert visible_line("x" * 300, 10) == "x" * 9 + "…"
