"""A slide that another process opens is the one of the process that asked, with the pixel size that was given."""

import numpy as np
import pytest
import tifffile

from napari_hrpn.slides import open_slide


def test_pixel_size_that_was_given_holds_in_other_processes(tmp_path):
    pytest.importorskip("distributed")
    from napari_hrpn.inference.cluster.worker import SlideReference

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20), np.uint8))
    slide = open_slide(tmp_path / "a.tif")
    assert SlideReference.of(slide).opened().pixel_size_um is None
    opened = SlideReference.of(slide.with_pixel_size((0.3, 0.4))).opened()
    assert (opened.pixel_size_um, opened.pixel_size_is_given) == ((0.3, 0.4), True)
