"""The page on troubleshooting quotes what the program says."""

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
