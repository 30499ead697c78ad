"""Sphinx: these pages as HTML. Build: python -m sphinx -W docs docs/_build/html."""

import re
import textwrap

import typer
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

from napari_hrpn.cli.entry import app

project = "napari-hrpn"
copyright = "The napari-hrpn developers"  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Nanoprobe prediction on whole slides, in napari", "page_width": "1100px"}
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "imported-members": True}
autodoc_member_order = "bysource"
# the sections of the docstrings name the types
autodoc_typehints = "none"
napoleon_google_docstring = False
# a type that names a method of several classes is no link to one of them
suppress_warnings = ["ref.python"]
napoleon_use_ivar = True
napoleon_use_param = napoleon_use_rtype = False

# lines that typer is told not to join: a title that ends with a colon, and commands or a table below it
_KEPT_LINES = re.compile(r"^(\w[^\n]*:)\n((?:  [^\n]*\n)+)", re.MULTILINE)


def commands() -> str:
    """All commands with their options, as Markdown, from the program itself."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name=app.info.name), name=app.info.name)
    _, _, text = text.partition("**Usage**")
    return _KEPT_LINES.sub(
        lambda found: f"{found[1]}\n\n```text\n{textwrap.dedent(found[2])}```\n", f"**Usage**{text}"
    ).replace("## `napari-hrpn ", "## `")


def _fill_in(_: Sphinx, page: str, source: list[str]) -> None:
    if page == "commands":
        source[0] += commands()


def _is_elsewhere(sphinx: Sphinx, kind: str, _name: str, thing: object, _skip: bool, _options: object) -> bool | None:
    """Whether what a room exports is on the page of the room that it comes from."""
    home = str(getattr(thing, "__module__", ""))
    room = sphinx.env.docname.replace("api/", "napari_hrpn.")
    return True if kind == "module" and home.startswith("napari_hrpn.") and not home.startswith(room) else None


def _without_links(_: Sphinx, _kind: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Show types as they are written: a word in them, such as "shape", would become a link to some attribute."""
    lines[:] = [re.sub(r"^(:vartype \w+: )(.+)$", r"\1``\2``", line) for line in lines]


def setup(sphinx: Sphinx) -> None:
    """Fill in the page of commands, and what is special about the docstrings."""
    sphinx.connect("source-read", _fill_in)
    sphinx.connect("autodoc-skip-member", _is_elsewhere)
    # after napoleon
    sphinx.connect("autodoc-process-docstring", _without_links, priority=600)
