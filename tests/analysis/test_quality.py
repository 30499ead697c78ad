"""The quality check against phantoms into which a known fault was put, and against one without any."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis import SlideQuality, slide_quality
from napari_hrpn.analysis.quality.grey_levels import grey_levels
from napari_hrpn.core import Progress, drive
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.slides import Slide, coarser_levels, open_slide

NUCLEI, VESSELS, PROBE = range(3)
PIXEL_UM = 0.2744
SIZE = 1024


@cache
def pixels(seed: int = 1, **changes: object) -> np.ndarray:
    settings = replace(PHANTOM_PRESETS["tumour"], has_outline=False, **changes)
    return phantom_slide(settings, size=SIZE, seed=seed).slide.levels[0].compute(scheduler="synchronous")


def part(**changes: object) -> np.ndarray:
    """One block, for what shows in the grey levels alone."""
    return pixels(**changes)[:, :512, :512].copy()


def on_slide(image: np.ndarray, pixel_um: float | None = PIXEL_UM, **fields: object) -> Slide:
    finest = da.from_array(image, chunks=(1, 512, 512))
    size = None if pixel_um is None else (pixel_um, pixel_um)
    return Slide(
        (finest, *coarser_levels(finest)), ("DAPI", "AF488", "QD")[: len(image)], size, Path("made-up"), **fields
    )


def checked(slide: Slide) -> SlideQuality:
    def check(progress: Progress) -> None:
        assert 0 <= progress.done < progress.total

    return drive(slide_quality(slide), check)


def found(quality: SlideQuality, check: str) -> dict[tuple[int, ...], float]:
    return {finding.channels: finding.value for finding in quality.findings if finding.check == check}


@pytest.mark.parametrize("seed", [1, 3])
def test_nothing_is_found_where_nothing_is_wrong(seed: int) -> None:
    quality = checked(on_slide(pixels(seed)))
    assert quality.findings == ()
    assert quality.not_checked == ()
    assert quality.pixels == quality.blocks * 512**2
    # nuclei keep the probe out, so these two can be compared; they lie on top of each other
    shift = next(shift for shift in quality.shifts if (shift.first, shift.second) == (NUCLEI, PROBE))
    assert shift.shift_px == pytest.approx((0, 0), abs=0.2)


def test_a_shift_is_found_to_a_fraction_of_a_pixel() -> None:
    quality = checked(on_slide(pixels(probe_shift_um=(0.8, -0.5))))
    shift = next(shift for shift in quality.shifts if (shift.first, shift.second) == (NUCLEI, PROBE))
    assert shift.shift_um == pytest.approx((0.8, -0.5), abs=0.06)
    assert found(quality, "shift") == {(NUCLEI, PROBE): pytest.approx(math.hypot(0.8, 0.5) / PIXEL_UM, abs=0.3)}
    assert "down" in quality.findings[0].sentence
    assert "left" in quality.findings[0].sentence


def test_a_far_shift_is_found() -> None:
    image = pixels().copy()
    image[PROBE] = np.roll(image[PROBE], (-60, 45), axis=(0, 1))
    shifts = {(shift.first, shift.second): shift.shift_px for shift in checked(on_slide(image)).shifts}
    assert shifts[NUCLEI, PROBE] == pytest.approx((-60, 45), abs=0.3)


def test_what_does_not_share_anything_gets_no_shift() -> None:
    quality = checked(on_slide(np.stack([pixels(1)[NUCLEI], pixels(1)[VESSELS], pixels(3)[PROBE]])))
    assert all(math.isnan(shift.shift_px[0]) and shift.reason for shift in quality.shifts)
    assert found(quality, "shift") == {}


def test_shifts_that_do_not_add_up_are_taken_back() -> None:
    image = pixels().astype(np.int32)
    # what compression does: the same noise in two channels, displaced
    noise = np.random.default_rng(0).normal(0, 6, image.shape[1:])
    image[VESSELS] += np.rint(noise).astype(int)
    image[PROBE] += np.rint(np.roll(noise, 5, axis=1)).astype(int)
    image[VESSELS] += image[NUCLEI] // 4
    quality = checked(on_slide(image.clip(0, 255).astype(np.uint8)))
    known = {(shift.first, shift.second): shift.shift_px for shift in quality.shifts if not shift.reason}
    assert len(known) == 2
    assert any("does not fit" in shift.reason for shift in quality.shifts)


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_cross_talk_is_found_with_its_size(share: float) -> None:
    quality = checked(on_slide(pixels(cross_talk=share)))
    leaks = found(quality, "cross-talk")
    assert set(leaks) == {(NUCLEI, VESSELS), (VESSELS, PROBE)}
    assert leaks[NUCLEI, VESSELS] == pytest.approx(share, rel=0.1)
    assert leaks[VESSELS, PROBE] == pytest.approx(share, rel=0.35)


def test_cross_talk_is_not_looked_for_in_coarse_part() -> None:
    quality = checked(on_slide(part(), pixel_um=4.0))
    assert quality.cross_talk == ()
    assert any("4 µm" in sentence for sentence in quality.not_checked)


@pytest.mark.parametrize("gain", [1.6, 2.5])
def test_saturation_is_found_with_its_share(gain: float) -> None:
    image = part()
    image[NUCLEI] = (image[NUCLEI] * gain).clip(0, 255)
    quality = checked(on_slide(image))
    assert found(quality, "saturation") == {(NUCLEI,): (image[NUCLEI] == 255).mean()}
    assert quality.findings[0].matters


def test_saturation_below_the_end_of_the_type_is_found() -> None:
    image = (part().astype(np.uint16) * 40 + np.random.default_rng(0).integers(0, 40, part().shape)).astype(np.uint16)
    clipped = image.clip(0, 4095)
    assert found(checked(on_slide(image)), "saturation") == {}
    shares = found(checked(on_slide(clipped)), "saturation")
    assert shares[(NUCLEI,)] == (clipped[NUCLEI] == 4095).mean()


def test_zeros_and_constants_are_found() -> None:
    image = part()
    image[VESSELS] = np.maximum(image[VESSELS].astype(int) - 13, 0)
    image[PROBE] = 7
    quality = checked(on_slide(image))
    assert found(quality, "zeros") == {(VESSELS,): (image[VESSELS] == 0).mean()}
    assert found(quality, "constant") == {(PROBE,): 7}


@pytest.mark.parametrize(("stretch", "bits"), [(257, 8), (16, 8), (100.5, 8)])
def test_eight_bits_stretched_to_sixteen_are_found(stretch: float, bits: int) -> None:
    levels = grey_levels(np.rint(pixels()[NUCLEI].astype(float) * stretch).astype(np.uint16))
    assert levels.spacing == pytest.approx(stretch, rel=0.01)
    assert levels.bits_used == bits


def test_what_a_camera_gives_has_no_gaps() -> None:
    sixteen = part(bits=16)
    assert [grey_levels(channel).spacing for channel in sixteen] == [1, 1, 1]
    few = np.random.default_rng(0).integers(0, 60_000, 4000).astype(np.uint16)
    assert grey_levels(few).spacing == 1
    assert found(checked(on_slide(sixteen)), "bit depth") == {}


def test_stretched_slides_are_told_of() -> None:
    quality = checked(on_slide(part().astype(np.uint16) * 257))
    bits = found(quality, "bit depth")
    assert set(bits) == {(NUCLEI,), (VESSELS,), (PROBE,)}
    assert max(bits.values()) == 8
    assert all(finding.matters for finding in quality.findings)


def test_a_dark_probe_is_told_of_without_alarm() -> None:
    image = part()
    image[PROBE] //= 16
    (finding,) = [one for one in checked(on_slide(image)).findings if one.check == "bit depth"]
    assert finding.channels == (PROBE,)
    assert not finding.matters


def test_seams_of_camera_fields_are_found() -> None:
    quality = checked(on_slide(pixels(seed=4, shading=0.5, shading_field_px=160)))
    assert [seam.axis for seam in quality.stitching if seam.is_found] == ["y", "x"]
    for seam in quality.stitching:
        assert seam.period_px == pytest.approx(160, rel=0.08)
        # by the phantom's formula 0.25 / 0.75 peak to peak, less what the offset of the camera takes off
        assert 0.15 < seam.depth < 0.35


def test_seams_with_overtones_are_found_at_the_distance_of_the_fields() -> None:
    x = np.arange(4096)
    light = 1 - 0.3 * np.abs((x % 512) / 256 - 1) ** 6
    noise = np.random.default_rng(0).normal(0, 4, (3, 256, 4096))
    quality = checked(on_slide(np.rint(100 * light + noise).clip(0, 255).astype(np.uint8)))
    down, across = quality.stitching
    assert not down.is_found
    assert across.period_px == pytest.approx(512, rel=0.03)
    assert found(quality, "stitching") == {(): across.period_px}


def test_a_missing_pixel_size_is_told_of() -> None:
    quality = checked(on_slide(part(), pixel_um=None))
    assert [finding.check for finding in quality.findings] == ["pixel size"]
    assert quality.shifts[1].shift_um is None


def test_a_photograph_is_told_of() -> None:
    quality = checked(on_slide(part(), is_brightfield=True))
    assert [finding.check for finding in quality.findings] == ["photograph"]
    assert quality.shifts == ()


@pytest.mark.parametrize("shape", [(1, 5), (12, 12), (70, 300), (600, 520)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_small_slides_of_any_shape_are_checked(shape: tuple[int, int], dtype: type) -> None:
    image = np.random.default_rng(0).integers(1, 99, (3, *shape)).astype(dtype)
    quality = checked(on_slide(image))
    assert found(quality, "shift") == found(quality, "cross-talk") == found(quality, "stitching") == {}


def test_a_large_slide_without_coarse_levels_is_looked_at_in_parts_alone() -> None:
    read: list[tuple[int, ...]] = []

    def block(block_info: dict) -> np.ndarray:
        place = block_info[None]["chunk-location"]
        read.append(place)
        return np.random.default_rng(place).integers(0, 99, (3, 512, 512)).astype(np.uint8)

    finest = da.map_blocks(block, chunks=((3,), (512,) * 20, (512,) * 20), dtype=np.uint8)
    slide = Slide((finest, *coarser_levels(finest)), ("DAPI", "AF488", "QD"), (0.27, 0.27), Path("large"))
    quality = checked(slide)
    assert len(set(read)) == quality.blocks == 32
    assert len(quality.not_checked) == 2
    assert quality.stitching == ()


def test_real_fields_share_no_false_alarm(shared_data: Path) -> None:
    # the three dyes were imaged one after the other by one camera: no shift, and the file's compression fakes one
    for name in ("fov01", "fov03"):
        quality = checked(open_slide(shared_data / "dextran" / f"{name}.ome.tif"))
        assert not [finding for finding in quality.findings if finding.matters]
