"""Thousands of damaged files, of which each is read rightly or refused in one sentence.

`scripts/test tests/faults/test_mutants.py --mutants 400` tries so many of each kind, and `--fault-seed 1` others.
"""

import contextlib
import json
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_hrpn.experiments import read_study
from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.models import load_checkpoint, save_checkpoint
from napari_hrpn.models.bioimageio import write_package
from napari_hrpn.models.package_import import import_package
from napari_hrpn.reports.cohort import cohort_differences, cohort_rows, cohort_summary
from napari_hrpn.reports.folder import read_evaluation
from napari_hrpn.slides import SlideError, open_slide, read_geojson, read_regions, region_mask
from napari_hrpn.slides.formats import FORMATS
from napari_hrpn.training import RunFolder, RunRequest, SlideEntry, recipe_settings
from support.lif import LIFImage, write_lif
from support.mutants import byte_mutants, fault_of, json_bytes, json_mutants
from support.ome_zarr import write_image
from support.predictions import lively_checkpoint, make_slide
from support.studies import write_study, write_tumour

Kind = tuple[Callable[[Path], Path], Callable[[Path, Path], object]]
SHAPE = (90, 120)


def look_at(path: Path) -> None:
    """Open a slide as a viewer does: metadata, the coarsest level, a part of the finest."""
    slide = open_slide(path)
    np.asarray(slide.levels[-1][:, :64, :64])
    np.asarray(slide.levels[0][:, :64, :64])


def tiff_slide(folder: Path) -> Path:
    return write_tumour(folder / "slide.ome.tif", 1)


def plain_tiff(folder: Path) -> Path:
    path = folder / "plain.tif"
    tifffile.imwrite(path, np.arange(3 * 90 * 120, dtype=np.uint16).reshape(3, *SHAPE), photometric="minisblack")
    return path


def zarr_attributes(folder: Path, version: str = "0.4") -> Path:
    pixels = np.arange(3 * 90 * 120, dtype=np.uint16).reshape(3, *SHAPE)
    path = folder / "slide.zarr"
    write_image(path, (pixels, pixels[:, ::2, ::2]), version=version)
    return path / (".zattrs" if version == "0.4" else "zarr.json")


def geojson(folder: Path) -> Path:
    def ring(start: int, end: int) -> list[list[int]]:
        return [[start, start], [end, start], [end, end], [start, end], [start, start]]

    def feature(geometry: dict, **properties: object) -> dict:
        return {"type": "Feature", "id": "a", "geometry": geometry, "properties": properties}

    polygon = {"type": "Polygon", "coordinates": [ring(5, 60), ring(20, 30)]}
    several = {"type": "MultiPolygon", "coordinates": [[ring(1, 9)], [ring(62, 80)]]}
    both = {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [ring(40, 50)]}, several]}
    features = [
        feature(polygon, name="A", classification={"name": "Tumor", "color": [200, 0, 0]}, objectType="annotation"),
        feature(several, name="exclude", measurements={"Area": 3.0}),
        feature(both, classification="Ignore*"),
    ]
    path = folder / "regions.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def checkpoint(folder: Path) -> Path:
    path = folder / "network.safetensors"
    save_checkpoint(lively_checkpoint(), path)
    return path


def package(folder: Path) -> Path:
    write_package(checkpoint(folder), folder / "package.zip")
    return folder / "package.zip"


def imported(path: Path, folder: Path) -> None:
    import_package(path, folder / "imported.safetensors", overwrite=True)


def study(folder: Path) -> Path:
    return write_study(folder, 'title = "mice"\nmodels = ["hrpn", "ganda"]\n[settings]\nseed = 3')


def label_image(folder: Path) -> Path:
    path = folder / "labels.tif"
    tifffile.imwrite(path, np.pad(np.ones((50, 80), np.uint8), 20))
    return path


def run_request(folder: Path) -> Path:
    entries = (SlideEntry(write_tumour(folder / "a.ome.tif", 1)), SlideEntry(write_tumour(folder / "b.ome.tif", 2)))
    RunFolder(folder / "run").begin(RunRequest(entries, recipe_settings(), None))
    return folder / "run" / "run.json"


def lif(folder: Path) -> Path:
    pixels = np.arange(2 * 20 * 24, dtype=np.uint16).reshape(2, 20, 24)
    return write_lif(folder / "a.lif", LIFImage("scan", pixels, "CYX", dyes=("Leica/DAPI", "Leica/CD31")))


BYTES: dict[str, Kind] = {
    "OME-TIFF": (tiff_slide, lambda path, _: look_at(path)),
    "LIF": (lif, lambda path, _: look_at(path)),
    "TIFF": (plain_tiff, lambda path, _: look_at(path)),
    "GeoJSON": (geojson, lambda path, _: region_mask(read_geojson(path), SHAPE)),
    "checkpoint": (checkpoint, lambda path, _: load_checkpoint(path)),
    "model package": (package, imported),
    "study": (study, lambda path, _: read_study(path)),
    "run folder": (run_request, lambda path, _: RunFolder(path.parent).request()),
    "label image": (label_image, lambda path, _: read_regions(path, SHAPE)),
}
VALUES: dict[str, Kind] = {
    "OME-Zarr 0.4": (zarr_attributes, lambda path, _: look_at(path.parent)),
    "OME-Zarr 0.5": (partial(zarr_attributes, version="0.5"), lambda path, _: look_at(path.parent)),
    "GeoJSON": (geojson, lambda path, _: region_mask(read_geojson(path), SHAPE)),
    "run folder": (run_request, lambda path, _: RunFolder(path.parent).request()),
}


# nothing here writes them, or they are several files; damaged ones are in tests/slides
WITHOUT_MUTANTS = {"ND2", "CZI", "MRXS"}


