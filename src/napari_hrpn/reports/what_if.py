"""Folder of a counterfactual: maps with their position on the slide, a figure, and the numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import Progress, relayed
from napari_hrpn.core.files import differing, locked_folder, replaced_file, save_json, saved_json
from napari_hrpn.reports.drawing import new_figure, plain_text
from napari_hrpn.reports.folder import ReportError
from napari_hrpn.settings.what_if import EDITS
from napari_hrpn.slides import write_ome_zarr

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_hrpn.inference import WhatIf
    from napari_hrpn.slides import Slide

FORMAT = "napari-hrpn what-if 1"


@dataclass(frozen=True)
class WhatIfFolder:
    """Folder of a counterfactual; only its files are ever replaced."""

    path: Path

    @property
    def numbers(self) -> Path:
        """File of the numbers, written last: with it the folder is complete."""
        return self.path / "what-if.json"

    @property
    def maps(self) -> Path:
        """Image of the window: prediction and differences."""
        return self.path / "what-if.ome.zarr"

    @property
    def figure(self) -> Path:
        """Picture of both differences."""
        return self.path / "what-if.png"

    def is_complete(self, request: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Whether it holds the result of a request already; another result is refused unless it may be replaced."""
        if self.path.exists() and not self.path.is_dir():
            msg = f"{self.path} is a file; name a folder for the output."
            raise ReportError(msg)
        earlier = saved_json(self.numbers, ReportError)
        if overwrite:
            return False
        if earlier is None:
            self._check_foreign()
            return False
        if earlier.get("format") != FORMAT:
            msg = f"{self.numbers} is not of this program; choose another folder, or --overwrite it."
            raise ReportError(msg)
        if earlier["request"] != request:
            words = " and ".join(differing(earlier["request"], request))
            msg = f"{self.path} holds another result ({words} differ); choose another folder, or --overwrite it."
            raise ReportError(msg)
        # what the user has deleted is made again
        return self.maps.exists() and self.figure.exists()

    def _check_foreign(self) -> None:
        """Refuse a folder whose files may be a user's own, as there are no numbers with them."""
        for path in (self.maps, self.figure):
            if path.exists():
                msg = f"{path} exists without {self.numbers.name}; choose another folder, or --overwrite it."
                raise ReportError(msg)

    def write(self, result: WhatIf, slide: Slide, request: Mapping[str, Any]) -> Generator[Progress, None, None]:
        """Write maps, figure and, last of all, the numbers; earlier ones are replaced."""
        with locked_folder(self.path, ReportError, "writing a counterfactual into", "output"):
            self.numbers.unlink(missing_ok=True)
            yield from relayed(
                write_ome_zarr(_maps(result, slide), self.maps, overwrite=True),
                lambda step: Progress(step.done, step.total, "writing"),
            )
            _place(result, slide, self.maps)
            with replaced_file(self.figure, sync=False) as partial:
                figure(result, slide).savefig(partial, format="png", dpi=110)
            save_json(self.numbers, {"format": FORMAT, "request": dict(request), **result.numbers()})


def _maps(result: WhatIf, slide: Slide) -> Slide:
    """The window as a slide: prediction, differences of network and physics, and the noise if it is known."""
    import dask.array as da

    found = {
        "predicted": result.predicted,
        "network difference": result.network,
        "physics difference": result.physics,
        "noise (2 SD of shams)": result.noise,
    }
    known = {name: image for name, image in found.items() if image is not None}
    images = np.stack(list(known.values())).astype(np.float32)
    return replace(
        slide,
        levels=(da.from_array(images, chunks=(1, 512, 512), name=False),),
        channel_names=tuple(known),
        stored_levels=1,
        read_finished=None,
        is_brightfield=False,
    )


def _place(result: WhatIf, slide: Slide, path: Path) -> None:
    """Add the position of the window on the slide to an OME-Zarr."""
    import zarr

    size = slide.pixel_size_um or (1.0, 1.0)
    corner = [0.0, result.box.y0 * size[0], result.box.x0 * size[1]]
    group = zarr.open_group(path, mode="r+")
    metadata = json.loads(json.dumps(group.attrs["ome"]))
    metadata["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [1.0, 1.0, 1.0]},
        {"type": "translation", "translation": corner},
    ]
    group.attrs["ome"] = metadata


def figure(result: WhatIf, slide: Slide) -> Figure:
    """Draw the prediction and both differences; what is not above the noise is grey.

    Parameters
    ----------
    result : WhatIf
        The differences.
    slide : Slide
        The slide, for its pixel size.

    Returns
    -------
    matplotlib.figure.Figure
        Three pictures side by side, with a colour bar.
    """
    drawing, panels = new_figure(13, 4.8, columns=3)
    height, width = slide.pixel_size_um or (1.0, 1.0)
    box = result.box
    extent = (box.x0 * width, box.x1 * width, box.y1 * height, box.y0 * height)
    panels[0].imshow(result.predicted, cmap="gray", extent=extent)
    panels[0].set_title("predicted, as it is")
    most = max(float(np.abs(result.network).max()), float(np.abs(result.physics).max()), 1e-6)
    fit = result.transport
    titles = (
        f"the network associates with the {EDITS[result.action]}",
        f"diffusion and uptake, fitted to the {result.probe} probe\nlambda {fit.length_um:.0f} µm, R² {fit.r2:.2f}",
    )
    shown = np.ma.masked_where(~result.significant, result.network), result.physics
    for axes, title, image in zip(panels[1:], titles, shown, strict=True):
        axes.set_facecolor("0.6")
        picture = axes.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most, extent=extent)
        axes.set_title(title, fontsize=10)
    of_noise = "no noise could be measured" if result.noise is None else "grey: below the noise"
    drawing.colorbar(picture, ax=panels[1:], label=f"difference, grey levels ({of_noise})", shrink=0.8)
    for axes in panels:
        _outline(axes, result.distance_um <= 0, extent)
        axes.set_xlabel("x, µm")
    panels[0].set_ylabel("y, µm")
    plain_text(drawing)
    return drawing


def _outline(axes: Axes, vessel: NDArray[np.bool_], extent: tuple[float, float, float, float]) -> None:
    if vessel.any() and not vessel.all():
        axes.contour(vessel[::-1], levels=[0.5], colors="#1b9e77", linewidths=1, extent=(*extent[:2], *extent[2:]))
