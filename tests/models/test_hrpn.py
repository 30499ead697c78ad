"""The published network: its size, its shapes, and that cropping before the head changes nothing."""

import pytest
import torch

from napari_hrpn.models import HRPN, HRPNSettings


def parameters(**settings: object) -> int:
    return sum(p.numel() for p in HRPN(HRPNSettings(**settings)).parameters() if p.requires_grad)


def test_the_default_has_the_published_number_of_parameters():
    assert parameters() == 2_176_824


@pytest.mark.parametrize(("branches", "expected"), [(1, 368_976), (2, 511_428), (3, 823_620), (4, 2_176_824)])
def test_each_ablation_of_the_branches_has_its_number_of_parameters(branches, expected):
    assert parameters(branches=branches) == expected


@pytest.mark.parametrize(("in_channels", "expected"), [(1, 2_176_248), (3, 2_177_400)])
def test_each_number_of_input_stains_has_its_number_of_parameters(in_channels, expected):
    assert parameters(in_channels=in_channels) == expected


def test_the_parts_have_the_sizes_of_the_published_table():
    network = HRPN()

    def size(part: torch.nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    assert size(network.stem) == 38_272
    assert size(network.stage1) == 286_208
    assert size(network.transitions) == 241_596
    assert [size(stage) for stage in network.stages] == [35_964, 171_792, 745_812]
    assert size(network.head) == 657_180


@pytest.mark.parametrize("upsampling", ["bilinear", "transposed"])
@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_the_output_is_as_large_as_the_input(branches, upsampling):
    network = HRPN(HRPNSettings(branches=branches, upsampling=upsampling, in_channels=3)).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 64, 96)


@pytest.mark.parametrize("crop", [4, 8, 32, 64])
def test_cropping_before_the_head_equals_cropping_after_it(crop):
    torch.manual_seed(0)
    network, pixels = HRPN().eval(), torch.rand(1, 2, 192, 160)
    with torch.no_grad():
        whole, cropped = network(pixels), network(pixels, crop)
    torch.testing.assert_close(
        cropped, whole[..., crop:-crop, crop:-crop], rtol=0, atol=1e-6 * float(whole.std()) * 100
    )


def test_the_output_is_linear_in_the_last_layer_so_nothing_bends_it():
    torch.manual_seed(0)
    network, pixels = HRPN().eval(), torch.rand(1, 2, 64, 64)
    with torch.no_grad():
        once = network(pixels)
        network.head.last.weight.mul_(-300)
        torch.testing.assert_close(network(pixels), -300 * once)


@pytest.mark.parametrize(
    "wrong", [{"branches": 0}, {"branches": 5}, {"in_channels": 0}, {"upsampling": "nearest"}, {"stage1_blocks": 10**9}]
)
def test_impossible_architectures_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HRPNSettings(**wrong)