def test_files_of_every_format_are_damaged():
    names = {row.names for row in FORMATS if not row.is_folder}
    assert [of_format for of_format in names if not {*BYTES, *WITHOUT_MUTANTS} & {*of_format}] == []


@pytest.mark.parametrize("kind", [name for row in FORMATS for name in row.names if name in BYTES])
@pytest.mark.parametrize("choice", ["series", "z", "t"])
def test_an_image_or_plane_that_is_not_there_is_refused(kind, choice, tmp_path):
    path = BYTES[kind][0](tmp_path)
    with pytest.raises(SlideError):
        open_slide(path, **{choice: 99})


def failures(kind: Kind, mutants: Callable[[bytes], object], folder: Path) -> list[str]:
    """What is wrong with how the mutants of a file were taken; the first line of each."""
    make, open_it = kind
    good = make(folder)
    data = good.read_bytes()
    assert fault_of(lambda: open_it(good, folder)) is None
    open_it(good, folder)
    found = []
    for number, mutant in enumerate(mutants(data)):
        good.write_bytes(mutant)
        fault = fault_of(lambda: open_it(good, folder))
        if fault is not None:
            found.append(f"{number}: {fault}")
    return found


@pytest.mark.parametrize("kind", BYTES)
def test_damaged_bytes_are_read_or_refused(kind, tmp_path, number_of_mutants, fault_seed):
    found = failures(BYTES[kind], lambda data: byte_mutants(data, number_of_mutants, fault_seed), tmp_path)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("kind", VALUES)
def test_odd_values_are_read_or_refused(kind, tmp_path, number_of_mutants, fault_seed):
    def mutants(data: bytes) -> list[bytes]:
        return [json_bytes(each) for each in json_mutants(json.loads(data), number_of_mutants, fault_seed)]

    found = failures(VALUES[kind], mutants, tmp_path)
    assert not found, "\n".join(found)


def header_of(data: bytes) -> tuple[dict, bytes]:
    """Header of a safetensors file, the card and settings in it parsed, and what follows."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for key, text in header["__metadata__"].items():
        with contextlib.suppress(ValueError):
            header["__metadata__"][key] = json.loads(text)
    return header, data[8 + length :]


def with_header(header: dict, rest: bytes) -> bytes:
    metadata = {key: value if isinstance(value, str) else json.dumps(value)
                for key, value in header["__metadata__"].items()}  # fmt: skip
    text = json_bytes({**header, "__metadata__": metadata})
    return struct.pack("<Q", len(text)) + text + rest


def test_odd_values_on_a_card_are_read_or_refused(tmp_path, number_of_mutants, fault_seed):
    def mutants(data: bytes) -> list[bytes]:
        header, rest = header_of(data)
        cards = json_mutants(header["__metadata__"], number_of_mutants, fault_seed)
        return [with_header({**header, "__metadata__": card}, rest) for card in cards if isinstance(card, dict)]

    found = failures((checkpoint, lambda path, _: load_checkpoint(path).network()), mutants, tmp_path)
    assert not found, "\n".join(found)


def test_a_damaged_prediction_goes_on_to_the_same_pixels_or_is_refused(tmp_path, number_of_mutants, fault_seed):
    source = tmp_path / "slide.tif"
    source.write_bytes(b"x")
    slide, network = make_slide(600, 520, source), lively_checkpoint()
    settings = PredictionSettings(device="cpu", core=512, skip_blank=False, halo=32)

    def predict(path: Path) -> np.ndarray:
        for _ in predict_slide(slide, network, path, settings):
            pass
        return np.asarray(zarr.open_group(path, mode="r")["0"][...])

    def check(path: Path) -> None:
        assert np.array_equal(predict(path), exact), "other pixels, without a word"

    good = tmp_path / "good.ome.zarr"
    exact = predict(good)
    files = sorted(path for path in good.rglob("*") if path.is_file())
    chance, found = np.random.default_rng(fault_seed), []
    for number in range(number_of_mutants):
        mutant = tmp_path / "mutant.ome.zarr"
        shutil.copytree(good, mutant)
        changed = mutant / files[chance.integers(len(files))].relative_to(good)
        data = changed.read_bytes()
        if number % 6 == 5 or not data:
            changed.unlink()
        elif changed.suffix == ".json" and number % 2:
            changed.write_bytes(json_bytes(next(json_mutants(json.loads(data), 1, fault_seed + number))))
        else:
            changed.write_bytes(list(byte_mutants(data, 5, fault_seed + number))[number % 5])
        fault = fault_of(partial(check, mutant))
        if fault is not None:
            found.append(f"{number}: {changed.relative_to(mutant)}: {fault}")
        shutil.rmtree(mutant)
    assert not found, "\n".join(found)


@pytest.mark.usefixtures("tiny_figures")
def test_odd_values_in_an_evaluation_make_a_report_or_a_sentence(tmp_path, number_of_mutants, fault_seed):
    from napari_hrpn.cli import run

    slide = write_tumour(tmp_path / "slide.ome.tif", 1)
    assert run(["evaluate", str(slide), str(slide), "-o", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "evaluation.json"
    content, found = json.loads(path.read_text(encoding="utf-8")), []
    for number, mutant in enumerate(json_mutants(content, number_of_mutants, fault_seed)):
        path.write_bytes(json_bytes(mutant))
        fault = fault_of(lambda: _rows(path.parent))
        if fault is not None:
            found.append(f"{number}: {fault}")
    assert not found, "\n".join(found)


def _rows(folder: Path) -> None:
    """What `napari-hrpn report` does with an evaluation before it writes."""
    evaluations = [read_evaluation(folder)]
    cohort_differences(cohort_rows(evaluations))
    cohort_summary(cohort_rows(evaluations))
