"""A run whose rows, answers, names and errors all try to break out of the page that shows them."""

from pathlib import Path

from harness.metrics import CLASSIFICATION
from harness.records import BackendIdentity, Completion, Failure, InputSpan, Message, Request, Sample, number_repeats
from harness.runs.run_log import Manifest, RunLog
from harness.scoring.label_parsing import score_label
from harness.summary.summarise import summarise

PAYLOADS = (
    "</script><script>window.hit = 1</script>",
    '<img src=x onerror="window.hit = 2">',
    '" onmouseover="window.hit = 3" autofocus onfocus=\'window.hit = 4\'',
    "javascript:window.hit=5",
    "]]><svg/onload=window.hit=6>--><!--",
    "line\u2028separator\u2029paragraph",
    "abc\u202egnp.exe\u202c\u200b\u2066",
    "nul\x00 bell\x07 escape\x1b[31m delete\x7f",
    "{{ 7 * 7 }} {% include '/etc/passwd' %} ${window.hit = 8}",
    "=cmd|' /C calc'!A0",
)
NAMES = ("<b>bold", "a&b \"quoted\" 'single'", "$x^2$ \u202etfel")


def hostile_run(folder: Path) -> RunLog:
    """Ten rows, three backends; every free text is a payload."""
    samples = list(number_repeats(Sample.of({"text": p}, p, "test", columns={f"c{PAYLOADS[1]}": p}) for p in PAYLOADS))
    identities = {n: BackendIdentity(kind="openai", model=PAYLOADS[i], decode="generate") for i, n in enumerate(NAMES)}
    manifest = Manifest(
        id="hostile", task=PAYLOADS[1], task_spec="hostile", parser="1", labels=PAYLOADS, rows=len(samples),
        data={"label": PAYLOADS[0], "source": PAYLOADS[2]}, backends=identities, git=PAYLOADS[0],
        hardware={PAYLOADS[0]: PAYLOADS[1]}, versions={"x": PAYLOADS[4]},
    )  # fmt: skip
    log = RunLog.create(folder, manifest, ((s, _request(s)) for s in samples))
    for k, name in enumerate(NAMES):
        with log.writer(name) as writer:
            for n, sample in enumerate(samples):
                text = PAYLOADS[(n + k) % len(PAYLOADS)]
                if (n + k) % 7 == 6:
                    failure = Failure(kind=PAYLOADS[1], message=text)
                    writer.append(n, Completion(id=sample.id, error=failure), None)
                else:
                    answer = Completion(id=sample.id, text=text, reasoning=text, finish="stop")
                    writer.append(n, answer, score_label(answer, sample.reference, PAYLOADS))
    log.write_summary(summarise(log, CLASSIFICATION))
    return log


def _request(sample: Sample) -> Request:
    text = sample.inputs["text"]
    return Request(
        id=sample.id,
        messages=(Message(role=PAYLOADS[1], content=text + PAYLOADS[0]),),
        passages=(InputSpan(message=0, start=0, end=len(text)),),
        labels=PAYLOADS,
    )
