import warnings

import numpy as np
import pytest
import torch

from napari_hrpn.inference import PredictionSettings, PredictionWarning, predict_slide
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.models import GANDA, Checkpoint, GANDASettings
from support.predictions import lively_checkpoint, make_slide


def test_a_precision_that_is_only_emulated_is_said(source, tmp_path, monkeypatch):
    settings = PredictionSettings(device="cpu", skip_blank=False, core=512, precision="bf16")
    for is_supported in (True, False):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda found=is_supported: found)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", PredictionWarning)
            list(predict_slide(make_slide(96, 96, source), lively_checkpoint(), tmp_path / str(is_supported), settings))
        assert [str(each.message).partition(" only ")[2][:13] for each in said] == ["emulates bf16"] * (
            not is_supported
        )


@pytest.mark.parametrize("was_allowed", [True, False])
def test_graphics_cards_do_not_round_inputs_of_convolutions_unasked(monkeypatch, was_allowed):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", was_allowed)
    ganda = GANDA(GANDASettings(channels=(6, 8, 10, 12, 14)))
    predictor = Predictor(Checkpoint(ganda.settings, ganda.state_dict()))
    network, seen = predictor._network, []

    def watched(*arguments):
        seen.append(torch.backends.cudnn.allow_tf32)
        return network(*arguments)

    predictor._network = watched
    predictor.run(np.zeros((2, 64, 64), np.float32), 0)
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 is was_allowed
