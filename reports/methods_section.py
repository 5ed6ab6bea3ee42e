"""How the figures were made: formulae of the methods a summary names, and what everything ran on."""

import msgspec

from harness.records import BackendIdentity
from harness.results import Summary
from harness.runs.run_log import Manifest
from harness.text_format import money, plural
from harness.text_sanitize import visible_line

Facts = list[tuple[str, str]]

FORMULAE = {
    "wilson": "Wilson's score interval of a proportion p of n rows: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). "
    "E. B. Wilson, J. Am. Stat. Assoc. 1927.",
    "clopper": "Clopper and Pearson's exact interval of a proportion, from the quantiles of the beta distribution. "
    "Biometrika 1934.",
    "tango": "Tango's score interval of a difference of paired proportions: all differences d with "
    "|b - c - n d| / √(n (2 q + d (1 - d))) < z, q the constrained maximum likelihood estimate. "
    "T. Tango, Statistics in Medicine 1998.",
    "effective sample size": "A rate over groups or repeats counts as n = p (1 - p) / SE² · (z / t)² independent "
    "answers; SE is the clustered standard error, t has G - 1 degrees of freedom. "
    "E. L. Korn and B. I. Graubard, Survey Methodology 1998.",
    "mcnemar": "Exact McNemar test: of the b + c rows that only one of the two got right, "
    "p = 2 P(X ≤ min(b, c)) with X binomial(b + c, 1/2), at most 1. Q. McNemar, Psychometrika 1947.",
    "bootstrap": "Paired bootstrap: rows are drawn again with replacement, the same rows for both sides, and the "
    "interval is taken from the quantiles of the figure over all draws. B. Efron, Ann. Stat. 1979.",
    "randomis": "Approximate randomisation: the answers of the two sides change places at random, row by row; "
    "p = (1 + number of at least as large differences) / (draws + 1). E. Noreen, 1989.",
    "cluster": "Clustered standard error: rows of one group are summed before they are squared, "
    "SE = (1/n) √(Σ_g (Σ_(i in g) (d_i - d̄))²), with Student's t of G - 1 degrees of freedom. E. Miller, 2024.",
    "sign": "Sign-flip permutation: the sign of each group's difference is flipped at random.",
    "student": "Student's t interval of a mean: mean ± t s / √n.",
    "confidence sequence": "Confidence sequence of a mean of values in a known range: all means m against which the "
    "wealth Π (1 + θ (y_i / m - 1)), averaged over fixed stakes θ, never reached 1 / α, and the same from above; it "
    "holds however often one looks. I. Waudby-Smith and A. Ramdas, J. R. Stat. Soc. B 2024.",
    "holm": "Holm's correction: the k-th smallest of m p values is multiplied by m - k + 1, and never falls below the "
    "one before it. S. Holm, Scand. J. Stat. 1979.",
}
"""Word in a method's name -> how it works and where it is from."""


def formulae(summary: Summary) -> list[str]:
    """The formulae behind the methods that this summary names, each once."""
    named = [e.method for b in summary.backends.values() for e in b.metrics.values()]
    for pair in summary.pairs:
        named += [pair.difference.method, pair.p_method]
        if pair.p_holm is not None:
            named.append("holm")
    text = " ".join(named).casefold().replace(", worth ", ", effective sample size ")  # as older summaries name it
    return [formula for word, formula in FORMULAE.items() if word in text]


def provenance(manifest: Manifest, summary: Summary) -> Facts:
    """What was asked and what it ran on, from the manifest."""
    data = ", ".join(
        f"{visible_line(str(k))} {visible_line(str(v))}" for k, v in manifest.data.items() if v is not None
    )
    facts = [
        ("run", manifest.id),
        ("date", manifest.created or "not noted"),
        ("task", f"{manifest.task} (parser version {manifest.parser})"),
        ("metric versions", ", ".join(f"{k} {v}" for k, v in sorted(manifest.metric_versions.items())) or "1 each"),
        ("data", data or "not noted"),
        ("rows", f"{plural(manifest.rows, 'row')}, each asked {plural(manifest.repeats, 'time')}"),
        ("examples in the prompt", str(manifest.shots)),
        ("latency probe", plural(manifest.probe_rows, "row") if manifest.probe_rows else "none"),
        ("seed", str(manifest.seed)),
        ("request hash", manifest.request_hash or "not noted"),
        ("commit", manifest.git or "not noted"),
        ("hardware", _plain(manifest.hardware)),
        ("versions", ", ".join(f"{k} {v}" for k, v in sorted(manifest.versions.items())) or "not noted"),
    ]
    if summary.resolution is not None:
        facts.append(
            (
                "resolves",
                f"a difference of {100 * summary.resolution:.1f} points of {summary.headline} (80 % power, 5 %)",
            )
        )
    return facts


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{visible_line(str(k))} {visible_line(_plain(v))}" for k, v in value.items()) or "not noted"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def identity_facts(identity: BackendIdentity, summary: Summary, name: str) -> Facts:
    """Everything known of what answered under this name, and of how it fared on the way."""
    facts = [("kind", identity.kind), ("model", identity.model), ("decode mode", identity.decode)]
    optional = {
        "adapter": identity.adapter,
        "adapter hash": identity.adapter_sha256,
        "base hash": identity.base_sha256,
        "price, USD per million tokens": None if identity.price is None else _plain(identity.price),
        "device hour": None if identity.device_hour_usd is None else money(identity.device_hour_usd),
        "retired": identity.retired,
        "settings": _plain(identity.settings) if identity.settings else None,
    }
    facts += [(k, v) for k, v in optional.items() if v is not None]
    result = summary.backends.get(name)
    if result is not None:
        load = result.load
        share = f" ({load.cached / result.answered:.0%})" if result.answered else ""
        facts += [
            ("answered", f"{result.answered:,} of {result.asked:,}"),
            ("from the cache", f"{load.cached:,}{share}"),
            ("requests sent", f"{load.attempts:,}"),
            ("contamination", _contamination(result.contaminated)),
            ("cut prompts", f"{result.truncated_prompts:,}"),
        ]
        facts += [(visible_line(k).replace("_", " "), f"{v:,.4g}") for k, v in sorted(load.counters.items())]
    return facts


def _contamination(rows: int | None) -> str:
    if rows is None:
        return "unknown: no training rows at hand"
    return (
        f"{plural(rows, 'evaluated row')} are also in its training rows" if rows else "none of the rows was trained on"
    )
