"""A comparison as files and lines for other programs: JUnit XML, Markdown, annotations of GitHub's."""

import re
from typing import Final
from xml.etree import ElementTree

from fqtbench.regression.verdict import FAILURES, Comparison, Finding, Verdict
from fqtbench.regression.words import figure, headline, percent, sentence

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUITE_CASE: Final = "comparable"
_OUTCOME: Final = {0: "fine", 1: "regression", 2: "undecided or not comparable"}


def junit(comparison: Comparison) -> bytes:
    """Return JUnit XML: a test case a finding, and one for whether the results can be compared at all."""
    cases = [_case(comparison, finding) for finding in comparison.findings]
    whole = ElementTree.Element("testcase", classname=_xml(comparison.suite), name=_SUITE_CASE)
    for text in comparison.unusable:
        _add(whole, "error", "not comparable", text)
    cases.insert(0, whole)
    counts = {tag: str(sum(case.find(tag) is not None for case in cases)) for tag in _TAGS}
    counts = {"tests": str(len(cases)), **{name: counts[tag] for tag, name in _TAGS.items()}}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(comparison.suite), **counts})
    suite.extend(cases)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True)) + b"\n"


def markdown(comparison: Comparison) -> str:
    """Return a summary: the verdict, what stands out as a table, and what differs."""
    shown = comparison.having(*FAILURES, Verdict.UNDECIDED, Verdict.IMPROVEMENT)
    parts = [f"### fqtbench: {_OUTCOME[comparison.exit_code]}", _escaped(headline(comparison))]
    if comparison.unusable:
        parts.append("\n".join(f"- not comparable: {_escaped(text)}" for text in comparison.unusable))
    if shown:
        rows = [
            "| | run | metric | baseline | now | change | origin | |",
            "|---|---|---|--:|--:|--:|---|---|",
        ]
        parts.append("\n".join([*rows, *map(_row, shown)]))
    told = [*(f"changed: {text}" for text in comparison.subject), *comparison.notes]
    if told:
        parts.append("\n".join(f"- {_escaped(text)}" for text in told))
    return "\n\n".join(parts) + "\n"


def annotations(comparison: Comparison) -> list[str]:
    """Return workflow commands, as GitHub Actions reads them in a job's output."""
    found = [_annotation("error", "not comparable", text) for text in comparison.unusable]
    for verdict in (*FAILURES, Verdict.UNDECIDED, Verdict.IMPROVEMENT):
        level = "notice" if verdict is Verdict.IMPROVEMENT else "error"
        found += [_annotation(level, verdict, sentence(f)) for f in comparison.having(verdict)]
    return found


_TAGS: Final = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def _case(comparison: Comparison, finding: Finding) -> ElementTree.Element:
    name = f"{finding.run}: {finding.metric}"
    place = f"{comparison.suite}.{finding.board_model}"
    case = ElementTree.Element("testcase", classname=_xml(place), name=_xml(name))
    match finding.verdict:
        case Verdict.REGRESSION | Verdict.IRREPRODUCIBLE:
            _add(case, "failure", finding.verdict, sentence(finding))
        case Verdict.UNDECIDED:
            _add(case, "error", finding.verdict, sentence(finding))
        case Verdict.IGNORED:
            ElementTree.SubElement(case, "skipped", message=_xml(finding.reason))
        case _:
            ElementTree.SubElement(case, "system-out").text = _xml(sentence(finding))
    return case


def _add(case: ElementTree.Element, tag: str, kind: str, text: str) -> None:
    ElementTree.SubElement(case, tag, type=kind, message=_xml(text)).text = _xml(text)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _row(finding: Finding) -> str:
    why = "; ".join([*([finding.reason] if finding.reason else []), *finding.causes])
    cells = [
        f"**{finding.verdict}**" if finding.verdict in FAILURES else str(finding.verdict),
        finding.place,
        finding.about.title,
        figure(finding, finding.baseline),
        figure(finding, finding.current),
        "–" if finding.change is None else percent(finding.change),
        finding.origin,
        why,
    ]
    return f"| {' | '.join([cells[0], *map(_escaped, cells[1:])])} |"


def _escaped(text: str) -> str:
    """Text stays text: no markup, no further cell, no further line."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _annotation(level: str, title: str, text: str) -> str:
    data = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{level} title=fqtbench%3A {title}::{data}"
