"""``napari-hrpn diagnose``: versions, devices, memory and disk of this machine, and what is wrong with them."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict
from fnmatch import fnmatch
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.core.requirements import Need, needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from npe2 import PluginManifest

_BINDINGS = ("PyQt5", "PyQt6", "PySide2", "PySide6")
# napari's own readers come after those of plugins
_NO_RIVALS = {"napari", "napari-hrpn"}


def diagnose(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Show versions, devices, memory and disk, why no GPU is used, and plugins that open the same files.

    Nothing leaves this machine. Lines with ! name what should be solved. The exit code is 0 whatever is found.

    \b
    Examples:
      napari-hrpn diagnose
      napari-hrpn diagnose --json > diagnosis.json
    """  # noqa: D301
    facts = _facts()
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        for line in _lines(facts):
            typer.echo(line)


def _facts() -> dict[str, Any]:
    import psutil

    from napari_hrpn.inference import list_devices
    from napari_hrpn.slides import pyramid_cache_folder

    packages = needs()
    memory = psutil.virtual_memory()
    folders = {"current": Path.cwd(), "temporary": Path(tempfile.gettempdir()), "cache": pyramid_cache_folder()}
    bindings = [name for name in _BINDINGS if find_spec(name)]
    problems = [*(need.problem for need in packages if need.problem), *clashes(_manifests()), *_qt_problem(bindings)]
    return {
        "napari-hrpn": version("napari-hrpn"),
        "python": f"{platform.python_version()}, {sys.executable}",
        "system": platform.platform(),
        "packages": [asdict(need) for need in packages],
        "qt": bindings,
        "devices": [asdict(device) for device in list_devices()],
        "no_gpu": why_no_gpu(sys.platform, os.environ),
        "processors": os.cpu_count(),
        "memory": {"total_bytes": memory.total, "available_bytes": memory.available},
        "disk": {name: {"folder": str(path), "free_bytes": _free(path)} for name, path in folders.items()},
        "problems": problems,
    }


def _free(folder: Path) -> int | None:
    """Free bytes where a folder is or would be; None where the system does not say."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None


def why_no_gpu(system: str, environment: Mapping[str, str]) -> str:
    """Reason why torch sees no GPU; empty if it sees one."""
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return ""
    if system == "darwin":
        return "torch sees no Apple GPU: it needs Apple silicon, a current macOS and a Python built for arm64."
    if torch.version.cuda is None and torch.version.hip is None:
        words = f"torch {torch.__version__} is a build for processors only"
        return f"{words}; for an NVIDIA GPU install a build with CUDA, as torch's own page on installing says."
    if environment.get("CUDA_VISIBLE_DEVICES") in {"", "-1", "NoDevFiles"}:
        return "the environment variable CUDA_VISIBLE_DEVICES hides all GPUs; unset it."
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return f"torch cannot use a GPU: {str(error).strip().splitlines()[0]}"
    return "torch sees no GPU."


def _manifests() -> Iterator[PluginManifest]:
    """Manifests of the installed napari plugins that can be read."""
    if find_spec("npe2") is None:
        return
    from npe2 import PluginManifest

    for found in PluginManifest.discover():
        if found.manifest is not None:
            yield found.manifest


def clashes(manifests: Iterable[PluginManifest]) -> list[str]:
    """Sentence on each plugin whose reader takes files with the endings of our formats."""
    from napari_hrpn.slides.formats import FORMATS

    endings = [suffix for row in FORMATS for suffix in row.suffixes]
    sentences = []
    for manifest in manifests:
        readers = manifest.contributions.readers or ()
        patterns = [pattern.lower() for reader in readers for pattern in reader.filename_patterns]
        shared = [ending for ending in endings if any(fnmatch(f"slide{ending}", pattern) for pattern in patterns)]
        if shared and manifest.name not in _NO_RIVALS:
            words = f"the plugin {manifest.name} opens {', '.join(shared)} as well"
            sentences.append(f"{words}; choose napari-hrpn when napari asks, or run napari FILE --plugin napari-hrpn.")
    return sentences


def _qt_problem(bindings: list[str]) -> Iterator[str]:
    if find_spec("napari") is not None and not bindings:
        yield "napari has no Qt to open windows with: pip install 'napari[pyqt6]'."
    if len(bindings) > 1:
        yield f"{' and '.join(bindings)} are installed together, which may crash; keep one, or set QT_API."


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    for name in ("napari-hrpn", "python", "system"):
        yield f"{name + ':':<13}{facts[name]}"
    needed = [Need(**row) for row in facts["packages"]]
    yield f"{'Packages:':<13}{', '.join(f'{need.name} {need.installed}' for need in needed if need.installed)}"
    missing = [f"{need.name} (extra {need.extra})" for need in needed if need.extra and need.installed is None]
    yield f"{'Not there:':<13}{', '.join(missing) or 'nothing'}"
    yield f"{'Qt:':<13}{', '.join(facts['qt']) or 'none'}"
    for device in facts["devices"]:
        free, total = (device[key] / 1e9 for key in ("free_bytes", "total_bytes"))
        yield f"{'Device:':<13}{device['name']}, {device['title']}, {free:.1f} of {total:.1f} GB free"
    yield f"{'Processors:':<13}{facts['processors']}"
    for name, disk in facts["disk"].items():
        free_words = "unknown" if disk["free_bytes"] is None else f"{disk['free_bytes'] / 1e9:.1f} GB free"
        yield f"{'Disk:':<13}{free_words}, {name} folder {disk['folder']}"
    if facts["no_gpu"]:
        yield f"- {facts['no_gpu'][0].upper()}{facts['no_gpu'][1:]}"
    for sentence in facts["problems"]:
        yield f"! {sentence}"
