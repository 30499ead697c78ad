"""A step that fails for want of memory leaves nothing behind, so that it can be taken again in smaller pieces."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_hrpn.training.flat_tensors import fill, flattened
from napari_hrpn.training.optimisers import optimiser_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor
    from torch.optim import Optimizer


@contextmanager
def undone_on_failure(tensors: Iterable[Tensor], optimiser: Optimizer | None = None) -> Iterator[None]:
    """Put tensors and an optimiser back as they were where a block fails."""
    held = list(tensors)
    is_new = optimiser is not None and not optimiser.state
    if optimiser is not None:
        held += optimiser_tensors(optimiser).values()
    kinds = {(tensor.dtype, tensor.device) for tensor in held}
    groups = [[tensor for tensor in held if (tensor.dtype, tensor.device) == kind] for kind in kinds]
    before = [flattened(group) for group in groups]
    try:
        yield
    except BaseException:
        for group, numbers in zip(groups, before, strict=True):
            fill(group, numbers)
        if optimiser is not None and is_new:
            optimiser.state.clear()
        raise
