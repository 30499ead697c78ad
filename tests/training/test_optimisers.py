"""The state of an optimiser survives a file."""

import pytest
import torch
from safetensors.torch import load, save

from napari_hrpn.training import recipe_settings
from napari_hrpn.training.learners.learner import _load_optimiser, _optimiser_tensors, make_optimiser


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", ["adamw", "adam", "rmsprop"])
def test_a_state_from_a_file_goes_on_with_the_same_steps(kind, memory_format):
    """However weights lie in memory: a file keeps all tensors row by row."""
    settings = recipe_settings(optimiser=kind, learning_rate=0.01)

    def learnt(interruption):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=memory_format)
        optimiser = make_optimiser(settings, layer.parameters())
        for step in range(4):
            if step == interruption:
                kept = {name: tensor.contiguous() for name, tensor in _optimiser_tensors(optimiser).items()}
                optimiser = make_optimiser(settings, layer.parameters())
                _load_optimiser(optimiser, load(save(kept)))
            optimiser.zero_grad()
            inputs = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            layer(inputs.contiguous(memory_format=memory_format)).square().mean().backward()
            optimiser.step()
        return layer.weight.detach()

    assert torch.equal(learnt(interruption=2), learnt(interruption=None))
