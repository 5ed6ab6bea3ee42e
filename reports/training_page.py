"""The report of one training: what was trained on what, how it went, and what the tuned model says."""

from pathlib import Path
from typing import Any

import msgspec

from harness.adapter_group import Group, read_group
from harness.adapter_manifest import AdapterManifest, read_manifest
from harness.files import write_whole
from harness.metrics import title
from harness.reports.jinja_env import render
from harness.reports.methods_section import Facts
from harness.reports.svg_charts import Chart
from harness.reports.table_model import Grid, TableCell, TableColumn
from harness.reports.training_charts import candidates, learning_rate, lengths, losses, read_history, scores, spread
from harness.text_format import count, money, plural, seconds
from harness.text_sanitize import private_texts, visible_line, without_private
from harness.training_record import (
    SampledAnswer,
    StepAnswers,
    constant_line,
    read_examples,
    read_lengths,
    validation_findings,
)

PAGE = "report.html"
KINDS = {"generate": "LoRA adapter", "head": "classification head", "tfidf": "TF-IDF baseline"}


def write_training_report(folder: Path, out: Path | None = None, *, redact: bool = False) -> Path:
    """Write the report of the adapter in `folder` (to its `report.html` by default) and return where it is.

    It shows what the adapter keeps: where it keeps no course or no lengths, they are left out. redact: leave out
    all texts of rows. The same adapter gives the same bytes. Raises UsageError where there is no adapter.
    """
    target = out or folder / PAGE
    page = render("training.html.j2", scripts=("tables.js",), **_context(folder, redact))
    if redact:
        page = without_private(page, private_texts([read_manifest(folder), str(folder.absolute())]))
    write_whole(target, page.encode())
    return target


def _context(folder: Path, redact: bool) -> dict[str, Any]:
    manifest, group, history = read_manifest(folder), read_group(folder), read_history(folder)
    metric, kept = manifest.selection.get("metric"), manifest.selection.get("step")
    examples = read_examples(folder)
    drawn = (losses(history, kept), scores(history, metric, kept), learning_rate(history))
    return {
        "manifest": manifest,
        "sentence": _sentence(manifest),
        "story": _story(manifest),
        "cautions": _cautions(manifest, group),
        "facts": _facts(manifest),
        "claims": _claims(manifest),
        "curves": [chart for chart in drawn if chart is not None],
        "lengths": lengths(read_lengths(folder)),
        "tried": _tried(manifest),
        **_group_context(group),
        "targets": () if redact else examples.targets,
        "answers": None if redact else _answers(examples.answers, metric),
        "redacted": redact,
        "recipe": msgspec.json.format(msgspec.json.encode(manifest.recipe), indent=2).decode(),
        "provenance": _provenance(manifest),
    }


def _group_context(group: Group | None) -> dict[str, Chart | Grid | Group | None]:
    return {
        "group": group,
        "spread": spread(group) if group else None,
        "candidates": candidates(group) if group else None,
    }


def _kind(m: AdapterManifest) -> str:
    return "hosted model" if m.model is not None else KINDS.get(m.objective, m.objective)


def _score(m: AdapterManifest) -> float | None:
    return m.metrics.get(f"validation_{m.selection.get('metric')}")


def _sentence(m: AdapterManifest) -> str:
    score, metric = _score(m), m.selection.get("metric")
    what = f"{_kind(m)} for {visible_line(m.task)}"
    if score is None:
        return f"{what[0].upper()}{what[1:]}, without a validation score"
    constant = constant_line(m)
    beside = f"; {visible_line(constant)}" if constant else ""
    rows = _rows(m.selection, "validation row")
    return f"{what[0].upper()}{what[1:]}: {title(str(metric))} {score:.3f} on {rows}{beside}"


def _rows(facts: dict[str, Any], one: str) -> str:
    found = facts.get("rows")
    return plural(found, one) if isinstance(found, int) else f"an unknown number of {one}s"


def _story(m: AdapterManifest) -> list[str]:
    """What happened, in sentences."""
    label = f" ({visible_line(str(m.data['label']))})" if m.data.get("label") else ""
    base = "" if m.objective == "tfidf" else f" on {visible_line(m.base)}"
    work = f" in {plural(m.steps, 'step')} and {count(m.tokens)} tokens" if m.steps else ""
    time = f", {seconds(m.duration_s)}" if m.duration_s else ""
    told = [
        f"The recipe {visible_line(m.recipe_name or 'without a name')} was trained{base} with "
        f"{_rows(m.data, 'row')} of {visible_line(str(m.data.get('source', 'an unknown source')))}{label}{work}{time}."
    ]
    metric, score = m.selection.get("metric"), _score(m)
    if metric and score is not None:
        which = f"The checkpoint of step {m.selection['step']:,}" if m.selection.get("step") else "What was kept"
        which = f"C = {m.selection['c']:g}" if m.selection.get("c") is not None else which
        told.append(
            f"{which} was chosen because it did best by {title(str(metric))} on {_rows(m.selection, 'row')} held back "
            "from the training split. The evaluation split was not used in the training: bench run measures there."
        )
    return told


