"""Inputs made to harm: each ends in a right result or one sentence, soon, with little memory, and harms nothing.

Every attack is a function that makes its input in a folder and returns a command, which may end with exit code 0, or
with 2 and one line, and in no other way. What else must hold stands in tests of its own below.
`scripts/test tests/faults/test_attacks.py --apart` gives each a process of its own, with little memory.
"""

import csv
import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hrpn.models import save_checkpoint
from support.ome_zarr import write_image
from support.predictions import lively_checkpoint
from support.studies import write_tumour

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="limits and pipes as on POSIX"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

MEMORY_BYTES = 3 << 30
SECONDS = 60
RUN = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY_BYTES}, {MEMORY_BYTES}))
from napari_hrpn.cli import main
main()
"""
Command = list[str | Path]
ATTACKS: dict[str, Callable[[Path], Command]] = {}


def attack(make: Callable[[Path], Command]) -> Callable[[Path], Command]:
    """List an attack under the name of its function."""
    ATTACKS[make.__name__] = make
    return make


@pytest.fixture
def run(request, capfd, monkeypatch, tmp_path) -> Callable[[Command], tuple[int, str]]:
    """The program: given a command, its exit code and what it said on stderr."""

    def in_process(command: Command) -> tuple[int, str]:
        from napari_hrpn.cli import run

        capfd.readouterr()
        code = run([str(word) for word in command])
        return code, capfd.readouterr().err

    def apart(command: Command) -> tuple[int, str]:
        words = [sys.executable, "-c", RUN, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
        return done.returncode, done.stderr

    monkeypatch.chdir(tmp_path)
    return apart if request.config.getoption("--apart") else in_process


def tumour(folder: Path) -> Path:
    return write_tumour(folder / "slide.ome.tif", 1)


def zarr_slide(folder: Path, **attributes: object) -> Path:
    pixels = np.arange(3 * 64 * 80, dtype=np.uint16).reshape(3, 64, 80)
    path = folder / "slide.zarr"
    write_image(path, (pixels,), version="0.4")
    file = path / ".zattrs"
    file.write_text(json.dumps(json.loads(file.read_text()) | attributes))
    return path


def header_only(folder: Path, header: object, length: int | None = None) -> Path:
    text = json.dumps(header).encode()
    path = folder / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text)
    return path


def tiff_of(folder: Path, height: int, width: int, data: bytes, compression: int) -> Path:
    """A TIFF of one strip, written by hand."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1),
            (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(data))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path = folder / "bomb.tif"
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


@attack
def pickled_checkpoint(folder: Path) -> Command:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, (f"touch {folder / 'harmed'}",))

    path = folder / "bad.safetensors"
    path.write_bytes(pickle.dumps(Harm()))
    return ["predict", tumour(folder), "-o", folder / "out", "--checkpoint", path]


@attack
def header_without_end(folder: Path) -> Command:
    path = header_only(folder, {}, length=2**62)
    return ["predict", tumour(folder), "-o", folder / "out", "--checkpoint", path]


