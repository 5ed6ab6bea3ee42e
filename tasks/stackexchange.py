"""Question-answer rows from a Stack Exchange dump, streamed; posts as plain text."""

import html.entities
import sqlite3
import tempfile
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import msgspec

from harness.errors import DataError, MissingExtraError
from harness.extras import install_command
from harness.files import write_json
from harness.hashing import digest, file_digest
from harness.records import Record
from harness.text_format import utc_text

BLOCKS = frozenset({"p", "div", "li", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "hr", "br", "table", "tr"})

ASCII = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "\u00b4": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2015": "-", "\u2212": "-",
        "\u2026": "...", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "", "\u00ad": "",
        "\u2022": "*", "\u00d7": "x", "\u2190": "<-", "\u2192": "->", "\u2264": "<=", "\u2265": ">=", "\u2260": "!=",
        "\u00df": "ss", "\u00e6": "ae", "\u00c6": "AE", "\u00f8": "o", "\u00d8": "O", "\u0153": "oe", "\u0142": "l",
    }
)  # fmt: skip


def plain_text(body: str) -> str | None:
    """The text of an HTML body; None where it holds a code block (`<pre>`). Formulas between $ stay as written."""
    reader = _PostReader()
    reader.feed(body)
    reader.close()
    if reader.code:
        return None
    paragraphs = (" ".join(part.split()) for part in "".join(reader.parts).split("\n"))
    return "\n".join(part for part in paragraphs if part)


def to_ascii(text: str) -> str:
    """Letters without their accents, typographic signs as typed ones, anything else as an HTML entity (`&beta;`)."""
    return "".join(_ascii(sign) for sign in text.translate(ASCII))


def _ascii(sign: str) -> str:
    if ord(sign) < 128:
        return sign
    bare = "".join(c for c in unicodedata.normalize("NFKD", sign) if ord(c) < 128)
    if bare:
        return bare
    if unicodedata.combining(sign):
        return ""
    name = html.entities.codepoint2name.get(ord(sign))
    return f"&{name};" if name else f"&#{ord(sign)};"


class _PostReader(HTMLParser):
    """Gathers text; line ends where blocks begin and end."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.code = self.code or tag == "pre"
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data.replace("\n", " "))


TEST_SHARE = 0.05
"""Of the questions, so many go to test.jsonl (by the hash of their number: the same in every build)."""

PIECE = 1 << 20
QUESTION, ANSWER = "1", "2"
LICENCES = (("2011-04-08", "CC BY-SA 2.5"), ("2018-05-02", "CC BY-SA 3.0"))
"""Stack Exchange's licence by the date of a post, where the post itself names none; later: CC BY-SA 4.0."""

TABLES = """
create table if not exists question (id integer primary key, votes integer, title text, body text, tags text,
                                     date text, licence text, author text);
create table if not exists answer (id integer primary key, parent integer, votes integer, body text, date text,
                                   licence text, author text);
create table if not exists note (name text primary key, value text);
"""
BEST = """
select q.id, q.votes, q.title, q.body, q.tags, q.date, q.licence, q.author,
       a.id, a.votes, a.body, a.date, a.licence, a.author
from question q join answer a on a.id = (
    select id from answer where parent = q.id order by votes desc, id limit 1)
order by q.votes desc, q.id limit ?
"""

Post = dict[str, str]


