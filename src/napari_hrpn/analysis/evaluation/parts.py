"""Parts of an evaluation: what each does before, during and after the one scan of all pixels.

The rule: a part looks at coarse levels first, then is handed every pixel once, and only then makes numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from napari_hrpn.core import relayed

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import dask.array as da

    from napari_hrpn.analysis.scan.block_scan import BlockCounter
    from napari_hrpn.core import Progress

_Result = TypeVar("_Result")
_Findings = TypeVar("_Findings", covariant=True)


class CountedPart(Protocol[_Findings]):
    """A part that counts pixels."""

    name: str

    @property
    def channels(self) -> Sequence[da.Array]:
        """Channels at full resolution that it reads."""

    def begin(self) -> Generator[float, None, None]:
        """Look at coarse levels; yields the share that is done."""

    def ranges(self) -> Sequence[BlockCounter[Any]]:
        """Counters of a pass before, for pixels whose type does not say which values they have."""

    def counters(self) -> Sequence[BlockCounter[Any]]:
        """Counters of the pass over all pixels."""

    def finish(self) -> Generator[float, None, _Findings]:
        """Turn counts into numbers; yields the share that is done."""


def shares(
    work: Generator[Progress, None, _Result], start: float = 0.0, stop: float = 1.0
) -> Generator[float, None, _Result]:
    """Run a piece of work as the part of another that goes from one share of it to another."""
    return relayed(work, lambda progress: start + (stop - start) * progress.share)
