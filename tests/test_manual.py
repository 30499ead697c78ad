"""Pages of the manual agree with the source: quoted messages, rooms, links of the first page."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def sentences():
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "…".join(part.value for part in node.values if isinstance(part, ast.Constant))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_quoted_message_is_one_of_the_program():
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    symptoms = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(symptoms) > 20
    said = "\n".join(sentences())
    parts = {part for symptom in symptoms for part in re.split(r"[ ,]*…[ ,]*", symptom) if part}
    assert {part for part in parts if part not in said} == set()


def test_every_room_has_a_page_of_its_names():
    rooms = {path.parent.name for path in (ROOT / "src" / "napari_hrpn").glob("*/__init__.py")}
    pages = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs" / "api").glob("*.md")}
    assert set(pages) == rooms - {"plugin", "cli"}
    assert [room for room, page in pages.items() if f".. automodule:: napari_hrpn.{room}\n" not in page] == []


def test_the_first_page_leads_to_every_page():
    docs = ROOT / "docs"
    text = (docs / "index.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(([\w/.-]+\.md)\)", text))
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} - {"index.md"}
    assert linked == pages
