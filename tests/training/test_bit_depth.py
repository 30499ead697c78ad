"""The bit depth of a camera is told by full-resolution pixels: those of a coarse level are means."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.slides import RegionMask, Slide, coarser_levels
from napari_hrpn.training import SlideEntry, TrainingSlide
from napari_hrpn.training.data.grey_levels import BLOCK_PX, _brightest_pixel, full_scale

SIDE = 2048


def training_slide(pixels, read=None, regions=None):
    """All levels count as stored; what is read of the finest is noted as the corners of its chunks."""

    def note(block, block_info=None):
        if read is not None and block.size:
            read.append(block_info[0]["chunk-location"])
        return block

    finest = da.from_array(pixels, chunks=(len(pixels), BLOCK_PX, BLOCK_PX), name=False)
    levels = [level.compute() for level in coarser_levels(finest)]
    levels = (finest.map_blocks(note, dtype=pixels.dtype), *(da.from_array(level, name=False) for level in levels))
    slide = Slide(levels, ("DAPI", "CD31", "QD"), None, Path("a.tif"), stored_levels=len(levels))
    return TrainingSlide(SlideEntry(slide.source), slide, (0, 1), 2, regions)


def spotted(brightest, dtype=np.uint16):
    """Dim tissue, and single bright pixels in the probe, of which a coarse level shows next to nothing."""
    pixels = np.full((3, SIDE, SIDE), 100, dtype)
    pixels[2, 700:900, 700:900] = 140
    pixels[2, 777, 801] = brightest
    return pixels


@pytest.mark.parametrize(
    ("brightest", "expected"),
    [(200, 255), (256, 1023), (1023, 1023), (1500, 4095), (4095, 4095), (4096, 16383), (20_000, 65535)],
)
def test_the_first_usual_depth_that_holds_the_brightest_pixel(brightest, expected):
    slide = training_slide(spotted(brightest))
    assert float(slide.slide.levels[-1].max()) < max(150, brightest / 4)
    assert full_scale([slide]) == expected


def test_eight_bits_are_eight_bits():
    assert full_scale([training_slide(spotted(150, np.uint8))]) == 255


def test_the_brightest_of_all_slides_counts_and_more_than_16_bits_are_there():
    slides = [training_slide(spotted(brightest, np.uint32)) for brightest in (300, 70_000)]
    assert full_scale(slides) == 2**17 - 1


def test_a_big_slide_is_not_read_whole():
    read = []
    pixels = np.random.default_rng(1).integers(0, 200, (3, SIDE, SIDE)).astype(np.uint16)
    pixels[1, 1030:1040, 30:40] = 3000
    slide = training_slide(pixels, read)
    assert _brightest_pixel(slide) == 3000
    assert (0, SIDE // 2 // BLOCK_PX, 0) in read
    assert 1 <= len(set(read)) <= 12 < (SIDE // BLOCK_PX) ** 2


def test_what_lies_outside_the_regions_has_no_say():
    left = RegionMask(np.repeat([[True, False]], 2, axis=0), (SIDE / 2, SIDE / 2))
    pixels = spotted(3000)
    pixels[0, :, -50:] = 60_000
    assert _brightest_pixel(training_slide(pixels, regions=left)) == 3000


def test_a_slide_without_a_stored_pyramid_is_sampled():
    slide = training_slide(spotted(3000))
    flat = Slide(slide.slide.levels[:1], slide.slide.channel_names, None, slide.slide.source)
    assert _brightest_pixel(TrainingSlide(slide.entry, flat, (0, 1), 2)) == 3000
