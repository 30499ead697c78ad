"""The checkout keeps its own rules: lint, types, contracts, docs, spelling, pins, manifest, wheel."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from napari_hrpn.core.options import options
from support.size import figures

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_hrpn"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def folders_with_python(*names: str) -> list[str]:
    return [name for name in names if any((ROOT / name).glob("**/*.py"))]


def product_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def run(*command: str) -> None:
    """Run a module of this Python in the checkout; its output is the message of a failure."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command[:4])}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "--no-cache", "--output-format", "concise"], id="ruff-check"),
        pytest.param(["ruff", "format", "--check", "--no-cache", "--output-format", "concise"], id="ruff-format"),
        pytest.param(["mypy", *folders_with_python("src", "scripts", "benchmarks")], id="mypy"),
        pytest.param(["codespell_lib"], id="codespell"),
        pytest.param(["numpydoc", "lint", *map(str, product_files())], id="numpydoc"),
    ],
)
def test_tool_finds_nothing(command: list[str]) -> None:
    run(*command)


def test_import_contracts_hold() -> None:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def undocumented_fields(record: type) -> list[str]:
    from numpydoc.docscrape import NumpyDocString

    page = NumpyDocString(inspect.getdoc(record) or "")
    told = {name for part in (*page["Attributes"], *page["Parameters"]) for name in part.name.split(", ")}
    if record.__module__.startswith("napari_hrpn.settings."):
        told.update(options(record))
    return [f"{record.__name__}: field {field.name}" for field in fields(record) if field.name not in told]


