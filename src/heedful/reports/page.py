"""One self-contained HTML page: no script, no font, no picture from anywhere else; light and dark; phone and screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from heedful.examples.io import replacing


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, as HTML of this package's making (`blocks`, `curves`)."""

    title: str
    html: str


def write_report(path: Path | str, title: str, sections: Sequence[Section], *, lead: str = "") -> Path:
    """Write the page and return its path.  lead: HTML under the title.

    Raises UserError if the file cannot be written.
    """
    path = Path(path)
    links = "".join(f'<a href="#s{i}">{escape(s.title)}</a>' for i, s in enumerate(sections))
    body = "".join(f'<section id="s{i}"><h2>{escape(s.title)}</h2>{s.html}</section>' for i, s in enumerate(sections))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><style>{STYLE}</style></head>'
        f"<body><header><h1>{escape(title)}</h1>{lead}<nav>{links}</nav></header><main>{body}</main></body></html>\n"
    )
    with replacing(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


STYLE = """
:root{--paper:#fdfdfc;--ink:#1b1f24;--soft:#59636e;--rule:#d9dde2;--panel:#f3f4f5;--good:#12703a;--bad:#b3261e;
--accent:#0b62b8;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e4e7ea;--soft:#9aa4ae;--rule:#343a41;--panel:#1d2125;
--good:#5fc98a;--bad:#ff8a80;--accent:#79b8ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
header,main{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .5rem;letter-spacing:-.01em}
h2{font-size:1.2rem;margin:2.5rem 0 .75rem;padding-top:.5rem;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1.25rem 0 .4rem}
p{max-width:46rem;margin:.5rem 0}
a{color:var(--accent)}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;margin-top:1rem;font-size:.9rem}
.note{color:var(--soft);font-size:.9rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.35rem .8rem;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap;vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.82rem;white-space:normal;min-width:5.5rem;vertical-align:bottom}
th:first-child,td:first-child,.words td,.words th{text-align:left}
th:first-child,td:first-child{min-width:0;padding-left:0}
.words td{white-space:pre-wrap;overflow-wrap:anywhere}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1rem}
figure{margin:0;min-width:0}
figcaption{font-size:.85rem;font-weight:600;margin-bottom:.2rem;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto;color:var(--ink)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.9rem;margin:.25rem 0 1rem}
.legend i{display:inline-block;width:1.4em;height:.25em;border-radius:2px;margin-right:.45em;vertical-align:middle}
.sample{border:1px solid var(--rule);border-radius:.5rem;padding:.75rem .9rem;margin:0 0 1rem}
.sample .grid{gap:.75rem}
.sample h4{margin:0 0 .3rem;font-size:.85rem;display:flex;justify-content:space-between;gap:1rem}
.sample h4 span{font-weight:400}
pre{margin:0;padding:.55rem .7rem;background:var(--panel);border-radius:.35rem;overflow-x:auto;
font:.8rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;tab-size:4}
.sample pre{white-space:pre-wrap;overflow-wrap:anywhere}
pre.prompt{background:none;padding:0 0 .5rem;font-weight:600}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--accent)}
@media (max-width:40rem){body{font-size:15px}header,main{padding:0 .9rem}th,td{padding:.3rem .5rem}}
@media print{nav{display:none}pre{white-space:pre-wrap}}
"""
