import threading

import numpy as np
import pytest

from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.models import GANDA, Checkpoint, GANDASettings, IntensityScaling
from support.predictions import lively_checkpoint, make_slide


def ganda_checkpoint() -> Checkpoint:
    ganda = GANDA(GANDASettings(channels=(6, 8, 10, 12, 14)))
    return Checkpoint(ganda.settings, ganda.state_dict())


@pytest.mark.parametrize("checkpoint", [lively_checkpoint(), ganda_checkpoint()], ids=["HRPN", "GANDA"])
def test_what_was_made_ready_gives_the_same_and_is_scaled_once(checkpoint):
    scaled_rows = []

    def scale(part):
        scaled_rows.append(part.shape[1])
        return part.astype(np.float32) / 7

    predictor = Predictor(checkpoint)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 128, 96), np.uint16)
    expected = predictor.run(pixels.astype(np.float32) / 7, 0)
    found = predictor.run(predictor.ready(pixels, scale), 0, scale)
    assert np.array_equal(found, expected)
    assert sum(scaled_rows) == 128


def test_a_network_that_runs_as_a_whole_does_not_wait_for_scaling(source, tmp_path, monkeypatch):
    """Only the threads that read scale, except for the one pixel that stands for glass."""
    computing, scaling = set(), set()
    run, scale = Predictor.run, IntensityScaling.scale_inputs

    def watched_run(self, *arguments):
        computing.add(threading.get_ident())
        return run(self, *arguments)

    def watched_scale(self, pixels):
        scaling.add(threading.get_ident())
        return scale(self, pixels)

    monkeypatch.setattr(Predictor, "run", watched_run)
    monkeypatch.setattr(IntensityScaling, "scale_inputs", watched_scale)
    settings = PredictionSettings(device="cpu", skip_blank=False, core=512, resample=False)
    list(predict_slide(make_slide(600, 300, source), ganda_checkpoint(), tmp_path / "out", settings))
    assert computing
    assert scaling
    assert not computing & scaling
