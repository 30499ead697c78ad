"""What users meet: names that they import, commands and their help, the manifest, and sentences about wrong input."""

import contextlib
import io
import json
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import napari_hrpn
from golden.inputs import STAINS, phantom, write_slide
from golden.manifest import frozen_contributions
from golden.tables import RUN_DEPENDENT, stripped
from napari_hrpn.cli import run
from napari_hrpn.slides.formats import FORMAT_NAMES

TERMINAL = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
"""Environment in which help and sentences are the same everywhere."""


def exported_names() -> dict[str, list[str]]:
    """All names in ``__all__`` of every package, by package."""
    packages = [one.name for one in pkgutil.walk_packages(napari_hrpn.__path__, "napari_hrpn.") if one.ispkg]
    found = {name: getattr(import_module(name), "__all__", None) for name in ("napari_hrpn", *packages)}
    return {name: sorted(names) for name, names in found.items() if names}


def help_texts() -> dict[str, str]:
    """The help of the program and of every command."""
    text = call(["--help"])[1]
    commands = re.findall(r"^  ([a-z][a-z-]*)  ", text.partition("Commands:")[2], re.MULTILINE)
    assert commands
    return {
        f"help/{command or 'napari-hrpn'}.txt": call([*command.split(), "--help"])[1] for command in ("", *commands)
    }


def manifest() -> str:
    """What the manifest contributes."""
    return json.dumps(frozen_contributions(), indent=1, ensure_ascii=False)


WRONG_INPUTS: tuple[tuple[str, ...], ...] = (
    ("info", "nowhere.ome.tif"),
    ("info", "text.ome.tif"),
    ("info", "slide.ome.tif", "--series", "7"),
    ("info", "slide.ome.tif", "--pixel-size", "small"),
    ("convert", "slide.ome.tif", "slide.jpg"),
    ("convert", "slide.ome.tif", "there.ome.tif"),
    ("phantom", "new.ome.tif", "--preset", "huge"),
    ("phantom", "new.jpg"),
    ("predict", "slide.ome.tif"),
    ("predict", "slide.ome.tif", "-o", "out", "--core", "100"),
    ("predict", "slide.ome.tif", "-o", "out", "--region", "5"),
    ("predict", "slide.ome.tif", "-o", "out", "--region", "900:1000,0:10"),
    ("predict", "slide.ome.tif", "-o", "out", "--nuclei", "Hoechst"),
    ("predict", "slide.ome.tif", "-o", "out", "--checkpoint", "text.ome.tif"),
    ("predict", "grey.ome.tif", "-o", "out"),
    ("train", "slide.ome.tif", "-o", "run"),
    ("train", "slide.ome.tif", "grey.ome.tif", "-o", "run", "--recipe", "slow"),
    ("train", "slide.ome.tif", "grey.ome.tif", "-o", "run", "--branches", "5"),
    ("cross-validate", "nowhere.toml", "-o", "study"),
    ("cross-validate", "study.toml", "-o", "study"),
    ("evaluate", "slide.ome.tif", "grey.ome.tif", "-o", "out"),
    ("evaluate", "slide.ome.tif", "slide.ome.tif", "-o", "out", "--probe", "Cy5"),
    ("evaluate", "slide.ome.tif", "nowhere.ome.zarr", "-o", "out"),
    ("evaluate", "slide.ome.tif", "slide.ome.tif", "-o", "out", "--roi", "text.ome.tif"),
    ("evaluate", "slide.ome.tif", "slide.ome.tif", "-o", "out", "--psnr-max", "bright"),
    ("report", "nowhere", "-o", "cohort"),
    ("quality", "text.ome.tif"),
    ("measure",),
)
"""Commands that are refused, in a folder of the files that `write_wrong_inputs` makes."""


def write_wrong_inputs(folder: Path) -> None:
    """Write a slide, one of a single channel and another size, and files that are no slides."""
    write_slide(phantom()[:, :96, 60:220], STAINS, folder / "slide.ome.tif")
    write_slide(phantom()[:1, :64, 60:124], ("grey",), folder / "grey.ome.tif")
    (folder / "text.ome.tif").write_text("not an image\n")
    (folder / "there.ome.tif").write_text("mine\n")
    (folder / "study.toml").write_text('models = ["nonesuch"]\n[[slide]]\npath = "slide.ome.tif"\n')


def refusals(folder: Path) -> str:
    """Exit code and sentence for each wrong input; the folder is left out of the sentences."""
    found: list[dict[str, Any]] = []
    for words in WRONG_INPUTS:
        code, out, err = call(list(words))
        said = (
            (out + err).replace(f"{folder}/", "").replace(str(folder), ".").replace(FORMAT_NAMES, "one of the formats")
        )
        found.append({"command": " ".join(words), "exit_code": code, "said": said.splitlines()})
    return json.dumps(found, indent=1, ensure_ascii=False)


def printed_facts(paths: dict[str, Path]) -> dict[str, str]:
    """What ``info`` and ``quality`` print as JSON of slides, by what each slide is."""
    found = {}
    for name, path in paths.items():
        for command in ("info", "quality"):
            code, out, err = call([command, str(path), "--json"])
            content = json.loads(out) if code == 0 else (out + err).replace(str(path), path.name)
            found[f"facts/{command}-{name}.json"] = json.dumps(stripped(content, RUN_DEPENDENT), indent=1)
    return found


def call(words: list[str]) -> tuple[int, str, str]:
    """Run a command in this process and return its exit code, its output and what it said of errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    return code, out.getvalue(), err.getvalue()
