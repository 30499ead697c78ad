"""The measured receptive field, against nudging pixels of a network with random weights."""

import pytest
import torch

from napari_hrpn.models import HRPN, HRPNSettings, halo_for, halo_of, receptive_field_radius


def lively(settings: HRPNSettings) -> HRPN:
    torch.manual_seed(1)
    network = HRPN(settings).double().eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    return network


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_pixels_beyond_the_radius_change_nothing_and_those_within_do(branches):
    settings = HRPNSettings(branches=branches)
    network, stride = lively(settings), settings.stride
    radius = receptive_field_radius(network, 2, stride)
    reach = (radius // stride + 2) * stride
    pixels = torch.rand(1, 2, stride, 2 * reach + stride, dtype=torch.double)
    far, near = pixels.clone(), pixels.clone()
    far[..., : reach - radius] += 1
    far[..., reach + stride + radius :] += 1
    near[..., : reach - radius + 2] += 1
    with torch.no_grad():
        period = [network(image)[..., reach : reach + stride] for image in (pixels, far, near)]
    assert torch.equal(period[0], period[1])
    assert not torch.equal(period[0], period[2])


def test_the_halo_of_the_published_network_is_the_radius_on_the_stride_grid():
    radius = receptive_field_radius(HRPN(), 2, 32)
    assert 192 - 32 < radius <= 192
    assert halo_of(HRPNSettings()) == 192


@pytest.mark.parametrize("branches", [1, 3, 4])
@pytest.mark.parametrize("upsampling", ["bilinear", "transposed"])
def test_the_halo_of_an_architecture_is_that_of_its_networks(branches, upsampling):
    settings = HRPNSettings(branches=branches, upsampling=upsampling, stem_channels=8, stage1_channels=2)
    assert halo_of(settings) == halo_for(HRPN(settings), 2, settings.stride)


def test_measuring_leaves_the_network_as_it_was():
    network = HRPN(HRPNSettings(branches=1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    receptive_field_radius(network, 2, 4)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("last", "words"),
    [(torch.nn.GroupNorm(1, 1), "looks further than 4096 px"), (torch.nn.Hardtanh(), "does not follow its input")],
)
def test_a_network_that_tiles_cannot_predict_is_refused(last, words):
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 1, 3, padding=1), torch.nn.Conv2d(1, 1, 3, padding=1), last)
    with pytest.raises(ValueError, match=words):
        receptive_field_radius(network, 2, 16)
