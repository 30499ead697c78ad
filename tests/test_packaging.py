"""What others read of the package: long description, citation, recipe, workflows and image agree with the source."""

import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = (ROOT / "README.md").read_text("utf-8")
TARGET = re.compile(r"\]\(([^)]*)\)|(?:src|href)=[\"']([^\"']*)")


def targets(text: str) -> list[str]:
    return ["".join(found) for found in TARGET.findall(text)]


@pytest.fixture(scope="module")
def metadata() -> dict[str, object]:
    """Metadata of the package, as the build backend makes them."""
    command = [sys.executable, "-m", "hatchling", "metadata"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_no_link_of_the_description_is_relative(metadata: dict[str, object]) -> None:
    readme = metadata["readme"]
    text = readme["text"] if isinstance(readme, dict) else readme
    assert text.startswith("# napari-hrpn")
    assert "https://doi.org/10.1002/aisy.202300592" in targets(text)
    assert [link for link in targets(text) if not link.startswith("https://")] == []
    assert "[" not in re.sub(r"\[[^\]]*\]\(https://[^)]*\)|`[^`]*`|```.*?```", "", text, flags=re.DOTALL)


def test_with_an_address_every_link_of_the_readme_becomes_absolute() -> None:
    description = runpy.run_path(str(ROOT / "hatch_build.py"))["description"]
    text = description(README, "https://forge.example/us/hrpn")
    relative = [link for link in targets(README) if not link.startswith("https://")]
    made = [link for link in targets(text) if link.startswith("https://forge.example/us/hrpn/")]
    assert len(made) == len(relative) > 10
    assert [link.split("/HEAD/")[1] for link in made] == relative
    assert [link for link in targets(text) if not link.startswith("https://")] == []


def test_hub_categories_are_those_of_the_project() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(ROOT / "src" / "napari_hrpn" / "napari.yaml")
    assert [str(category.value) for category in manifest.categories] == ["Image Processing", "Measurement", "IO"]


def test_project_addresses_are_absolute_and_not_made_up() -> None:
    assert PROJECT["urls"]
    assert not [url for url in PROJECT["urls"].values() if not url.startswith("https://") or "example" in url]
