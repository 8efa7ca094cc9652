"""A run as a page, for a build server, and for programs."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from tvapi.conformance.framework import Half, Result, Status
from tvapi.conformance.runner import Document

TITLES = {Half.DATA: "Market data", Half.TRADING: "Trading"}
WORDS = {Status.FAILED: "failed", Status.WARNING: "warnings", Status.PASSED: "passed", Status.SKIPPED: "skipped"}


def write_json(document: Document, path: Path) -> None:
    path.write_text(json.dumps(document.as_json(), ensure_ascii=False, indent=1) + "\n", "utf-8")


def write_junit(document: Document, path: Path) -> None:
    """JUnit's XML. A warning is a success with a text, as build servers know no third thing."""
    suites = ElementTree.Element("testsuites", name=document.base)
    for half in Half:
        results = [result for result in document.results if result.half is half]
        if not results:
            continue
        counts = {status: sum(result.status is status for result in results) for status in Status}
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=half.value,
            tests=str(len(results)),
            failures=str(counts[Status.FAILED]),
            skipped=str(counts[Status.SKIPPED]),
            errors="0",
            time=f"{sum(result.seconds for result in results):.3f}",
            timestamp=document.started_at.isoformat(),
        )
        for result in results:
            _junit_case(suite, result)
    ElementTree.ElementTree(suites).write(path, "utf-8", xml_declaration=True)


def _junit_case(suite: ElementTree.Element, result: Result) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", name=result.name, classname=f"tradingview.{result.half.value}", time=f"{result.seconds:.3f}"
    )
    text = _printable("\n".join([*result.findings, "", result.request, "", result.response]))
    if result.status is Status.FAILED:
        ElementTree.SubElement(case, "failure", message=_printable(result.findings[0])).text = text
    elif result.status is Status.SKIPPED:
        ElementTree.SubElement(case, "skipped", message=_printable(result.findings[0]))
    elif result.status is Status.WARNING:
        ElementTree.SubElement(case, "system-out").text = text


def _printable(text: str) -> str:
    """XML has no control characters, not even escaped ones."""
    return "".join(sign if sign >= " " or sign in "\n\t" else "?" for sign in text)


def write_html(document: Document, path: Path) -> None:
    path.write_text(html(document), "utf-8")


def html(document: Document) -> str:
    """One page that needs nothing else: failures open, everything else to be opened."""
    verdict = "Passed" if document.is_green else "Not passed"
    counts = document.counts
    total = max(1, sum(counts.values()))
    bar = "".join(
        f'<i class="{status.value}" style="width:{100 * counts[status] / total:.2f}%"></i>' for status in WORDS
    )
    figures = "".join(
        f'<li class="{status.value}"><b>{counts[status]}</b> {word}</li>' for status, word in WORDS.items()
    )
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in document.notes)
    sections = "".join(_section(half, document) for half in Half)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{verdict}: {escape(document.base)}</title><style>{STYLE}</style>"
        f"<header class={'good' if document.is_green else 'bad'}><h1>{verdict}</h1>"
        f"<p><code>{escape(document.base)}</code> · {document.started_at:%Y-%m-%d %H:%M:%S} UTC · "
        f"{document.seconds:.0f} s</p><div class=bar>{bar}</div><ul class=figures>{figures}</ul></header>"
        f"<main>{notes}{sections}</main></html>"
    )


def _section(half: Half, document: Document) -> str:
    order = list(WORDS)
    results = sorted(
        (result for result in document.results if result.half is half), key=lambda result: order.index(result.status)
    )
    if not results:
        return ""
    return f"<h2>{TITLES[half]}</h2>" + "".join(map(_row, results))


def _row(result: Result) -> str:
    opened = " open" if result.status is Status.FAILED else ""
    findings = "".join(f"<li>{escape(finding)}</li>" for finding in result.findings)
    evidence = "".join(
        f"<h4>{name}</h4><pre>{escape(text)}</pre>"
        for name, text in (("Request", result.request), ("Response", result.response))
        if text
    )
    details = f"<ul>{findings}</ul>{evidence}" if findings or evidence else ""
    return (
        f"<details class={result.status.value}{opened}><summary><span class=mark>{result.status.value}</span>"
        f"<span class=name>{escape(result.name)}</span><span class=title>{_marked(result.title)}</span>"
        f"<span class=rules>{escape(result.rules)}</span><span class=time>{result.seconds:.1f} s</span></summary>"
        f"{details}</details>"
    )


def _marked(title: str) -> str:
    """Words in backquotes as code."""
    parts = escape(title).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


STYLE = """
:root{--good:#0a7d4f;--bad:#c22f3d;--warn:#a86400;--mute:#6b7280;--line:#e5e7eb;--back:#f8fafc;--text:#111827;--card:#fff}
@media(prefers-color-scheme:dark){:root{--good:#34d399;--bad:#fb7185;--warn:#fbbf24;--mute:#9ca3af;--line:#2b3341;
--back:#0f141b;--text:#e5e7eb;--card:#171d26}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
header,main{max-width:1120px;margin:auto;padding:28px 20px 8px}h1{margin:0;font-size:30px;letter-spacing:-.02em}
header.good h1{color:var(--good)}header.bad h1{color:var(--bad)}header p{margin:4px 0 16px;color:var(--mute)}
.bar{display:flex;height:8px;border-radius:4px;overflow:hidden;background:var(--line)}.bar i{display:block}
i.failed{background:var(--bad)}i.warning{background:var(--warn)}i.passed{background:var(--good)}i.skipped{background:#9ca3af}
.figures{display:flex;gap:24px;list-style:none;margin:14px 0 0;padding:0;color:var(--mute)}.figures b{font-size:20px}
li.failed b,.failed .mark{color:var(--bad)}li.warning b,.warning .mark{color:var(--warn)}
li.passed b,.passed .mark{color:var(--good)}.skipped .mark{color:var(--mute)}
h2{margin:26px 0 10px;font-size:18px}
.note{margin:8px 0;padding:10px 14px;border-left:3px solid var(--warn);background:var(--card)}
details{background:var(--card);border:1px solid var(--line);border-radius:8px;margin:6px 0}
details.failed{border-color:var(--bad)}
summary{display:grid;grid-template-columns:74px minmax(220px,1.3fr) 2fr 170px 60px;gap:12px;
padding:9px 14px;cursor:pointer;align-items:baseline;list-style:none}
summary::-webkit-details-marker{display:none}
.mark{font-size:12px;font-weight:600;text-transform:uppercase;letter-spacing:.03em}
.name{font-weight:600;overflow-wrap:anywhere}
.title{color:var(--mute)}.rules{font-size:12px;color:var(--mute);text-align:right}
.time{font-variant-numeric:tabular-nums;color:var(--mute);text-align:right}
details ul{margin:4px 0 12px;padding:0 20px 0 34px;overflow-wrap:anywhere}h4{margin:10px 20px 4px;font-size:12px;
text-transform:uppercase;letter-spacing:.05em;color:var(--mute)}
pre{margin:0 20px 14px;padding:12px;background:var(--back);border:1px solid var(--line);border-radius:6px;overflow:auto;
max-height:360px;white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.5 ui-monospace,monospace}
@media(max-width:760px){summary{grid-template-columns:70px 1fr}.title,.rules,.time{grid-column:2;text-align:left}}
""".replace("\n", "")
