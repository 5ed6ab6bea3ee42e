"""Data files as people have them: saved by spreadsheets, by pandas, by the Hub, compressed, in shards."""

import bz2
import gzip
import json
import lzma
import warnings
from pathlib import Path
from typing import Any

import pytest

from harness.data.rows import DataSource, DataWarning, open_rows
from harness.errors import UsageError

ROWS = [{"text": "fine; I think", "label": "good"}, {"text": 'He said "no, never"', "label": "bad"}]


def read(path: Path, **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        rows = [row.fields for row in open_rows(DataSource(location=str(path)), **options)]
    return rows, [str(one.message) for one in caught]


def separated(by: str) -> str:
    lines = [f"text{by}label"]
    lines += [f'"{row["text"].replace(chr(34), chr(34) * 2)}"{by}{row["label"]}' for row in ROWS]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("by", "name", "said"),
    [
        (",", "a.csv", None),
        (";", "a.csv", "semicolons"),
        ("\t", "a.csv", "tabs"),
        ("|", "a.csv", "vertical bars"),
        ("\t", "a.tsv", None),
        (",", "a.tsv", "commas"),
        ("\t", "a.txt", None),
        ("|", "a.psv", None),
    ],
)
def test_the_separator_is_found_and_named(tmp_path: Path, by: str, name: str, said: str | None) -> None:
    (tmp_path / name).write_text(separated(by))
    rows, told = read(tmp_path / name)
    assert rows == ROWS
    assert [f"values are separated by {said}" in one for one in told] == ([True] if said else [])


def test_a_separator_inside_texts_is_not_taken_for_the_one_between_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nyes; no; maybe,good\na;b;c,bad\n")
    assert read(tmp_path / "a.csv")[0][0] == {"text": "yes; no; maybe", "label": "good"}
    (tmp_path / "b.csv").write_text("text;price\nNice, but small;1,5\nA, b, c;2\n")
    assert read(tmp_path / "b.csv")[0][1] == {"text": "A, b, c", "price": "2"}
    (tmp_path / "c.csv").write_text("text\nonly; one\ncolumn\n")
    assert [row["text"] for row in read(tmp_path / "c.csv")[0]] == ["only; one", "column"]
    (tmp_path / "d.csv").write_text("text;label\n" + 'a;"x,\ny"\n' * 200)
    assert read(tmp_path / "d.csv")[0][199] == {"text": "a", "label": "x,\ny"}


