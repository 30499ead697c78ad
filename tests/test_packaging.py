"""What others read of the package: long description, citation, recipe, workflows and image agree with the source."""

import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

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


def of_yaml(*parts: str) -> dict[str, object]:
    return yaml.safe_load(ROOT.joinpath(*parts).read_text("utf-8"))


CONDA_NAMES = {"dask": "dask-core", "matplotlib": "matplotlib-base", "torch": "pytorch"}


def test_requirements_of_the_recipe_are_those_of_the_package() -> None:
    recipe = of_yaml("recipe", "recipe.yaml")
    needed = map(Requirement, PROJECT["dependencies"])
    expected = {f"{CONDA_NAMES.get(need.name, need.name)} {need.specifier}" for need in needed}
    python, *run = recipe["requirements"]["run"]
    assert python == "python >=${{ python_min }}"
    assert sorted(run) == sorted(expected)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert [word.replace(" ", "") for word in recipe["requirements"]["host"][2:]] == build
    (script,) = PROJECT["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [" = ".join(script)]
    about = recipe["about"]
    assert (about["license"], about["summary"]) == (PROJECT["license"], PROJECT["description"])


def test_citation_has_what_its_format_requires() -> None:
    citation = of_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert citation["authors"] == PROJECT["authors"]
    (paper,) = citation["references"]
    assert PROJECT["urls"]["Publication"].endswith(paper["doi"])
    assert {"type", "title", "authors"} <= paper.keys()


def test_tests_run_on_three_systems_with_the_oldest_and_the_newest_python() -> None:
    workflow = of_yaml(".github", "workflows", "tests.yml")
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert {system.partition("-")[0] for system in matrix["system"]} == {"ubuntu", "windows", "macos"}
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert matrix["python"] == [named[0], named[-1]]
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert any(step.get("run") == "scripts/test" for step in workflow["jobs"]["test"]["steps"])


def test_a_release_is_published_without_a_stored_password() -> None:
    jobs = of_yaml(".github", "workflows", "release.yml")["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")


def test_issue_forms_ask_for_the_diagnosis() -> None:
    forms = {path.stem: of_yaml(path) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")}
    assert all({"name", "description", "body"} <= form.keys() for name, form in forms.items() if name != "config")
    assert "`napari-hrpn diagnose`" in str(forms["bug"])


def test_manual_is_built_as_the_tests_build_it() -> None:
    settings = of_yaml(".readthedocs.yaml")
    assert settings["sphinx"] == {"configuration": "docs/conf.py", "fail_on_warning": True}


def test_image_has_the_files_and_extras_that_it_names() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    assert any(line.startswith("FROM python:3.11") for line in lines)
    (extras,) = re.findall(r"/source\[([\w,-]*)\]", "\n".join(lines))
    assert {"cluster", "remote"} <= set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert {"LICENSE", "README.md", "constraints.txt", "hatch_build.py", "pyproject.toml", "src"} <= set(kept)
    assert [name for name in kept if not (ROOT / name).exists()] == []
    assert "`Dockerfile`" in (ROOT / "docs" / "scale.md").read_text("utf-8")
