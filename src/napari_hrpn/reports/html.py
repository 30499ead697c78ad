"""HTML page with text, tables and pictures in one file, without scripts.

The rule: pictures are embedded, and a content security policy forbids the browser to fetch anything.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.reports.drawing import Drawing

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto; max-width: 1320px;
  padding: 1.5rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem;
  border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p, li { max-width: 75ch; } .quiet { color: #555; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th:first-child, td:first-child, .words td, .words th { text-align: left; }
.words td:last-child { white-space: normal; overflow-wrap: anywhere; } .scroll { margin-bottom: .9rem; }
thead th { border-bottom: 2px solid #999; white-space: normal; vertical-align: bottom; }
figure { margin: 1rem 0 1.6rem; } figure img { max-width: 100%; height: auto; }
figcaption { color: #444; font-size: .88rem; max-width: 85ch; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1.2rem; max-width: 75ch; }
code { font-size: .85em; overflow-wrap: anywhere; }
nav a { margin-right: 1rem; }
@media print { body { max-width: none; } nav { display: none; } figure { break-inside: avoid; } }
"""


class Page:
    """HTML page that is written from top to bottom."""

    def __init__(self, title: str) -> None:
        # ElementTree escapes all texts, so that names of slides and regions cannot add markup
        self._html = Element("html", lang="en")
        head = SubElement(self._html, "head")
        SubElement(head, "meta", charset="utf-8")
        SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
        SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
        SubElement(head, "title").text = title
        SubElement(head, "style").text = _STYLE
        self._body = SubElement(self._html, "body")
        SubElement(self._body, "h1").text = title
        self._contents = SubElement(self._body, "nav")

    def heading(self, words: str) -> None:
        """Begin a section, and list it in the contents at the top."""
        name = f"section-{len(self._contents) + 1}"
        SubElement(self._body, "h2", id=name).text = words
        SubElement(self._contents, "a", href=f"#{name}").text = words

    def text(self, words: str, *, quiet: bool = False) -> None:
        """Add a paragraph."""
        SubElement(self._body, "p", {"class": "quiet"} if quiet else {}).text = words

    def bullets(self, lines: Iterable[str]) -> None:
        """Add a list."""
        bullet_list = SubElement(self._body, "ul")
        for line in lines:
            SubElement(bullet_list, "li").text = line

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> None:
        """Add a table."""
        outer = SubElement(self._body, "div", {"class": "scroll"})
        table = SubElement(outer, "table", {"class": "words"} if words else {})
        top = SubElement(SubElement(table, "thead"), "tr")
        for heading in headings:
            SubElement(top, "th").text = heading
        body = SubElement(table, "tbody")
        for row in rows:
            line = SubElement(body, "tr")
            for cell in row:
                SubElement(line, "td").text = cell

    def pictures(self, drawings: Iterable[Drawing], folder: Path) -> None:
        """Embed drawings that were written into a folder."""
        for drawing in drawings:
            figure = SubElement(self._body, "figure")
            encoded = base64.b64encode((folder / f"{drawing.name}.png").read_bytes()).decode("ascii")
            SubElement(figure, "img", src=f"data:image/png;base64,{encoded}", alt=drawing.title)
            SubElement(figure, "figcaption").text = f"{drawing.title}. {drawing.caption}"

    def definitions(self, words: Mapping[str, str]) -> None:
        """Add a list of terms and their definitions."""
        definition_list = SubElement(self._body, "dl")
        for term, meaning in words.items():
            SubElement(definition_list, "dt").text = term
            SubElement(definition_list, "dd").text = meaning

    def __str__(self) -> str:
        page = tostring(self._html, encoding="unicode", method="html")
        # names in older evaluations may contain characters that cannot be encoded
        return f"<!DOCTYPE html>\n{page.encode(errors='replace').decode()}\n"
