"""Similarity of open answers by an embedding model (sentence-transformers), for a whole run at once.

Nothing is embedded while answers come in: it would take the time of those who answer, and texts are quickest in
batches. Likeness is no judgement of truth: two answers that contradict each other may are similar.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends.local.base_files import find_base
from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command
from harness.runs.run_log import EmbeddingScores, RunLog
from harness.task import Task

BATCH = 32
DIGITS = 6
"""Decimals kept: more would only show the rounding of the machine."""


def require_open_answers(task: Task) -> None:
    """Refuse `--embedding` where answers are labels. Raises UsageError."""
    if task.labels:
        raise UsageError(
            f"--embedding compares open answers with their references; the answers of task '{task.name}' are labels."
        )


def unavailable_reason(model: str) -> str:
    """Why this model cannot embed here, in a sentence; empty where it can, as far as its files show."""
    try:
        find_base(model, purpose="embedding model", instead="--embedding FOLDER")
        _library()
    except UsageError as error:
        return str(error)
    return ""


def compute_similarity(log: RunLog, model: str, working: Callable[[str], None]) -> EmbeddingScores:
    """The cosine between every answer of a run and its row's reference, both as the model embeds them.

    working: called with a message before a slow step.
    Never raises for a model or library that is missing or broken: the result then says why, and holds no values.
    """
    references = {row.n: row.sample.reference for row in log.rows()}
    answers = {
        name: [(key.n, key.repeat, line.score.answer or "") for key, line in log.lines(name).items() if line.score]
        for name in log.manifest.backends
    }
    pairs = [(text, references[n]) for lines in answers.values() for n, _, text in lines]
    working(f"comparing {len(pairs)} answers with their references by {model}")
    try:
        files = find_base(model, purpose="embedding model", instead="--embedding FOLDER")
        encoder = _load(files.folder, model)
        cosines = iter(_cosines(encoder, pairs))
    except UsageError as error:
        return EmbeddingScores(model=model, why_not=str(error))
    values = {name: tuple((n, k, next(cosines)) for n, k, _ in lines) for name, lines in answers.items()}
    most = getattr(encoder, "max_seq_length", None)
    return EmbeddingScores(model=model, sha256=files.sha256(), most_tokens=most, values=values)


def _cosines(encoder: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Every text is embedded once, the longest first; a pair without a text on either side has 0."""
    texts = sorted({_encodable(t) for pair in pairs for t in pair if t.strip()}, key=lambda t: (-len(t), t))
    if not texts:
        return [0.0] * len(pairs)
    encoded = encoder.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
    vectors = np.asarray(encoded, dtype=np.float64)
    place = {text: i for i, text in enumerate(texts)}
    cosines = []
    for pair in pairs:
        rows = [place.get(_encodable(text)) for text in pair]
        left, right = rows
        value = 0.0 if left is None or right is None else float(vectors[left] @ vectors[right])
        cosines.append(round(min(1.0, max(-1.0, value)), DIGITS))
    return cosines


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which tokenizers cannot take."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _library() -> Any:
    try:
        import sentence_transformers
    except ImportError:
        raise MissingExtraError(f"an embedding needs sentence-transformers: {install_command('embedding')}.") from None
    return sentence_transformers


def _load(folder: Path, model: str) -> Any:
    """The encoder with the pooling that its files name (without any: the mean). Raises UsageError."""
    library = _library()
    logging: Any = importlib.import_module("transformers.utils.logging")
    logging.disable_progress_bar()  # its bar over the weights is of no interest to the user
    try:
        return library.SentenceTransformer(
            str(folder), local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except Exception as error:  # a stranger's files: whatever is wrong with them, the answers are kept
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"embedding model {model} cannot be loaded ({reason}): name another with --embedding."
        ) from None
