import csv
import json
import math
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from matplotlib.image import imread

from napari_hrpn.analysis import agreement
from napari_hrpn.reports import write_agreement, write_overview
from napari_hrpn.reports.tissue_figures import overview_title, scale_bar_um
from napari_hrpn.slides import Slide, coarser_levels


def slide(pixels: np.ndarray, names: tuple[str, ...]) -> Slide:
    finest = da.from_array(pixels, chunks=(1, 512, 512))
    return Slide((finest, *coarser_levels(finest)), names, (0.5, 0.5), Path("made-up"))


def pair(height: int, width: int) -> tuple[Slide, Slide]:
    """A real channel bright on the left, a predicted one bright at the top."""
    real = np.zeros((3, height, width), np.uint8)
    real[2, :, : width // 2] = 200
    predicted = np.zeros((1, height, width), np.float32)
    predicted[0, : height // 2] = 200
    return slide(real, ("DAPI", "CD31", "QD")), slide(predicted, ("predicted QD",))


def panels(path: Path) -> list[np.ndarray]:
    """The three images of the picture, found by the white around them."""
    image = imread(path)[..., :3]
    inside = (image < 0.9).any(axis=2)
    rows = np.flatnonzero(inside.mean(axis=1) > 0.8)
    columns = np.flatnonzero(inside[rows].mean(axis=0) > 0.9)
    cuts = np.flatnonzero(np.diff(columns) > 1) + 1
    return [image[rows[0] : rows[-1] + 1, part[0] : part[-1] + 1] for part in np.split(columns, cuts)]


@pytest.mark.parametrize("size", [(1500, 1500), (700, 1801), (40, 33)])
def test_picture_shows_real_red_predicted_green_equal_yellow(size: tuple[int, int], tmp_path: Path) -> None:
    real, predicted = pair(*size)
    path = write_overview(real, 2, predicted, tmp_path / "overview.png")
    red, green, both = panels(path)
    quarter, rest = 0.25, 0.75
    for image, where, colour in (
        (red, (rest, quarter), (1, 0, 0)),
        (red, (quarter, rest), (0, 0, 0)),
        (green, (quarter, quarter), (0, 1, 0)),
        (green, (rest, rest), (0, 0, 0)),
        (both, (quarter, quarter), (1, 1, 0)),
        (both, (quarter, rest), (0, 1, 0)),
        (both, (rest, quarter), (1, 0, 0)),
    ):
        y, x = (int(place * edge) for place, edge in zip(where, image.shape[:2], strict=True))
        np.testing.assert_allclose(image[y, x], colour, atol=0.05)
    assert red.shape[0] / red.shape[1] == pytest.approx(size[0] / size[1], rel=0.03)
    assert [found.name for found in tmp_path.iterdir()] == ["overview.png"]


def test_only_a_coarse_level_is_read(tmp_path: Path) -> None:
    real, predicted = pair(1500, 1500)

    def never(block_id: tuple[int, ...]) -> np.ndarray:
        raise AssertionError(f"the full level was read at {block_id}")

    unread = da.map_blocks(
        never, chunks=((1,) * 3, (1500,) * 2, (1500,) * 2), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    large = Slide((unread, *real.levels), real.channel_names, (0.25, 0.25), Path("made-up"), stored_levels=2)
    assert write_overview(large, 2, predicted, tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("width_um", "bar_um"), [(562, 100), (1000, 200), (2000, 500), (400, 100), (399, 50), (11_000, 2000), (7.9, 1)]
)
def test_scale_bar_is_a_round_number_of_fitting_length(width_um: float, bar_um: float) -> None:
    assert scale_bar_um(width_um) == pytest.approx(bar_um)


def test_title_holds_the_numbers() -> None:
    found = agreement(np.arange(10, dtype=np.uint8), np.arange(10, dtype=np.uint8) + 1)
    title = overview_title(found, 0.95)
    assert "0.879" in title
    assert "at best 0.950" in title
    assert "48.1 dB" in title
    assert "n = 10 px" in title
    assert overview_title(None, None) == ""


def test_tables_hold_the_numbers_and_no_number_where_there_is_none(tmp_path: Path) -> None:
    ramp = np.arange(10, dtype=np.uint8)
    rows = {"tissue": agreement(ramp, ramp), "frame": agreement(np.full(10, 7, np.uint8), ramp)}
    paths = write_agreement(rows, tmp_path, r2_ceilings={"tissue": 0.9}, about={"slide": "a.tif"})
    with paths[0].open(encoding="utf-8") as file:
        tissue, frame = csv.DictReader(file)
    assert (tissue["region"], float(tissue["r2"]), float(tissue["r2_ceiling"])) == ("tissue", 1, 0.9)
    assert math.isinf(float(tissue["psnr_db"]))
    assert (frame["region"], frame["r2"], frame["r2_ceiling"]) == ("frame", "", "")
    assert "constant" in frame["reason"]
    found = json.loads(paths[1].read_text("utf-8"))
    assert found["slide"] == "a.tif"
    assert found["agreement"]["frame"]["r2"] is None
    assert found["agreement"]["tissue"]["psnr_db"] == "inf"
    assert found["agreement"]["frame"]["mse"] == rows["frame"].mse
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agreement.csv", "agreement.json"]
