"""What of a slide ``napari-hrpn evaluate`` measures: finished tiles, and regions without what is excluded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_hrpn.cli import run
from napari_hrpn.core import Box
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.slides import open_slide, read_geojson, write_geojson
from support.evaluated_slides import box, write_slide

SIZE = (1030, 600)
pytestmark = [
    pytest.mark.filterwarnings("default::napari_hrpn.slides.SlideWarning"),
    pytest.mark.usefixtures("tiny_figures"),
]
WORDS = "1 of 6 tiles is predicted; only this one is measured"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(1).integers(0, 200, (1, *SIZE), np.uint8)
    return write_slide(pixels, ("QD",), tmp_path_factory.mktemp("slide") / "slide.ome.tif")


def predicted(real: Path, path: Path, tiles: list[tuple[int, int]]) -> np.ndarray:
    slide = open_slide(real)
    y = np.asarray(slide.levels[0][0].compute())
    p = (y // 2 + np.random.default_rng(2).integers(0, 40, SIZE)).astype(np.uint8)
    request = {"core": 512, "checkpoint": "0123abcd", "resample": False, "precision": "fp32"}
    store = PredictionStore.open(path, slide, request, dtype=np.dtype("uint8"), name="predicted QD")
    for row, column in tiles:
        box = Box(row * 512, min(SIZE[0], row * 512 + 512), column * 512, min(SIZE[1], column * 512 + 512))
        store.record(box, store.write(box, p[box.y0 : box.y1, box.x0 : box.x1]))
    store.close()
    group = zarr.open_group(path, mode="r+")
    group.attrs["napari_hrpn"] = {**group.attrs["napari_hrpn"], "title": "Small network"}
    return p


def test_finished_tiles_and_what_is_not_excluded_are_measured_and_page_json_and_terminal_say_so(real, tmp_path, capsys):
    p = predicted(real, tmp_path / "p.ome.zarr", [(1, 0)])
    ignored = replace(box(slice(600, 700), slice(100, 200), ""), kind="exclude")
    regions = [box(slice(450, 750), slice(50, 250), "A"), ignored, box(slice(650, 900), slice(20, 150), "B")]
    write_geojson(regions, tmp_path / "rois.geojson")
    command = ["evaluate", str(real), str(tmp_path / "p.ome.zarr"), "-o", str(tmp_path / "out")]
    command += ["--roi", str(tmp_path / "rois.geojson")]
    assert run(command) == 0
    said = capsys.readouterr()
    assert said.err.count(WORDS) == 1
    assert WORDS in said.out
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    y = np.asarray(open_slide(real).levels[0][0].compute())
    made = slice(512, 1024), slice(0, 512)
    assert found["frame"]["n"] == 512 * 512
    assert found["frame"]["pearson_r"] == pytest.approx(np.corrcoef(y[made].ravel(), p[made].ravel())[0, 1], abs=1e-12)
    assert [roi["n"] for roi in found["rois"]] == [(750 - 512) * 200 - 100 * 100, 250 * 130 - 50 * 50]
    kinds = [each.kind for each in read_geojson(tmp_path / "out" / "rois.geojson")]
    assert kinds == ["include", "include", "exclude"]
    about = found["about"]
    assert about["measured"] == WORDS
    assert (about["tiles"]["finished"], about["tiles"]["total"]) == (1, 6)
    record = next(iter(about["predictions"].values()))["prediction"]
    assert (record["title"], record["checkpoint"]) == ("Small network", "0123abcd")
    page = (tmp_path / "out" / "evaluation.html").read_text("utf-8")
    top = page[page.index("<h2") : page.index(">Numbers</h2>")]
    for words in (WORDS, "Small network", "0123abcd", "1 of 6", "262,144", "fp32"):
        assert words in top
    # without what is excluded it is another evaluation
    write_geojson([regions[0], regions[2]], tmp_path / "rois.geojson", overwrite=True)
    assert run(command) == 2


def test_more_tiles_are_another_evaluation_and_none_are_refused(real, tmp_path, capsys):
    predicted(real, tmp_path / "p.ome.zarr", [])
    command = ["evaluate", str(real), str(tmp_path / "p.ome.zarr"), "-o", str(tmp_path / "out")]
    assert run(command) == 2
    assert "no tile is predicted yet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_name_that_cannot_be_written_is_refused_before_anything_is_measured(real, tmp_path, capsys):
    command = ["evaluate", str(real), str(real), "-o", str(tmp_path / "out"), "--name", "a"]
    assert run([*command, "--tumour", "a\x1b\ud800"]) == 2
    assert "holds characters that cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