def _with_metadata(folder: Path, **changes: object) -> Path:
    path = folder / "network.safetensors"
    save_checkpoint(lively_checkpoint(), path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for name, change in changes.items():
        for key, text in header["__metadata__"].items():
            if f'"{name}"' in text:
                content = json.loads(text)
                _set(content, name, change)
                header["__metadata__"][key] = json.dumps(content)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


def _set(content: object, name: str, value: object) -> None:
    if isinstance(content, dict):
        for key in content:
            if key == name:
                content[key] = value
            else:
                _set(content[key], name, value)


@attack
def network_without_end(folder: Path) -> Command:
    path = _with_metadata(folder, stage1_blocks=10**9)
    return ["predict", tumour(folder), "-o", folder / "out", "--checkpoint", path]


@attack
def scale_that_is_no_number(folder: Path) -> Command:
    path = _with_metadata(folder, scales=[float("nan"), 1.0])
    return ["predict", tumour(folder), "-o", folder / "out", "--checkpoint", path]


@attack
def level_outside_of_the_slide(folder: Path) -> Command:
    path = zarr_slide(folder)
    (path / "0").rename(folder / "elsewhere")
    file = path / ".zattrs"
    file.write_text(file.read_text().replace('"path": "0"', '"path": "../elsewhere"'))
    return ["info", path]


@attack
def link_out_of_the_slide(folder: Path) -> Command:
    path = zarr_slide(folder)
    (path / "0").rename(folder / "elsewhere")
    (path / "0").symlink_to(folder / "elsewhere")
    return ["info", path]


@attack
def slide_of_four_million_gigapixels(folder: Path) -> Command:
    path = zarr_slide(folder)
    file = path / "0" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": [3, 2**31, 2**31], "chunks": [1, 1, 1]}))
    return ["info", path]


@attack
def a_million_channels(folder: Path) -> Command:
    path = zarr_slide(folder)
    file = path / "0" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": [10**6, 64, 80]}))
    return ["info", path]


@attack
def strip_that_inflates_to_gigabytes(folder: Path) -> Command:
    side, parts = 60_000, 60
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = squeezer.compress(bytes(side * side // parts)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    # the same piece again and again is one stream, of which the sum of zeros is known
    data = b"\x78\xda" + part * parts + b"\x03\x00" + struct.pack(">HH", side * side % 65521, 1)
    return ["info", tiff_of(folder, side, side, data, compression=8)]


@attack
def directory_that_follows_itself(folder: Path) -> Command:
    path = tiff_of(folder, 64, 64, bytes(64 * 64), compression=1)
    data = bytearray(path.read_bytes())
    data[-4:] = data[4:8]
    path.write_bytes(data)
    return ["info", path]


@attack
def pipe_that_nobody_writes_to(folder: Path) -> Command:
    os.mkfifo(folder / "pipe.tif")
    return ["info", folder / "pipe.tif"]


@attack
def pipe_among_the_stains(folder: Path) -> Command:
    stains = folder / "stains"
    stains.mkdir()
    for name in ("DAPI", "SpGreen"):
        tifffile.imwrite(stains / f"{name}.tif", np.ones((64, 64), np.uint8))
    os.mkfifo(stains / "SpOrange.tif")
    return ["info", stains]


@attack
def file_without_end(folder: Path) -> Command:
    (folder / "endless.tif").symlink_to("/dev/zero")
    return ["info", folder / "endless.tif"]


def _endless(folder: Path, name: str) -> Path:
    (folder / name).symlink_to("/dev/zero")
    return folder / name


@attack
def study_that_never_ends(folder: Path) -> Command:
    return ["cross-validate", _endless(folder, "study.toml"), "-o", folder / "out"]


@attack
def regions_that_never_end(folder: Path) -> Command:
    regions = _endless(folder, "regions.geojson")
    return ["evaluate", tumour(folder), tumour(folder), "-o", folder / "out", "--roi", regions]


@attack
def checkpoint_that_never_ends(folder: Path) -> Command:
    network = _endless(folder, "network.safetensors")
    return ["predict", tumour(folder), "-o", folder / "out", "--checkpoint", network]


@attack
def evaluation_that_never_ends(folder: Path) -> Command:
    _endless(folder, "evaluation.json")
    return ["report", folder, "-o", folder / "out"]


@attack
def companion_that_never_ends(folder: Path) -> Command:
    _endless(folder, "all.companion.ome")
    only = '<BinaryOnly MetadataFile="all.companion.ome"/>'
    text = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{only}</OME>'
    tifffile.imwrite(folder / "a.ome.tif", np.ones((64, 64), np.uint8), description=text, metadata=None)
    return ["info", folder / "a.ome.tif"]


@attack
def output_of_a_name_that_is_too_long(folder: Path) -> Command:
    return ["predict", tumour(folder), "-o", folder / ("x" * 300)]


@attack
def a_million_workers(folder: Path) -> Command:
    return ["predict", tumour(folder), "-o", folder / "out", "--workers", "1000000"]


@attack
def folder_that_holds_itself(folder: Path) -> Command:
    (folder / "loop").mkdir()
    (folder / "loop" / "loop").symlink_to(folder / "loop")
    return ["info", folder / "loop"]


@attack
def regions_nested_a_hundred_thousand_deep(folder: Path) -> Command:
    path = folder / "deep.geojson"
    path.write_text('{"type": "Polygon", "coordinates": ' + "[" * 100_000 + "]" * 100_000 + "}")
    return ["evaluate", tumour(folder), tumour(folder), "-o", folder / "out", "--roi", path]


@attack
def region_with_a_number_of_400_digits(folder: Path) -> Command:
    path = folder / "large.geojson"
    corners = "[[0, 0], [1e400, 0], [1" + "0" * 400 + ", 9], [0, 0]]"
    path.write_text('{"type": "Polygon", "coordinates": [' + corners + "]}")
    return ["evaluate", tumour(folder), tumour(folder), "-o", folder / "out", "--roi", path]


@attack
def mask_that_runs_code(folder: Path) -> Command:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, (f"touch {folder / 'harmed'}",))

    np.save(folder / "mask.npy", np.array([Harm()], dtype=object), allow_pickle=True)
    return ["evaluate", tumour(folder), tumour(folder), "-o", folder / "out", "--mask", folder / "mask.npy"]


@attack
def mask_of_a_hundred_gigapixels(folder: Path) -> Command:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 400_000, 250_000, 8, 0, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    (folder / "mask.png").write_bytes(picture + chunk(b"IEND", b""))
    return ["evaluate", tumour(folder), tumour(folder), "-o", folder / "out", "--mask", folder / "mask.png"]


@attack
def study_without_end(folder: Path) -> Command:
    path = folder / "study.toml"
    path.write_text('title = "' + "x" * 10**6 + '"\nseeds = [' + "1" * 5000 + "]\n" + "a." * 5000 + "b = 1\n")
    return ["cross-validate", path, "-o", folder / "out"]


@attack
def name_of_a_path_that_is_too_long(folder: Path) -> Command:
    return ["info", folder / ("x" * 300 + ".tif")]


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_in_a_result_or_a_sentence(name, run, tmp_path):
    code, said = run(ATTACKS[name](tmp_path))
    assert code in {0, 2}, said[-2000:]
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("napari-hrpn: error: ")]
    assert len(errors) == (1 if code else 0), said[-2000:]
    assert not (tmp_path / "harmed").exists()


def test_names_are_text_in_figures_and_in_spreadsheets(run, tmp_path):
    slide, regions = tumour(tmp_path), tmp_path / "r.geojson"
    ring = [[10, 10], [90, 10], [90, 80], [10, 80], [10, 10]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    features = [{**feature, "properties": {"name": name}} for name in ("$\\frac{", '=HYPERLINK("x")', "@a", "a\0b")]
    regions.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    name = "$\\frac{" + "n" * 240
    code, said = run(["evaluate", slide, slide, "-o", tmp_path / "out", "--roi", regions, "--name", name])
    assert code == 0, said
    cells = [
        cell
        for table in (tmp_path / "out" / "tables").glob("*.csv")
        for row in csv.reader(table.open(encoding="utf-8", newline=""))
        for cell in row
    ]
    assert any("HYPERLINK" in cell for cell in cells)
    numbers = str.maketrans("", "", "0123456789.e+-")
    assert not [cell for cell in cells if cell[:1] in {"=", "@", "+", "-"} and cell.translate(numbers)]


def test_overwriting_takes_nothing_that_is_a_users(run, tmp_path):
    slide, there = tumour(tmp_path), tmp_path / "notes.ome.zarr"
    there.mkdir()
    (there / "zarr.json").write_text("{}")
    (there / "thesis.txt").write_text("years of work")
    partial = tmp_path / "made.ome.zarr.partial"
    partial.write_text("mine")
    assert run(["convert", slide, there, "--overwrite"])[0] == 2
    assert (there / "thesis.txt").read_text() == "years of work"
    run(["convert", slide, tmp_path / "made.ome.zarr"])
    assert partial.read_text() == "mine"