class Built(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What a build did; stored with the rows as `provenance.json`.

    read: posts of the dump; dropped: by reason; rows: written, by split.
    """

    dump: str
    sha256: str
    site: str
    built: str
    licence: str
    read: int = 0
    dropped: dict[str, int] = {}
    rows: dict[str, int] = {}


def build_pairs(dump: Path, out: Path, most: int | None, site: str, progress: Callable[[int], None]) -> Built:
    """Write `train.jsonl`, `test.jsonl` and `provenance.json` into `out`.

    The highest-voted answer of each of the highest-voted questions (at most `most`); posts with code blocks are
    dropped beforehand. dump: Posts.xml, or the .7z archive that holds it. progress: called with the number of
    posts read. Raises UsageError for a dump that is none, or an `out` that holds rows already.
    """
    if (out / "train.jsonl").exists() or (out / "test.jsonl").exists():
        raise DataError(f"{out} holds rows already: name another --out.")
    if not dump.is_file():
        raise DataError(f"--dump {dump}: there is no such file.")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".posts-") as folder:
        aside = Path(folder)  # rows move to `out` when all are there: half of them would be taken for all
        posts = Posts(aside / "posts.sqlite", progress)
        try:
            _read_dump(dump, posts.take)
            rows = write_pairs(posts.best(most), aside, site)
        finally:
            posts.close()
        if not sum(rows.values()):
            raise DataError(f"{dump}: no question with an answer is left of {posts.read} posts; is it a Posts.xml?")
        built = Built(
            dump=dump.name,
            sha256=file_digest(dump),
            site=site,
            built=utc_text(),
            licence="CC BY-SA (each row names its version, authors and links: keep them)",
            read=posts.read,
            dropped=dict(posts.dropped),
            rows=rows,
        )
        write_json(out / "provenance.json", built)
        for split in rows:
            (aside / f"{split}.jsonl").replace(out / f"{split}.jsonl")
    return built


class Posts:
    """Cleaned posts in a file, so that they can be joined and sorted without being held."""

    def __init__(self, path: Path, progress: Callable[[int], None], *, durable: bool = False) -> None:
        """durable: what is noted survives a kill, and is continued by whoever opens the file again."""
        # py7zr may hand pieces over from a thread of its own; they still come one at a time.
        self.base = sqlite3.connect(path, check_same_thread=False)
        fast = "" if durable else "pragma journal_mode = off; pragma synchronous = off;"
        self.base.executescript(fast + TABLES)
        self.progress = progress
        self.read = 0
        self.dropped: Counter[str] = Counter()
        if durable:
            self.read = int(self.noted("read") or 0)
            self.dropped.update(msgspec.json.decode(self.noted("dropped") or "{}", type=dict[str, int]))

    def take(self, post: Post) -> None:
        """Keep a question or an answer, or count why not."""
        self.read += 1
        if self.read % 10_000 == 0:
            self.progress(self.read)
        kind = post.get("PostTypeId")
        if kind not in (QUESTION, ANSWER):
            self.dropped["neither question nor answer"] += 1
            return
        what = "question" if kind == QUESTION else "answer"
        body = plain_text(post.get("Body", ""))
        if not body:
            self.dropped[f"{what} {'with a code block' if body is None else 'without text'}"] += 1
            return
        date = post.get("CreationDate", "")[:10]
        author = post.get("OwnerDisplayName") or f"user {post.get('OwnerUserId', 'unknown')}"
        try:
            number, votes = int(post["Id"]), int(post["Score"])
            common = (to_ascii(body), date, post.get("ContentLicense") or _licence(date), to_ascii(author))
            if kind == QUESTION:
                title, tags = to_ascii(post.get("Title", "")).strip(), post.get("Tags", "")
                values: tuple[Any, ...] = (number, votes, title, common[0], tags, *common[1:])
                self.base.execute("insert into question values (?, ?, ?, ?, ?, ?, ?, ?)", values)
            else:
                values = (number, int(post["ParentId"]), votes, *common)
                self.base.execute("insert into answer values (?, ?, ?, ?, ?, ?, ?)", values)
        except (KeyError, ValueError):
            self.dropped[f"{what} without a number"] += 1
        except sqlite3.IntegrityError:
            self.dropped[f"{what} given twice"] += 1

    def best(self, most: int | None) -> Iterator[tuple[Any, ...]]:
        """Questions by falling votes, each with its best answer."""
        self.base.execute("create index if not exists by_question on answer (parent, votes desc, id)")
        yield from self.base.execute(BEST, (-1 if most is None else most,))

    def count(self, table: str) -> int:
        """Posts of a table ("question" or "answer")."""
        return int(self.base.execute(f"select count(*) from {table}").fetchone()[0])

    def noted(self, name: str) -> str | None:
        """What was noted under a name."""
        found = self.base.execute("select value from note where name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def note(self, **values: str) -> None:
        """Note values and keep all posts taken so far, both or neither."""
        counts = {"read": str(self.read), "dropped": msgspec.json.encode(self.dropped).decode()}
        self.base.executemany("insert or replace into note values (?, ?)", {**counts, **values}.items())
        self.base.commit()

    def close(self) -> None:
        """Let the file go."""
        self.base.close()


def _licence(date: str) -> str:
    return next((licence for until, licence in LICENCES if date and date < until), "CC BY-SA 4.0")


def write_pairs(best: Iterator[tuple[Any, ...]], out: Path, site: str) -> dict[str, int]:
    """Write `train.jsonl` and `test.jsonl` of questions with their best answers; returns the rows of each."""
    rows = {"train": 0, "test": 0}
    with (out / "train.jsonl").open("wb") as train, (out / "test.jsonl").open("wb") as test:
        files = {"train": train, "test": test}
        for found in best:
            split = "test" if int(digest(found[0])[:8], 16) < TEST_SHARE * 2**32 else "train"
            files[split].write(msgspec.json.encode(_row(found, site)) + b"\n")
            rows[split] += 1
    return rows


def _row(found: tuple[Any, ...], site: str) -> dict[str, Any]:
    number, votes, title, body, tags, date, licence, author = found[:8]
    answer, answer_votes, answer_body, answer_date, answer_licence, answer_author = found[8:]
    return {
        "question_id": number,
        "title": title,
        "question": body,
        "answer": answer_body,
        "question_score": votes,
        "answer_score": answer_votes,
        "tags": tags.replace("><", " ").strip("<>|").replace("|", " "),
        "date": date,
        "answer_date": answer_date,
        "link": f"https://{site}/questions/{number}",
        "answer_link": f"https://{site}/a/{answer}",
        "author": author,
        "answer_author": answer_author,
        "license": licence,
        "answer_license": answer_licence,
    }


def _read_dump(dump: Path, take: Callable[[Post], None]) -> None:
    feed = _Feed(take)
    try:
        if dump.suffix.lower() == ".7z":
            _read_archive(dump, feed)
        else:
            with dump.open("rb") as file:
                while piece := file.read(PIECE):
                    feed.write(piece)
        feed.close()
    except ElementTree.ParseError as error:
        raise DataError(f"{dump} is not the XML of a dump ({error}).") from None


class _Feed:
    """Takes pieces of Posts.xml and hands over its rows; nothing of the tree is kept."""

    def __init__(self, take: Callable[[Post], None]) -> None:
        self.take = take
        self.parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(events=("start", "end"))
        self.root: ElementTree.Element | None = None

    def write(self, piece: bytes) -> None:
        """The next bytes."""
        self.parser.feed(piece)
        events: Iterator[tuple[str, ElementTree.Element]] = cast(Any, self.parser.read_events())
        for event, element in events:
            if self.root is None:
                self.root = element
            elif event == "end" and element.tag == "row":
                self.take(dict(element.attrib))
                self.root.clear()

    def close(self) -> None:
        """Raises ParseError where the file ends too early."""
        self.parser.close()


def _read_archive(dump: Path, feed: _Feed) -> None:
    try:
        import py7zr
        from py7zr.io import Py7zIO, WriterFactory
    except ImportError:
        raise MissingExtraError(
            f"{dump}: reading 7z needs py7zr: {install_command('dump')}, or unpack it first."
        ) from None

    class Pieces(Py7zIO):
        """What py7zr takes for a file: bytes go to the parser."""

        def __init__(self) -> None:
            self.length = 0

        def write(self, s: bytes | bytearray) -> int:
            feed.write(bytes(s))
            self.length += len(s)
            return len(s)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return self.length

    class Factory(WriterFactory):
        """Makes the one file."""

        def create(self, filename: str) -> Pieces:
            return Pieces()

    try:
        with py7zr.SevenZipFile(dump, "r") as archive:
            names = [n for n in archive.getnames() if Path(n).name == "Posts.xml"]
            if len(names) != 1:
                raise DataError(f"{dump} holds {len(names)} files called Posts.xml; one is wanted.")
            archive.extract(targets=names, factory=Factory())
    except py7zr.Bad7zFile as error:
        raise DataError(f"{dump} is not a 7z archive ({error}).") from None
