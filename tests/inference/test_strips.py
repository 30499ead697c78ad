import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_hrpn.inference.cpu.strips import SMALLEST_STRIP, StripwiseHRPN, upsampling_taps
from napari_hrpn.inference.predictor import Predictor, as_they_are, fold_batch_normalisation
from napari_hrpn.models import HRPN, Checkpoint, HRPNSettings


def lively_network(seed: int = 0, **settings: object) -> HRPN:
    """Batch statistics are those of real features, so that no layer is all but dead."""
    torch.manual_seed(seed)
    network = HRPN(HRPNSettings(**settings)).train()
    with torch.no_grad():
        network(torch.randn(1, network.settings.in_channels, 128, 128))
    return network.eval()


@pytest.mark.parametrize(
    "settings",
    [{"branches": 1}, {"branches": 2}, {"branches": 3}, {}, {"upsampling": "transposed", "in_channels": 3}],
    ids=str,
)
def test_strips_give_what_the_whole_network_gives(settings):
    network = lively_network(**settings)
    # two strips of the beginning and several of the head, the last ones smaller
    pixels = np.random.default_rng(0).standard_normal((network.settings.in_channels, SMALLEST_STRIP + 96, 224), "f4")
    x = torch.from_numpy(pixels)[None].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(x.double(), 0)
        fold_batch_normalisation(network)
        network.to(memory_format=torch.channels_last)
        plain = network(x, 0)
        stripwise = StripwiseHRPN(network)
        for crop in (0, 32, 96):
            inner = (..., slice(crop, exact.shape[-2] - crop), slice(crop, exact.shape[-1] - crop))
            expected, strips = exact[inner], stripwise(pixels, crop, as_they_are)
            spread, error = (expected.max() - expected.min()).item(), (plain[inner] - expected).abs().max().item()
            assert strips.shape == expected.shape
            assert (strips - expected).abs().max() <= max(1e-6 * spread, 2 * error)


# processors that only emulate fp16 take long
@pytest.mark.parametrize(("precision", "dtype", "seeds"), [("bf16", torch.bfloat16, 4), ("fp16", torch.float16, 2)])
def test_half_precision_errs_as_the_whole_network_does_and_ends_in_single(precision, dtype, seeds):
    errors, plain_errors = [], []
    # of one network, chance decides which errs more
    for seed in range(seeds):
        network = lively_network(seed)
        pixels = np.random.default_rng(seed).standard_normal((2, 256, 256), "f4")
        x = torch.from_numpy(pixels)[None]
        strips = Predictor(Checkpoint(network.settings, network.state_dict()), precision=precision).run(pixels, 64)
        fold_batch_normalisation(network)
        with torch.inference_mode():
            exact = network(x, 64)[0, 0].numpy()
            with torch.autocast("cpu", dtype):
                plain = network(x, 64)[0, 0].float().numpy()
        assert strips.dtype == np.float32
        # numbers of 16 bits would be few
        assert len(np.unique(strips)) > 0.5 * strips.size
        errors.append(np.abs(strips - exact).mean())
        plain_errors.append(np.abs(plain - exact).mean())
    assert 0 < sum(errors) <= 1.2 * sum(plain_errors)


@pytest.mark.parametrize(("first", "count", "scale"), [(1, 40, 4), (9, 7, 8), (46, 64, 8)])
def test_taps_are_those_of_bilinear_upsampling(first, count, scale):
    coarse = torch.randn(1, 1, 16)
    fine = functional.interpolate(coarse, scale_factor=scale, mode="linear", align_corners=False)[0, 0]
    start, taps = upsampling_taps(first + scale, count, scale)
    seen = coarse[0, 0, start : start + taps.shape[-1]].numpy()
    expected = [[fine[first + scale + i + tap] for tap in (-1, 0, 1)] for i in range(count)]
    np.testing.assert_allclose(taps @ seen, expected, atol=1e-6)


def test_on_a_processor_an_hrpn_runs_in_strips_and_takes_less_memory():
    network = lively_network()
    predictor = Predictor(Checkpoint(network.settings, network.state_dict()))
    assert isinstance(predictor._network, StripwiseHRPN)
    side = 2048 + 2 * predictor.halo
    assert predictor.bytes_for(side, side) < 0.3 * 450 * side**2