def _cautions(m: AdapterManifest, group: Group | None) -> list[str]:
    found = [visible_line(finding, 600) for finding in validation_findings(m)]
    found += [visible_line(str(remark), 600) for remark in m.data.get("remarks", [])]
    if m.data.get("label"):
        found.append(f"{visible_line(str(m.data['label'])).capitalize()}: figures say nothing about your own rows.")
    if group is not None:
        found.append(group.caution())
    return found


def _facts(m: AdapterManifest) -> Facts:
    """The settings one asks for first."""
    recipe = m.recipe
    lora = recipe.get("lora") or {}
    facts = [("task", f"{visible_line(m.task)} (version {m.task_version})"), ("base", visible_line(m.base))]
    if m.model is not None:
        facts.append(("tuned model", visible_line(m.model)))
    facts.append(("asked by", m.decode))
    if m.objective != "tfidf" and m.model is None:
        keys = ("epochs", "batch", "accumulate", "learning_rate", "schedule", "optimizer", "quantization", "dtype")
        facts += [(key.replace("_", " "), str(recipe[key])) for key in keys if recipe.get(key) is not None]
        if lora:
            shape = (
                f"r {lora.get('r')}, alpha {lora.get('alpha')}, dropout {lora.get('dropout')}, {lora.get('targets')}"
            )
            facts.append(("lora", visible_line(shape)))
    facts.append(("seed", str(m.seed)))
    facts += [(title(k.replace("validation_", "validation ")), f"{v:.4g}") for k, v in sorted(m.metrics.items())]
    price = "price unknown" if m.training_cost_usd is None else money(m.training_cost_usd)
    facts.append(("cost", f"{m.device_hours:.3f} device-hours, {price}"))
    return facts


def _claims(m: AdapterManifest) -> Grid | None:
    """What was published about the case; None where nothing was."""
    found = m.recipe.get("claims") or []
    if not found:
        return None
    names = ("who", "metric", "value", "rows", "remark")
    rows = tuple(
        (
            TableCell(text=visible_line(str(c.get("who", "")))),
            TableCell(text=title(str(c.get("metric", "")))),
            TableCell(text=f"{c['value']:g}" if isinstance(c.get("value"), int | float) else "-"),
            TableCell(text=f"{c['n']:,}" if isinstance(c.get("n"), int) else "-"),
            TableCell(text=visible_line(str(c.get("text", "")))),
        )
        for c in found
    )
    columns = tuple(TableColumn(title=name, numeric=name in ("value", "rows")) for name in names)
    return Grid(caption="Published elsewhere, on other rows: not measured here", columns=columns, rows=rows)


def _tried(m: AdapterManifest) -> Grid | None:
    """Of a classical baseline: every C that was tried; None elsewhere."""
    found = m.selection.get("tried_c") or []
    if len(found) < 2:
        return None
    rows = tuple(
        (TableCell(text=f"{t['c']:g}" + (" (chosen)" if t["c"] == m.selection.get("c") else "")), _three(t["accuracy"]))
        for t in found
    )
    columns = (TableColumn(title="C"), TableColumn(title="accuracy"))
    return Grid(caption=f"Accuracy on {_rows(m.selection, 'validation row')}", columns=columns, rows=rows)


def _three(value: float) -> TableCell:
    return TableCell(text=f"{value:.3f}", sort=value)


def _answers(answers: StepAnswers, metric: str | None) -> list[tuple[str, str, tuple[SampledAnswer, ...]]]:
    """The worst answers, then some of all, each with what it is a part of."""
    rows = plural(answers.rows, "validation row")
    parts = (
        ("The worst answers", f"By {title(metric or 'score')}, of {rows}.", answers.worst),
        ("A sample of all answers", f"Spread evenly over {rows}, whatever their verdict.", answers.sample),
    )
    return [part for part in parts if part[2]]


def _provenance(m: AdapterManifest) -> Facts:
    """What it was made of and on."""
    machine = ", ".join(m.hardware.get("gpus") or []) or str(m.hardware.get("cpu", "not noted"))
    hashes = {
        "base revision": m.base_revision,
        "base hash": m.base_sha256,
        "adapter hash": m.adapter_sha256,
        "training rows": m.data.get("fingerprint"),
        "validation rows": m.selection.get("fingerprint"),
        "prompt template": m.template_hash,
    }
    return [
        ("adapter", m.id),
        ("made", m.created or "not noted"),
        *((name, str(value)) for name, value in hashes.items() if value),
        ("machine", visible_line(machine)),
        ("versions", ", ".join(f"{k} {v}" for k, v in sorted(m.versions.items())) or "not noted"),
    ]