def test_a_separator_that_is_given_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text~label\na,b~good\n")
    assert read(tmp_path / "a.csv", delimiter="~") == ([{"text": "a,b", "label": "good"}], [])


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "\ufeffSEP=;\r\n"])
def test_the_first_line_of_excel_names_the_separator(tmp_path: Path, first: str) -> None:
    (tmp_path / "a.csv").write_text(first + "text;label\na, b;good\nc\n", newline="")
    with pytest.raises(UsageError, match=r"a\.csv:4: 1 fields where 2 are expected"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text(first + "text;label\na, b;good\n", newline="")
    assert read(tmp_path / "a.csv")[0] == [{"text": "a, b", "label": "good"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_of_spreadsheets_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\r\ncafé ☕,good\r\n".encode(encoding))
    assert read(tmp_path / "a.csv")[0] == [{"text": "café ☕", "label": "good"}]


def test_windows_1252_is_read_and_said_and_refused_where_json_is_meant(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\nthé “vert”,good\n".encode("cp1252"))
    rows, told = read(tmp_path / "a.csv")
    assert rows == [{"text": "thé “vert”", "label": "good"}]
    assert told == [
        f"{tmp_path / 'a.csv'}: the text is not UTF-8, and is read as windows-1252 (`encoding` names another)."
    ]
    (tmp_path / "a.jsonl").write_bytes('{"text": "thé “vert”"}\n'.encode("cp1252"))
    with pytest.raises(UsageError, match=r"a\.jsonl:1: .*thé “vert”.*\); convert .* iconv -f WINDOWS-1252"):
        read(tmp_path / "a.jsonl")


def test_empty_columns_and_rows_at_the_end_of_a_sheet_are_put_aside(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,,\na,good,,\nb,bad\n,,,\n , \n")
    rows, told = read(tmp_path / "a.csv")
    assert rows == [{"text": "a", "label": "good"}, {"text": "b", "label": "bad"}]
    assert told == [f"{tmp_path / 'a.csv'}: rows without any value were left out: 2 (line 4, 5)."]
    (tmp_path / "a.csv").write_text("text,label\na,good,why?\n")
    with pytest.raises(UsageError, match="3 fields where 2 are expected"):
        read(tmp_path / "a.csv")


def test_the_index_that_pandas_writes_is_no_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",text,label\n0,a,good\n1,b,bad\n")
    assert read(tmp_path / "a.csv")[0][1] == {"text": "b", "label": "bad"}


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.ndjson", "a.jsonlines", "a.log", "a"])
@pytest.mark.parametrize(
    "content",
    [LINES, "\ufeff" + LINES, json.dumps(ROWS), json.dumps(ROWS, indent=1)],
    ids=["lines", "mark", "one", "list"],
)
def test_json_is_read_by_what_it_holds(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read(tmp_path / name)[0] == ROWS


def test_objects_on_several_lines_each_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\n".join(json.dumps(row, indent=2) for row in ROWS))
    assert read(tmp_path / "a.json")[0] == ROWS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": ROWS, "version": 1}, r"whose 'data' is such a list: jq '\.\[\"data\"\]'"),
        ({"text": {"0": "a"}, "label": {"0": "good"}}, r"pandas writes rows with DataFrame\.to_json\(path, orient"),
        (ROWS[0], "this is one object"),
    ],
)
def test_one_object_is_no_list_of_rows(tmp_path: Path, content: Any, said: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said):
        read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("compress", "suffix"),
    [(gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz"), (gzip.compress, "")],
)
def test_compressed_files_are_read(tmp_path: Path, compress: Any, suffix: str) -> None:
    (tmp_path / f"a.csv{suffix}").write_bytes(compress(separated(";").encode()))
    assert read(tmp_path / f"a.csv{suffix}")[0] == ROWS
    (tmp_path / f"test.jsonl{suffix}").write_bytes(compress(LINES.encode()))
    assert read(tmp_path)[0] == ROWS
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(separated(";").encode())[:-12])
    with pytest.raises(UsageError, match=r"cut\.csv\.gz: the compressed file is damaged"):
        read(tmp_path / "cut.csv.gz")


def test_zstandard_is_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    with pa.OSFile(str(tmp_path / "a.jsonl.zst"), "wb") as file, pa.CompressedOutputStream(file, "zstd") as out:
        out.write(LINES.encode())
    assert read(tmp_path / "a.jsonl.zst")[0] == ROWS


def shards(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"text": str(number)}) + "\n")


@pytest.mark.parametrize(
    "names",
    [
        ("test-00000-of-00002.jsonl", "test-00001-of-00002.jsonl"),
        ("test-00000-of-00002-a1b2c3.jsonl", "test-00001-of-00002-d4e5f6.jsonl"),
        ("data/test-00000-of-00002.jsonl", "data/test-00001-of-00002.jsonl"),
        ("test/0000.jsonl", "test/0001.jsonl"),
        ("test_1.jsonl", "test_2.jsonl"),
        ("test-9.jsonl", "test-10.jsonl"),
    ],
)
def test_shards_together_are_the_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    shards(tmp_path, *names)
    assert [row["text"] for row in read(tmp_path)[0]] == ["0", "1"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("test-00000-of-00003.jsonl", "test-00002-of-00003.jsonl"), "2 of 3 shards of the split 'test': number 1 is"),
        (("test-00001-of-00002.jsonl",), "1 of 2 shards of the split 'test': number 0 is missing"),
        (("test.jsonl", "test.json"), "several files for the split 'test': test.json, test.jsonl; name one of them"),
        (("test_1.jsonl", "test_1.json"), "several files for the split 'test'"),
        (("other.jsonl",), "no file for the split 'test'"),
    ],
)
def test_a_split_that_is_not_whole_is_refused(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    shards(tmp_path, *names)
    with pytest.raises(UsageError, match=said):
        read(tmp_path)


def test_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"a\.parquet: two columns are named 'text'"):
        read(tmp_path / "a.parquet")


def test_a_workbook_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match=r"cannot read '\.xlsx' files: save the sheet as 'CSV UTF-8'"):
        read(tmp_path / "a.xlsx")
