import copy

import pytest
import torch
from torch import nn

from napari_hrpn.inference.cpu import strips
from napari_hrpn.inference.predictor import fold_batch_normalisation
from napari_hrpn.models import HRPN, HRPNSettings
from napari_hrpn.models.hrpn import BasicBlock, Bottleneck

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN, which does the fusing"
)


def folded_network(**settings: object) -> HRPN:
    torch.manual_seed(0)
    network = HRPN(HRPNSettings(**settings)).train()
    with torch.no_grad():
        network(torch.randn(1, network.settings.in_channels, 128, 128))
    fold_batch_normalisation(network.eval())
    return network.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("settings", [{"branches": 1}, {}, {"upsampling": "transposed", "in_channels": 3}], ids=str)
def test_a_fused_network_answers_as_the_plain_one(settings):
    plain = folded_network(**settings)
    quick = copy.deepcopy(plain)
    strips.fuse(quick)
    x = torch.randn(1, plain.settings.in_channels, 256, 192).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        before = x.clone()
        exact, expected, found = copy.deepcopy(plain).double()(x.double(), 32), plain(x, 32), quick(x, 32)
        torch.testing.assert_close(x, before, rtol=0, atol=0)
        again = quick(x, 32)
    spread = (exact.max() - exact.min()).item()
    assert (found - exact).abs().max() <= max(1e-6 * spread, 2 * (expected - exact).abs().max().item())
    torch.testing.assert_close(again, found, rtol=0, atol=0)


def test_every_block_and_every_rectified_convolution_before_the_head_is_fused():
    network = folded_network()
    strips.fuse(network)
    before_head = [module for name, module in network.named_modules() if not name.startswith("head")]
    assert not [module for module in before_head if isinstance(module, BasicBlock | Bottleneck | nn.ReLU)]
    assert isinstance(network.head.mix[2], nn.ReLU)


def test_without_the_operators_the_network_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(strips, "ONE_DNN", object())
    network = folded_network(branches=1)
    strips.fuse(network)
    assert any(isinstance(module, Bottleneck) for module in network.modules())
