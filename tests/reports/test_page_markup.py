"""A page is valid markup that holds every text it is given, and no text becomes markup or is fetched."""

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from napari_hrpn.reports.drawing import Drawing
from napari_hrpn.reports.html import Page
from support.page_outline import Outline

steady = settings(derandomize=True, deadline=None, max_examples=60)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
NASTY = ["<script>alert(1)</script>", '"><img src=x onerror=y>', "</style><b>", "a & b", "&lt;", "<!--", "]]>", "'\"`"]


def page_of(words: str) -> Page:
    """A page with one text in every place that takes one."""
    page = Page(words)
    page.heading(words)
    page.text(words)
    page.text(words, quiet=True)
    page.bullets([words, words])
    page.table([words, words], [[words, words]], words=True)
    page.definitions({words: words})
    return page


def kinds(page: Page) -> list[str]:
    """Kinds of the elements of a page."""
    return [tag for tag, _ in Outline(str(page)).elements]


@pytest.mark.parametrize("words", NASTY)
def test_no_text_adds_an_element_wherever_it_stands(words: str) -> None:
    assert kinds(page_of(words)) == kinds(page_of("plain"))


@steady
@given(TEXTS)
def test_every_text_reads_back_from_every_place(words: str) -> None:
    found = Outline(str(page_of(words)))
    places = {"title": 1, "h1": 1, "h2": 1, "a": 1, "p": 2, "li": 2, "th": 2, "td": 2, "dt": 1, "dd": 1}
    assert {tag: found.of(tag) for tag in places} == {tag: [words] * count for tag, count in places.items()}


def test_a_text_that_cannot_be_encoded_does_not_stop_a_page() -> None:
    page = str(page_of("a\ud800b"))
    assert page.encode("utf-8").decode() == page
    assert Outline(page).of("h1") == ["a?b"]


def test_a_policy_forbids_scripts_and_whatever_lies_elsewhere() -> None:
    elements = Outline(str(Page("a"))).elements
    (policy,) = [facts["content"] for tag, facts in elements if facts.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in str(policy).split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "script-src" not in rules
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in elements}


@steady
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_the_contents_link_to_each_section_once_and_in_order(headings: list[str]) -> None:
    page = Page("a")
    for words in headings:
        page.heading(words)
        page.text("b")
    found = Outline(str(page))
    targets = [facts["id"] for tag, facts in found.elements if tag == "h2"]
    links = [facts["href"] for tag, facts in found.elements if tag == "a"]
    assert links == [f"#{target}" for target in targets]
    assert len(set(targets)) == len(headings)
    assert found.of("a") == found.of("h2") == headings


def test_a_picture_is_embedded_byte_by_byte_with_its_caption(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(bytes(range(256)))
    page = Page("a")
    page.pictures([Drawing("one", 'A "title"', "What <it> shows.", Figure())], tmp_path)
    found = Outline(str(page))
    ((_, facts),) = [element for element in found.elements if element[0] == "img"]
    kind, _, content = str(facts["src"]).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content, validate=True) == bytes(range(256))
    assert facts["alt"] == 'A "title"'
    assert found.of("figcaption") == ['A "title". What <it> shows.']


def test_rows_of_a_table_keep_their_cells_and_their_order() -> None:
    page = Page("a")
    cells = [[f"{row}.{column}" for column in range(3)] for row in range(4)]
    page.table(["x", "y", "z"], cells)
    found = Outline(str(page))
    assert found.of("th") == ["x", "y", "z"]
    assert found.of("td") == [cell for row in cells for cell in row]
    assert kinds(page).count("tr") == 5
