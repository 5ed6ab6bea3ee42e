"""The sklearn backend: a classical baseline (TF-IDF, logistic regression) on the row's own texts.

Its files hold no code: the vocabulary is JSON, the numbers are safetensors.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.adapter_manifest import (
    BASELINE,
    AdapterManifest,
    find_adapter,
    find_current,
    read_manifest,
    weights_digest,
)
from harness.backend import RunContext, RunRequirements
from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command
from harness.files import write_json
from harness.peft_folder import WEIGHTS
from harness.records import BackendIdentity, Completion, Request, Timing

VOCABULARY = "vocabulary.json"
WINDOW = 1024


def missing_sklearn() -> UsageError:
    """The sentence for an installation without scikit-learn."""
    return MissingExtraError(f"the classical baseline needs scikit-learn: {install_command('local')}.")


@dataclass(frozen=True)
class TfidfClassifier:
    """A fitted classifier: words to columns, idf (columns,), weights (labels, columns), bias (labels,)."""

    vocabulary: dict[str, int]
    ngrams: int
    labels: tuple[str, ...]
    idf: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def of(cls, vectorizer: Any, model: Any, ngrams: int) -> "TfidfClassifier":
        """From scikit-learn's fitted TfidfVectorizer and LogisticRegression. Of two classes it keeps one row: both
        are written."""
        weights, bias = model.coef_, model.intercept_
        if len(weights) == 1:
            weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
        return cls(
            vocabulary={word: int(column) for word, column in vectorizer.vocabulary_.items()},
            ngrams=ngrams,
            labels=tuple(map(str, model.classes_)),
            idf=np.asarray(vectorizer.idf_, dtype=np.float32),
            weights=np.ascontiguousarray(weights, dtype=np.float32),
            bias=np.ascontiguousarray(bias, dtype=np.float32),
        )

    def save(self, folder: Path) -> None:
        """Write `adapter_model.safetensors` and `vocabulary.json`."""
        from safetensors.numpy import save_file

        save_file({"idf": self.idf, "weights": self.weights, "bias": self.bias}, folder / WEIGHTS)
        write_json(
            folder / VOCABULARY, {"vocabulary": self.vocabulary, "ngrams": self.ngrams, "labels": list(self.labels)}
        )

    @classmethod
    def load(cls, folder: Path) -> "TfidfClassifier":
        """Read what `save` wrote. Raises UsageError for anything else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            plain = msgspec.json.decode((folder / VOCABULARY).read_bytes(), type=dict[str, Any])
            numbers = load_file(folder / WEIGHTS)
            return cls(
                plain["vocabulary"],
                plain["ngrams"],
                tuple(plain["labels"]),
                numbers["idf"],
                numbers["weights"],
                numbers["bias"],
            )
        except (OSError, KeyError, msgspec.MsgspecError, SafetensorError) as error:
            raise UsageError(f"{folder} is not a readable TF-IDF baseline ({error}): train it again.") from None

    def classify(self, texts: list[str]) -> list[dict[str, float]]:
        """The log-probability of every label, for each text."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            vocabulary=self.vocabulary, ngram_range=(1, self.ngrams), sublinear_tf=True, dtype=np.float32
        )
        vectorizer.idf_ = self.idf
        logits = np.asarray(vectorizer.transform(texts) @ self.weights.T) + self.bias
        if len(self.labels) == 2:
            logits /= 2  # of two classes the fitted row is the difference of both
        logits -= logits.max(axis=1, keepdims=True)
        scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return [dict(zip(self.labels, map(float, row), strict=True)) for row in scores]


class SklearnSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[backends.NAME]` with kind = "sklearn".

    adapter: a trained baseline: "auto" (the current one of the task), an id or a path. decode: always "head".
    device_hour_usd: what an hour of this machine costs.
    """

    kind: str = "sklearn"
    adapter: str = "auto"
    decode: Literal["auto", "head"] = "auto"
    device_hour_usd: float | None = None


class SklearnBackend:
    """Answers with the most probable label; reads the passages alone."""

    Settings = SklearnSettings

    def __init__(self, name: str, settings: SklearnSettings, task_name: str, context: RunContext) -> None:
        self.name = name
        self.settings = settings
        self.task_name = task_name
        self.context = context
        self._manifest: AdapterManifest | None = None
        self._sha256: str | None = None
        self._classifier: TfidfClassifier | None = None

    def identity(self) -> BackendIdentity:
        """Complete after `check`."""
        return BackendIdentity(
            kind="sklearn",
            model="TF-IDF, logistic regression",
            decode="head",
            adapter=self._manifest.id if self._manifest else None,
            adapter_sha256=self._sha256,
            device_hour_usd=self.settings.device_hour_usd,
            training_usd=self._manifest.whole_training_cost_usd if self._manifest else None,
            trainings=self._manifest.trainings if self._manifest else 1,
            temperature=self._manifest.temperature if self._manifest else None,
        )

    async def check(self, requirements: RunRequirements) -> None:
        """Find and read the baseline. Raises UsageError: none trained, not readable, other labels."""
        try:
            import sklearn  # noqa: F401
        except ImportError:
            raise missing_sklearn() from None
        if not requirements.labels:
            raise UsageError(
                f"backend '{self.name}' is a classifier, and task '{self.task_name}' has open answers: leave it out."
            )
        folder = self._find()
        manifest = read_manifest(folder)
        if manifest.objective != "tfidf":
            raise UsageError(
                f"backend '{self.name}': adapter {manifest.id} is no TF-IDF baseline; use kind = \"local\"."
            )
        self._classifier = await asyncio.to_thread(TfidfClassifier.load, folder)
        self._sha256 = weights_digest(folder)
        if manifest.adapter_sha256 not in (None, self._sha256):
            raise UsageError(f"adapter {folder}: its weights are not those its manifest names; train it again.")
        if set(requirements.labels) != set(self._classifier.labels):
            raise UsageError(
                f"baseline {manifest.id} knows the labels {', '.join(self._classifier.labels)}, "
                f"the task asks for {', '.join(requirements.labels) or 'none'}."
            )
        self._manifest = manifest

    def _find(self) -> Path:
        if self.settings.adapter != "auto":
            return find_adapter(self.context.workspace, self.settings.adapter)
        try:
            return find_current(self.context.workspace, self.task_name, BASELINE)
        except UsageError:
            raise UsageError(
                f"backend '{self.name}': no TF-IDF baseline for task '{self.task_name}' yet: "
                f"run `bench train --task {self.context.task or self.task_name} --recipe tfidf` first."
            ) from None

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Windows of rows, each classified at once in a thread; a probe's rows one by one."""
        size = 1 if self.context.probing else WINDOW
        window: list[Request] = []
        async for request in requests:
            window.append(request)
            if len(window) == size:
                for completion in await asyncio.to_thread(self._answer, window):
                    yield completion
                window = []
        if window:
            for completion in await asyncio.to_thread(self._answer, window):
                yield completion

    def _answer(self, requests: list[Request]) -> list[Completion]:
        assert self._classifier is not None, "check comes before stream"
        started = time.perf_counter()
        found = self._classifier.classify(["\n\n".join(r.passage_texts()) for r in requests])
        elapsed = Timing(service_s=time.perf_counter() - started)
        return [
            Completion(
                id=request.id,
                repeat=request.repeat,
                text=max(scores, key=scores.__getitem__),
                finish="stop",
                label_scores=scores,
                timing=elapsed,
            )
            for request, scores in zip(requests, found, strict=True)
        ]

    def counters(self) -> dict[str, float]:
        """No counters."""
        return {}

    async def aclose(self) -> None:
        """Nothing is held."""
