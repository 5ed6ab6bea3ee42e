"""AG News topics: which of four sections does a news item belong to?"""

from collections.abc import Iterable
from pathlib import Path

from harness.data.rows import DataRow, DataSource, HubDataset, open_rows
from harness.errors import DataError
from harness.metrics import CLASSIFICATION
from harness.records import Completion, Request, Sample, Score, user_message
from harness.scoring.label_parsing import score_label
from harness.scoring.references import read_label

INSTRUCTION = (
    "Classify the news item into one topic: World, Sports, Business or Sci/Tech. "
    "Answer with the topic and nothing else.\n\nNews: "
)
QUESTION = "\n\nTopic:"


class AgNews:
    """Zhang, Zhao and LeCun's AG News: 120,000 training and 7,600 test rows in four classes."""

    name = "agnews"
    version = "2"
    labels = ("World", "Sports", "Business", "Sci/Tech")
    metrics = CLASSIFICATION
    recipe = "agnews-generate"

    hub = HubDataset(path="fancyzhx/ag_news")
    embedded = Path(__file__).parent / "data" / "news"

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Rows of the Hub's data set, of the original CSV (class 1-4, title, description), or of JSONL."""
        header = ("class", "title", "description")
        for row in open_rows(source, hub=self.hub, embedded=self.embedded, headerless=header):
            text = self._text(row)
            if not text:
                raise DataError(f"{row.place}: the news item is empty.")
            yield Sample.of({"text": text}, self._label(row), source.split)

    def _text(self, row: DataRow) -> str:
        if "text" in row.fields:
            return row.text("text").strip()
        # The original CSV writes line breaks as backslashes.
        title, body = (row.text(c).replace("\\", " ").strip() for c in ("title", "description"))
        return f"{title}\n{body}".strip()

    def _label(self, row: DataRow) -> str:
        if "label" in row.fields:  # the Hub counts from 0
            numbers = dict(zip("0123", self.labels, strict=True))
            column = "label"
        else:  # the original CSV counts from 1
            numbers = dict(zip("1234", self.labels, strict=True))
            column = "class"
        return read_label(row, column, self.labels, numbers)

    def request(self, sample: Sample) -> Request:
        """Instruction first, so that all prompts share their beginning; the item is the only passage."""
        messages, passages = user_message(INSTRUCTION, (sample.inputs["text"], QUESTION))
        return Request(id=sample.id, messages=messages, passages=passages, labels=self.labels, max_tokens=12)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Right when the answer is exactly the topic."""
        return score_label(completion, sample.reference, self.labels)

    def target(self, sample: Sample) -> str:
        """The topic."""
        return sample.reference