def undocumented_parts(function: Callable[..., object]) -> list[str]:
    from numpydoc.validate import validate

    checks = set(PYPROJECT["tool"]["numpydoc_validation"]["checks"])
    errors = validate(f"{function.__module__}.{function.__qualname__}")["errors"]
    return [f"{function.__name__}: {text}" for check, text in errors if check in checks]


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in ("plugin", "cli")])
def test_exported_names_are_documented_in_full(room: str) -> None:
    module = importlib.import_module(f"napari_hrpn.{room}")
    exported = [getattr(module, name) for name in getattr(module, "__all__", [])]
    findings = [text for thing in exported if is_dataclass(thing) for text in undocumented_fields(thing)]
    findings += [text for thing in exported if inspect.isfunction(thing) for text in undocumented_parts(thing)]
    assert not findings, "\n".join(findings)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def line_count(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_long_work_is_run_by_one_function() -> None:
    files = [*product_files(), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").glob("*.py")]
    by_hand = [path.relative_to(ROOT) for path in files if "StopIteration" in path.read_text("utf-8")]
    assert by_hand == [Path("src/napari_hrpn/core/progress.py")]


def test_functions_and_files_stay_short() -> None:
    too_long = [f"{path.name}: {lines} lines" for path in product_files() if (lines := line_count(path)) > 350]
    too_long += [
        f"{path.name}: {function.name}: {body_length(function)} lines"
        for path in product_files()
        for function in functions(path)
        if body_length(function) > 40
    ]
    assert not too_long, "\n".join(too_long)


@pytest.mark.parametrize("module", ["napari_hrpn", "napari_hrpn.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"torch", "napari", "qtpy", "PyQt6", "PySide6", "matplotlib"})


def test_manifest_is_valid_and_every_name_in_it_imports() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-hrpn")
    manifest.validate_imports()
    names = [command.python_name for command in manifest.contributions.commands or ()]
    assert all(name.startswith("napari_hrpn.plugin.") for name in names)


def test_menus_of_the_manifest_exist_in_napari() -> None:
    from napari._app_model.constants import MenuId
    from npe2 import PluginManifest

    menus = PluginManifest.from_distribution("napari-hrpn").contributions.menus or {}
    # napari drops entries for any other menu without a word
    assert set(menus) <= {menu.value for menu in MenuId.contributables()}


def test_manifest_at_the_top_is_the_one_in_the_package() -> None:
    top = ROOT / "napari.yaml"
    inside = PACKAGE / "napari.yaml"
    # Git writes a link as a file that holds the name it points to where the system has no links
    assert top.resolve() == inside or (ROOT / top.read_text("utf-8").strip()).resolve() == inside
    assert inside.is_file()
    assert not inside.is_symlink()


def test_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    run("hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"napari_hrpn/napari.yaml", "napari_hrpn/py.typed"} <= ours
    assert {name for name in inside if ".dist-info/" not in name} == ours


def requirements(group: str) -> Iterator[Requirement]:
    for entry in PYPROJECT["dependency-groups"][group]:
        if isinstance(entry, str):
            yield Requirement(entry)
        else:
            yield from requirements(entry["include-group"])


def test_every_requirement_has_a_pin_in_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    wanted = [*map(Requirement, PYPROJECT["project"]["dependencies"]), *requirements("dev")]
    unpinned = [str(need) for need in wanted if canonicalize_name(need.name) not in pins]
    outside = [str(need) for need in wanted if not need.specifier.contains(pins.get(canonicalize_name(need.name), "0"))]
    assert unpinned == []
    assert outside == []


# The first release without the holes that are known, of packages that read files of others or speak over a network
WITHOUT_HOLES = {
    "aiohttp": "3.14.3",
    "cryptography": "46.0.5",
    "dask": "2026.3",
    "distributed": "2026.3",
    "filelock": "3.20.3",
    "monai": "1.5.1",
    "pillow": "12.3",
    "pyarrow": "23.0.1",
    "scikit-learn": "1.5",
    "torch": "2.11",
}


def test_no_requirement_admits_a_release_with_a_known_hole() -> None:
    extras = [Requirement(line) for lines in PYPROJECT["project"]["optional-dependencies"].values() for line in lines]
    groups = [need for group in PYPROJECT["dependency-groups"] for need in requirements(group)]
    wanted = [*map(Requirement, PYPROJECT["project"]["dependencies"]), *extras, *groups]
    lowest = [
        (canonicalize_name(need.name), Version(each.version))
        for need in wanted
        for each in need.specifier
        if each.operator in (">=", "==", "~=")
    ]
    assert WITHOUT_HOLES.keys() <= {name for name, _ in lowest}
    low = [(name, str(found)) for name, found in lowest if found < Version(WITHOUT_HOLES.get(name, "0"))]
    assert low == []


# A path in backticks: folders and a file with a suffix, or folders with a slash behind them
PATH_IN_BACKTICKS = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|md|toml|yaml|txt|safetensors))?)`")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
MADE_BY_COMMANDS = {"demo-output/", ".venv/", "patches/", "regions/", "baselines/", "predictions/", "runs/NAME/"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths_named_in_docs_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    named = set(PATH_IN_BACKTICKS.findall(text)) - MADE_BY_COMMANDS
    missing = [path for path in named if not (ROOT / path).exists() and not (PACKAGE / path).exists()]
    missing += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing, ", ".join(sorted(missing))


def test_every_folder_is_on_the_architecture_page() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    folders = [path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*/__init__.py")]
    assert [folder for folder in folders if folder != "." and f"`{folder}/`" not in text] == []


# docs/decisions/0010-size.md has the aims; a format, a metric or a network fits below the ceilings, and anything larger
# raises one only with a reason beside it
CEILINGS = {"files": 350, "lines": 61_950, "tokens": 414_400, "public": 1_205, "longest body": 40}


def test_the_package_does_not_grow_unasked() -> None:
    found = figures()
    assert {name: figure for name, figure in found.items() if figure > CEILINGS[name]} == {}


@pytest.mark.slow
def test_docs_build_without_a_warning(tmp_path: Path) -> None:
    run("sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "cache"), "docs", str(tmp_path / "html"))
    assert (tmp_path / "html" / "architecture.html").is_file()
