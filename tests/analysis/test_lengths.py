"""Lengths in µm that a wrong pixel size would make endless filters of."""

import numpy as np
import pytest

from napari_hrpn.analysis.tissue.cell_density import _neighbours
from napari_hrpn.analysis.tissue.distance import grown_box
from napari_hrpn.analysis.tissue.vessel_mask import _disc
from napari_hrpn.core import Box
from napari_hrpn.core.errors import AnalysisError


@pytest.mark.parametrize("pixel_um", [1e-308, 1e-9, 0.0002744])
@pytest.mark.parametrize("filter_of", [_disc, _neighbours])
def test_a_filter_of_too_many_pixels_is_one_sentence_about_the_pixel_size(filter_of, pixel_um):
    with pytest.raises(AnalysisError, match=r"takes more than 64 pixels of .* µm; expected larger pixels"):
        filter_of(5.0, (pixel_um, 0.5))


def test_filters_of_right_pixels_are_made():
    assert np.count_nonzero(_disc(1.0, (0.5, 0.5))) == 13
    assert _neighbours(1.0, (0.5, 0.5))[0].shape == (5, 5)


@pytest.mark.parametrize("pixel_um", [1e-308, 1e-9, 1.0, 1e300])
def test_a_box_grows_no_further_than_the_image(pixel_um):
    grown = grown_box(Box(10, 20, 10, 20), (pixel_um, pixel_um), 1e3, (100, 200))
    assert grown == (Box(0, 100, 0, 200) if pixel_um <= 1 else Box(8, 22, 8, 22))
