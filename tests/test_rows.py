"""Data files: every format reads alike, and every fault names file and line."""

import json
from pathlib import Path

import pytest

from harness.data.rows import DataSource, open_rows
from harness.errors import UsageError
from harness.tasks.agnews import AgNews

COLUMNS = ("class", "title", "description")


def read(path: Path, split: str = "test") -> list[dict[str, object]]:
    return [row.fields for row in open_rows(DataSource(location=str(path), split=split), headerless=COLUMNS)]


def test_all_formats_read_alike(tmp_path: Path) -> None:
    rows = [
        {"class": "1", "title": "A, b", "description": 'He said "no"'},
        {"class": "2", "title": "", "description": "é"},
    ]
    (tmp_path / "plain.csv").write_text('"1","A, b","He said ""no"""\r\n"2","","é"\r\n', newline="")
    (tmp_path / "headed.csv").write_text('\ufeffclass,title,description\n1,"A, b","He said ""no"""\n2,,é\n')
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps(r) for r in rows) + "\n\n")
    (tmp_path / "list.json").write_text(json.dumps(rows))
    for name in ("plain.csv", "headed.csv", "lines.jsonl", "list.json"):
        assert read(tmp_path / name) == rows, name


def test_parquet_reads_alike(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [{"class": 1, "title": "t", "description": "d"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    assert read(tmp_path / "test.parquet") == rows


def test_parquet_whose_text_is_not_utf8_is_told(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    raw = pa.array([b"caf\xe9"], type=pa.binary())
    text = pa.Array.from_buffers(pa.string(), 1, raw.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "test.parquet")
    with pytest.raises(UsageError, match=r"test\.parquet: not a readable Parquet file"):
        read(tmp_path / "test.parquet")


def test_a_folder_is_read_by_split(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "test.jsonl").write_text('{"text": "b"}\n')
    assert read(tmp_path, "train") == [{"text": "a"}]
    assert read(tmp_path, "test") == [{"text": "b"}]
    with pytest.raises(UsageError, match="no file for the split 'validation'"):
        read(tmp_path, "validation")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", '"1","t","d"\n"2","t"\n', r"a\.csv:2: 2 fields where 3 are expected"),
        ("a.csv", '"1","t","d"\n"2","t","no end\n', r"a\.csv:2: malformed row"),
        ("a.jsonl", '{"text": "x"}\n{"text": \n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1: a row must be a JSON object"),
        ("a.json", "{}", "holds a list of objects"),
        ("a.jsonl", '{"text": "x"}\n' + "[" * 100_000, r"a\.jsonl:2: not JSON"),
        ("a.json", "[" * 100_000, r"a\.json: not JSON"),
        (
            "a.jsonl",
            '{"text": "x", "label": 1, "text": "y"}\n',
            r"a\.jsonl:1: the key 'text' occurs twice in one object",
        ),
        ("a.jsonl", '{"messages": [{"role": "user", "r\\u006fle": "system"}]}\n', r"a\.jsonl:1: the key 'role' occurs"),
        ("a.json", '[{"text": "x"}, {"text": "x", "text": "y"}]', r"a\.json: element 2: the key 'text' occurs twice"),
        ("a.json", '[{"text": "x"}, {"text" "x"}]', r"a\.json: .*not JSON"),
        ("a.json", "[3]", r"a\.json: element 1: a row must be a JSON object"),
        ("a.csv", "text,label,source,text\nx,1,y,z\n", r"a\.csv:1: two columns are named 'text'"),
        ("a.csv", "text,label\rx,1\ry,0\r", r"a\.csv:1: .*end lines with LF or CRLF"),
        ("a.xlsx", "", r"cannot read '\.xlsx' files"),
        ("a.parquet", "no parquet", "not a readable Parquet file"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        read(tmp_path / name)


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"a": "t"}\n{"a": "café"}\n'.encode("latin-1"))
    with pytest.raises(UsageError, match=r"a\.jsonl:2: .* is not UTF-8"):
        read(tmp_path / "a.jsonl")


def test_a_row_of_a_megabyte_is_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'"1","t","{"x" * 1_000_000}"\n')
    assert len(str(read(tmp_path / "a.csv")[0]["description"])) == 1_000_000


def agnews(path: Path) -> list[tuple[str, str]]:
    return [(s.inputs["text"], s.reference) for s in AgNews().samples(DataSource(location=str(path)))]


def test_agnews_reads_the_original_csv_and_the_hub_shape(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"3","Shares up","Stocks\\rose."\n"4","","Chips"\n')
    assert agnews(tmp_path / "a.csv") == [("Shares up\nStocks rose.", "Business"), ("Chips", "Sci/Tech")]
    (tmp_path / "b.jsonl").write_text('{"text": "Cup", "label": 1}\n{"text": "Vote", "label": "World"}\n')
    assert agnews(tmp_path / "b.jsonl") == [("Cup", "Sports"), ("Vote", "World")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('"7","t","d"\n', r"a\.csv:1: class '7' is none of 1, 2, 3, 4"),
        ('"1","t","d"\n"1","",""\n', r"a\.csv:2: the news item is empty"),
        ("klass,title,description\n1,t,d\n", r"a\.csv:2: no column 'class'; did you mean 'klass'"),
    ],
)
def test_agnews_names_the_row_that_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UsageError, match=said):
        agnews(tmp_path / "a.csv")


def test_an_empty_file_holds_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    assert agnews(tmp_path / "a.csv") == []
