"""Checkpoint from a model package of bioimage.io, for packages that this program wrote.

A package may come from a stranger: nothing in it is unpacked under its own name, and neither code nor a pickle is read.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from napari_hrpn.models.bioimageio import CHECKPOINT, DESCRIPTION, WEIGHTS
from napari_hrpn.models.checkpoint import CheckpointError, load_checkpoint
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_hrpn.models.checkpoint import Checkpoint

_MOST_BYTES, _MOST_DESCRIPTION_BYTES = 1 << 28, 1 << 18
"""Limits of a file and of the description: a damaged or harmful package may state any size."""
_OTHER_DESCRIPTIONS = ("bioimageio.yaml", "model.yaml")
_EXPECTED = "expected a package that napari-hrpn export wrote"
_SHOWN = 60


def import_package(path: Path, output: Path, *, overwrite: bool = False) -> Checkpoint:
    """Write the checkpoint that a package was made from, and return it."""
    with _opened(path) as archive:
        recorded = _recorded(path, _described(path, archive))
        contents = {name: _content(path, archive, name, digest) for name, digest in recorded.items()}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / CHECKPOINT
        copy.write_bytes(contents[CHECKPOINT])
        try:
            checkpoint = load_checkpoint(copy)
        except CheckpointError as error:
            raise CheckpointError(f"{path.name}: {error}") from error
    with partial_output(output, path, overwrite=overwrite) as partial:
        partial.write_bytes(contents[CHECKPOINT])
    return checkpoint


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive; errors in the block that damage explains become one sentence."""
    if not path.is_file():
        msg = f"{path} is not a file; {_EXPECTED}."
        raise CheckpointError(msg)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except CheckpointError:
        raise
    # RuntimeError is what zipfile raises of encrypted files, NotImplementedError of methods that it does not know
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        msg = f"{path.name} is damaged or not a zip archive ({str(error)[:_SHOWN]}); {_EXPECTED}."
        raise CheckpointError(msg) from error


def _described(path: Path, archive: zipfile.ZipFile) -> Mapping[str, Any]:
    """Description of a package; all numbers in it are text."""
    names = set(archive.namelist())
    name = next((name for name in (DESCRIPTION, *_OTHER_DESCRIPTIONS) if name in names), None)
    if name is None or archive.getinfo(name).file_size > _MOST_DESCRIPTION_BYTES:
        found = "no rdf.yaml" if name is None else f"a {name} of {archive.getinfo(name).file_size:,} bytes"
        msg = f"{path.name} holds {found}, so it is no model package of bioimage.io; {_EXPECTED}."
        raise CheckpointError(msg)
    try:
        # the loader that makes nothing but text, lists and mappings, and expands no merged keys
        content = yaml.load(archive.read(name), yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        msg = f"{path.name} has a {name} that is no YAML; {_EXPECTED}."
        raise CheckpointError(msg) from error
    if not isinstance(content, dict) or content.get("type") != "model":
        msg = f"{path.name} has a {name} of no model; {_EXPECTED}."
        raise CheckpointError(msg)
    return content


def _recorded(path: Path, description: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the weights that were exported, by file."""
    config = description.get("config")
    recorded = config.get("napari_hrpn") if isinstance(config, dict) else None
    if not isinstance(recorded, dict) or CHECKPOINT not in recorded:
        name = ascii(description.get("name"))
        msg = (
            f"{path.name} is the model {name[:_SHOWN]} of another program; {_EXPECTED}: other networks cannot be "
            "imported."
        )
        raise CheckpointError(msg)
    return {name: str(recorded.get(name)) for name in WEIGHTS}


def _content(path: Path, archive: zipfile.ZipFile, name: str, digest: str) -> bytes:
    """Content of a file, if it is there, not too large, and as it was exported."""
    if name not in archive.namelist():
        msg = f"{path.name} lacks {name}; get it again."
        raise CheckpointError(msg)
    size = archive.getinfo(name).file_size
    if size > _MOST_BYTES:
        msg = f"{path.name} states {size:,} bytes for {name}; expected {_MOST_BYTES:,} at most."
        raise CheckpointError(msg)
    content = archive.read(name)
    if hashlib.sha256(content).hexdigest() != digest:
        # weights that another program trained further are not in the checkpoint
        msg = (
            f"{path.name} has another {name} than was exported: it is damaged, or another program "
            "changed it; get the package as it was exported."
        )
        raise CheckpointError(msg)
    return content
