"""ROIs of ImageJ become regions with the pixels that ImageJ counts; needs the extra fiji."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.slides import SlideError, SlideWarning
from napari_hrpn.slides.imagej_rois import holds_rois, read_imagej_rois

WHOLE = slice(0, 60), slice(0, 80)


def test_without_roifile_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SlideError, match=r"needs roifile, which is not installed: pip install 'napari-hrpn\[fiji\]'"):
        read_imagej_rois(tmp_path / "a.roi")


@pytest.fixture
def roifile():
    return pytest.importorskip("roifile")


def rectangle(roifile, kind: str = "RECT", **more: object):
    """Rows 10 to 29 and columns 20 to 59."""
    roi = roifile.ImagejRoi(top=10, left=20, bottom=30, right=60, name="core", **more)
    roi.roitype = roifile.ROI_TYPE[kind]
    return roi


def test_areas_have_the_pixels_that_imagej_counts(roifile, tmp_path: Path) -> None:
    polygon = roifile.ImagejRoi.frompoints(np.array([[20, 10], [60, 10], [60, 30], [20, 30]]))
    fine = roifile.ImagejRoi.frompoints(np.array([[20.0, 10], [60, 10], [60, 30], [20, 30], [20, 10]]))
    expected = np.zeros((60, 80), bool)
    expected[10:30, 20:60] = True
    for index, roi in enumerate((rectangle(roifile), polygon, fine)):
        roi.tofile(tmp_path / f"{index}.roi")
        (found,) = read_imagej_rois(tmp_path / f"{index}.roi")
        np.testing.assert_array_equal(found.within(*WHOLE), expected)
        assert found.kind == "include"
    oval = rectangle(roifile, "OVAL")
    oval.tofile(tmp_path / "oval.roi")
    (found,) = read_imagej_rois(tmp_path / "oval.roi")
    y, x = np.mgrid[:60, :80] + 0.5
    inside = ((y - 20) / 10) ** 2 + ((x - 40) / 20) ** 2 < 1
    assert (found.within(*WHOLE) != inside).sum() <= 4
    assert found.name == "core"


def test_the_roi_manager_keeps_names_and_points_are_left_out(roifile, tmp_path: Path) -> None:
    point = roifile.ImagejRoi.frompoints(np.array([[20, 10]]), name="point")
    point.roitype = roifile.ROI_TYPE.POINT
    other = rectangle(roifile)
    other.name = "rim"
    path = tmp_path / "RoiSet.zip"
    roifile.roiwrite(path, [rectangle(roifile), point, other])
    assert holds_rois(path)
    with pytest.warns(SlideWarning, match="RoiSet.zip has 1 ROIs that are points, lines, texts or empty"):
        assert [one.name for one in read_imagej_rois(path)] == ["core", "rim"]


def test_what_is_damaged_ends_in_a_sentence(roifile, tmp_path: Path) -> None:
    roi, archive = tmp_path / "a.roi", tmp_path / "a.zip"
    data = roifile.ImagejRoi.frompoints(np.array([[20, 10], [60, 10], [60, 30]])).tobytes()
    for content in (b"", b"Iout", b"PK\x03\x04 and more", data[:70]):
        roi.write_bytes(content)
        with pytest.raises(SlideError, match=r"a\.roi"):
            read_imagej_rois(roi)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.roi", data)
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(SlideError, match=r"a\.zip is damaged or no ZIP file"):
        read_imagej_rois(archive)
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.roi", "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(SlideError, match="unpacks to more than 268 MB"):
        read_imagej_rois(archive)
    point = roifile.ImagejRoi.frompoints(np.array([[20, 10]]))
    point.roitype = roifile.ROI_TYPE.POINT
    point.tofile(roi)
    with pytest.raises(SlideError, match="no area among its 1 ROIs"):
        read_imagej_rois(roi)
