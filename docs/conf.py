"""Sphinx: these pages as HTML. Build: python -m sphinx -W docs docs/_build/html."""

project = "napari-hrpn"
copyright = "The napari-hrpn developers"  # noqa: A001
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Nanoprobe prediction on whole slides, in napari"}
myst_heading_anchors = 3
