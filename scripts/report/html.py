"""Small building blocks of a self-contained HTML page: escaped text, tables, embedded pictures, one style sheet."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from typing import Any

NONE = "\N{EN DASH}"
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?( ± \d+(\.\d+)?)?|" + NONE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
CSS = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0072b2; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line) }
h3 { margin: 1.6rem 0 .4rem } p.lead { color: #777; margin-top: 0 }
.scroll { overflow-x: auto } table { border-collapse: collapse; margin: .6rem 0; font-size: .88rem }
th, td { padding: .22rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { background: var(--soft); white-space: nowrap } td.n { text-align: right; font-variant-numeric: tabular-nums }
td.hash { font-family: ui-monospace, monospace; word-break: break-all }
caption { text-align: left; color: #777; padding-bottom: .3rem }
img { max-width: 100%; height: auto; display: block; margin: .5rem 0; background: #fff; border-radius: 4px }
details { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .9rem; margin: .7rem 0 }
summary { cursor: pointer; font-weight: 600 } .note { color: #777 }
.warn { border-left: 4px solid #d55e00; padding: .3rem .8rem; background: var(--soft) }
nav a { margin-right: 1.1rem; color: var(--accent) }
@media print { details { border: 0 } nav { display: none } }
"""


def text(value: Any) -> str:
    """Escape a value for HTML; ``None`` becomes a dash, a float four digits after the point."""
    if value is None:
        return NONE
    if isinstance(value, float):
        return f"{value:.4f}"
    return html.escape(str(value))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Return a table; numbers are set right, texts left.

    Args:
        columns: headings.
        rows: one sequence per row, as long as ``columns``.
        caption: line above the table.
    """
    head = "".join(f"<th scope='col'>{text(name)}</th>" for name in columns)
    body = "\n".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    return f"<div class='scroll'><table>{title}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"


def picture(data: bytes, alt: str, kind: str = "png") -> str:
    """Return an image whose bytes are part of the page. ``kind``: ``png`` or ``jpeg``."""
    coded = base64.b64encode(data).decode("ascii")
    return f"<img alt='{html.escape(alt, quote=True)}' src='data:image/{kind};base64,{coded}'>"


def folded(summary: str, content: str, opened: bool = False) -> str:
    """Return content that unfolds at a click, without any script."""
    return f"<details{' open' if opened else ''}><summary>{text(summary)}</summary>\n{content}\n</details>"


def page(title: str, sections: Sequence[tuple[str, str]], lead: str = "") -> str:
    """Return the whole document.

    Args:
        title: its heading.
        sections: pairs (heading, HTML); the headings make the list of links at the top.
        lead: line under the title.
    """
    links = "".join(f"<a href='#s{i}'>{text(heading)}</a>" for i, (heading, _) in enumerate(sections))
    body = "\n".join(f"<h2 id='s{i}'>{text(heading)}</h2>\n{content}" for i, (heading, content) in enumerate(sections))
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{text(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<h1>{text(title)}</h1>\n<p class='lead'>{text(lead)}</p>\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


def _cell(value: Any) -> str:
    shown = text(value)
    kind = " class='n'" if _NUMBER.fullmatch(shown) else " class='hash'" if _SHA256.fullmatch(shown) else ""
    return f"<td{kind}>{shown}</td>"
