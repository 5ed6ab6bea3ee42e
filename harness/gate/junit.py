"""The gate as JUnit XML: one test case a check, readable by any CI, whatever characters a model wrote."""

import xml.etree.ElementTree as ET

from .records import GateResult
from .untrusted import xml_text
from .words import WORDS

SKIPPED = ("inconclusive", "unchanged", "advisory")


def junit_xml(result: GateResult) -> bytes:
    """fail -> failure; incomparable or no verdict -> error; inconclusive, unchanged and advice -> skipped. UTF-8.

    Warnings and notes stand in the suite's `system-out`.
    """
    cases: list[tuple[str, str, str, str]] = [
        (check.name, check.backend, check.verdict, check.sentence) for check in result.checks
    ]
    if result.reasons or not cases:
        cases = [("gate", result.task, result.verdict, " ".join(result.reasons) or result.headline)]
    verdicts = [verdict for _, _, verdict, _ in cases]
    suite = ET.Element(
        "testsuite",
        name=xml_text(f"bench gate: {result.task}"),
        tests=str(len(cases)),
        failures=str(verdicts.count("fail")),
        errors=str(sum(v in ("incomparable", "incomplete") for v in verdicts)),
        skipped=str(sum(v in SKIPPED for v in verdicts)),
    )
    kinds = {"fail": "failure", **dict.fromkeys(SKIPPED, "skipped")}
    for name, where, verdict, sentence in cases:
        case = ET.SubElement(suite, "testcase", name=xml_text(name), classname=xml_text(f"bench.{where}"))
        if verdict != "pass":
            text = xml_text(f"{WORDS[verdict]}: {sentence}")
            ET.SubElement(case, kinds.get(verdict, "error"), message=text).text = text
    if result.warnings or result.notes:
        ET.SubElement(suite, "system-out").text = xml_text("\n".join((*result.warnings, *result.notes)))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"
