"""The baseline: its published size, its shapes, how far it looks, and that folding and cropping change nothing."""

import pytest
import torch
from torch import nn

from napari_hrpn.inference.predictor import fold_batch_normalisation
from napari_hrpn.models import GANDA, GANDADiscriminator, GANDASettings, halo_for, halo_of, receptive_field_radius

SMALL = GANDASettings(channels=(4, 6, 8, 10, 12), discriminator_channels=(3, 5, 7), patch_px=48)


def counted_as_keras_does(network: nn.Module) -> int:
    """All weights, and the running mean and variance of every batch normalisation."""
    statistics = [b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return sum(tensor.numel() for tensor in (*network.parameters(), *statistics))


def lively(settings: GANDASettings) -> GANDA:
    """Random weights and batch statistics under which the output neither vanishes nor saturates."""
    torch.manual_seed(2)
    network = GANDA(settings).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
    return network


def test_both_networks_have_the_number_of_parameters_that_the_specification_gives():
    generator, discriminator = counted_as_keras_does(GANDA()), counted_as_keras_does(GANDADiscriminator())
    assert generator == 1_553_857
    assert discriminator == 2_831_473
    assert generator + discriminator == 4_385_330


def test_the_batch_statistics_are_as_many_as_in_the_paper():
    networks = GANDA(), GANDADiscriminator()
    layers = [m for network in networks for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert 2 * sum(layer.num_features for layer in layers) == 4_448


def test_the_layers_of_the_generator_have_the_shapes_of_the_specification():
    layers = [m for m in GANDA().modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    shapes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in layers]
    downwards = [(2, 16, 3, 1), (16, 32, 3, 1), (32, 64, 3, 1), (64, 128, 3, 1), (128, 256, 3, 1), (256, 256, 3, 1)]
    doublings = [(32, 16, 2, 2), (64, 32, 2, 2), (128, 64, 2, 2), (256, 128, 2, 2)]
    upwards = [(32, 16, 3, 1), (64, 32, 3, 1), (128, 64, 3, 1), (256, 128, 3, 1), (16, 1, 3, 1)]
    assert shapes == downwards + doublings + upwards
    assert all(layer.bias is not None for layer in layers)


def sizes_of(discriminator: GANDADiscriminator) -> list[tuple[int, ...]]:
    """Shape of what each convolution gives for a patch."""
    shapes: list[tuple[int, ...]] = []
    for layer in discriminator.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _inputs, output: shapes.append(tuple(output.shape[1:])))
    side = discriminator.settings.patch_px
    with torch.no_grad():
        discriminator.eval()(torch.zeros(1, 1, side, side))
    return shapes


def test_the_layers_of_the_discriminator_have_the_shapes_of_the_specification():
    discriminator = GANDADiscriminator()
    expected = [(16, 256, 256), (32, 128, 128), (64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8)]
    assert sizes_of(discriminator) == expected
    assert discriminator.dense.in_features == 8 * 8 * 512
    normalised = [m.num_features for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert normalised == [32, 64, 128, 256, 512]


@pytest.mark.parametrize(("patch_px", "side"), [(32, 1), (64, 1), (96, 2), (256, 4), (400, 7), (512, 8)])
def test_the_dense_layer_fits_the_patch(patch_px, side):
    widths = (2, 2, 2, 2, 2, 3)
    discriminator = GANDADiscriminator(GANDASettings(patch_px=patch_px, discriminator_channels=widths))
    assert sizes_of(discriminator)[-1] == (3, side, side)


@pytest.mark.parametrize("patches", [1, 3])
def test_the_discriminator_judges_each_patch_from_nought_to_one_even_blank_ones(patches):
    discriminator = GANDADiscriminator(GANDASettings(patch_px=32, discriminator_channels=(2, 2, 2, 2, 2, 3)))
    judged = discriminator(torch.full((patches, 1, 32, 32), -1.0))
    assert judged.shape == (patches, 1)
    assert ((judged > 0) & (judged < 1)).all()


@pytest.mark.parametrize("in_channels", [1, 2, 3])
def test_the_output_is_as_large_as_the_input_and_within_one(in_channels):
    network = lively(GANDASettings(in_channels=in_channels, channels=SMALL.channels))
    with torch.no_grad():
        output = network(20 * torch.rand(2, in_channels, 64, 96))
    assert output.shape == (2, 1, 64, 96)
    assert 0.5 < output.abs().max() <= 1


@pytest.mark.parametrize("crop", [1, 2, 3, 7, 16, 33, 48, 64])
def test_cropping_on_the_way_equals_cropping_at_the_end(crop):
    network, pixels = lively(SMALL).double(), torch.rand(1, 2, 192, 160, dtype=torch.double)
    with torch.no_grad():
        whole, cropped = network(pixels), network(pixels, crop)
    assert whole.std() > 0.05
    torch.testing.assert_close(cropped, whole[..., crop:-crop, crop:-crop], rtol=0, atol=1e-12)


def test_folding_batch_normalisation_into_convolutions_with_bias_changes_nothing():
    network, pixels = lively(SMALL).double(), torch.rand(1, 2, 96, 64, dtype=torch.double)
    with torch.no_grad():
        expected = network(pixels)
        fold_batch_normalisation(network)
        folded = network(pixels)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert expected.std() > 0.05
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-12)


def test_the_measured_radius_is_that_of_the_layers():
    # from a period of 16 pixels outwards: two 3x3 convolutions at full resolution, one at each of 1/2, 1/4 and 1/8, two
    # at 1/16, and one at each on the way in, every halving rounded outwards
    low, high = -2, 17
    for _ in range(3):
        low, high = low // 2 - 1, high // 2 + 1
    low, high = low // 2 - 2, high // 2 + 2
    for _ in range(4):
        low, high = 2 * low - 1, 2 * high + 2
    assert receptive_field_radius(GANDA(), 2, 16) == max(-low, high - 15) == 63
    assert halo_for(GANDA(), 2, 16) == halo_of(GANDASettings()) == 64


def test_pixels_beyond_the_radius_change_nothing_and_those_at_it_do():
    network = lively(SMALL).double()
    radius, reach = receptive_field_radius(network, 2, 16), 96
    pixels = torch.rand(1, 2, 16, 2 * reach + 16, dtype=torch.double)
    far, left, right = pixels.clone(), pixels.clone(), pixels.clone()
    far[..., : reach - radius] += 1
    far[..., reach + 16 + radius :] += 1
    left[..., : reach - radius + 1] += 1
    right[..., reach + 16 + radius - 1 :] += 1
    with torch.no_grad():
        expected, unchanged, *changed = (
            network(image)[..., reach : reach + 16] for image in (pixels, far, left, right)
        )
    assert torch.equal(expected, unchanged)
    assert not any(torch.equal(expected, each) for each in changed)


def test_measuring_leaves_the_network_as_it_was():
    network = GANDA(SMALL)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    receptive_field_radius(network, 2, 16)
    assert isinstance(network.pool, nn.MaxPool2d)
    assert isinstance(network.activation, nn.Tanh)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    "wrong",
    [
        {"in_channels": 0},
        {"channels": (16,)},
        {"discriminator_channels": (16, 0)},
        {"patch_px": 500},
        {"patch_px": 0},
    ],
)
def test_impossible_architectures_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GANDASettings(**wrong)
