"""The measured receptive field, against nudging pixels of a network with random weights."""

import pytest
import torch

from napari_hrpn.models import HRPN, HRPNSettings, halo_for, receptive_field_radius


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


def test_the_halo_is_the_radius_on_the_stride_grid():
    network = HRPN()
    radius = receptive_field_radius(network, 2, 32)
    halo = halo_for(network, 2, 32)
    assert halo % 32 == 0
    assert radius <= halo < radius + 32


def test_measuring_leaves_the_network_as_it_was():
    network = HRPN(HRPNSettings(branches=1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    receptive_field_radius(network, 2, 4)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
