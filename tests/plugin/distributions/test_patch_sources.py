"""Patches of a slide whose prediction is not finished."""

from dataclasses import replace

import numpy as np
from napari.components import ViewerModel

from napari_hrpn.core import drive
from napari_hrpn.plugin.distributions.measurement import patch_sources, patches_part
from napari_hrpn.plugin.parts.selection import compared_channel
from napari_hrpn.slides import FinishedTiles
from support.compared import compared_slides, show


def test_a_slide_and_its_unfinished_prediction_have_the_same_patches():
    viewer = ViewerModel()
    real, predicted = compared_slides(shape=(600, 700))
    cells = np.array([[True, False], [False, False]])
    show(viewer, real)
    show(viewer, replace(predicted, read_finished=lambda: FinishedTiles(cells.copy())))
    place, prediction = (compared_channel(viewer.layers[index]) for index in (2, -1))
    own, other = patch_sources(viewer, place, {prediction: "#cc00ff"}, "QD", others=False)
    parts = [patches_part(source, 128, 0.5, None) for source in (own, other)]
    enough = [drive(part.begin({})).enough for part in parts]
    expected = np.zeros_like(enough[0])
    expected[:4, :4] = True
    np.testing.assert_array_equal(enough, [expected, expected])
    whole, _ = patch_sources(viewer, place, {replace(prediction, slide=predicted): "#cc00ff"}, "QD", others=False)
    assert patches_part(whole, 128, 0.5, None).key != parts[0].key
