"""Elements and texts of an HTML page."""

from html.parser import HTMLParser

EMPTY = {"meta", "img", "link", "br"}


class Outline(HTMLParser):
    """Elements of a page in order, with the text in each, as Python's own parser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self.texts[-1][0] == self._open[-1]:
            self.texts[-1] = (self._open[-1], self.texts[-1][1] + data)

    def of(self, tag: str) -> list[str]:
        """Texts of all elements of one kind."""
        return [text for name, text in self.texts if name == tag]
