"""Commands and widgets of the plugin, found through its manifest."""

from importlib import import_module
from importlib.resources import files
from typing import Any

import yaml


def contributions() -> dict[str, Any]:
    """What the manifest of the package contributes to napari."""
    manifest = yaml.safe_load(files("napari_hrpn").joinpath("napari.yaml").read_text("utf-8"))
    return manifest["contributions"]


def command(identifier: str) -> Any:
    """The Python object of a command."""
    (name,) = [one["python_name"] for one in contributions()["commands"] if one["id"] == identifier]
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def widget_class(name: str) -> Any:
    """The class of a dock widget."""
    return command(f"napari-hrpn.{name}")


def frozen_contributions() -> dict[str, Any]:
    """The manifest without the places of the Python objects, which may move, and without the formats' suffixes.

    Those are compared with the table of formats.
    """
    found = contributions()
    readers = [{key: value for key, value in one.items() if key != "filename_patterns"} for one in found["readers"]]
    commands = [{key: value for key, value in one.items() if key != "python_name"} for one in found["commands"]]
    return found | {"commands": commands, "readers": readers}
