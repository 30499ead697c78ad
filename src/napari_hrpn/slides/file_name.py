"""What a slide is called after: its file's name without the ending of the format."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_hrpn.slides.location import Location

_ENDINGS = re.compile(r"(\.ome)?\.(tiff?|tf2|tf8|btf|qptiff|ndpi|svs|scn|zarr|nd2|czi)$", re.IGNORECASE)


def slide_name(path: Location) -> str:
    """Name of a slide's file without the ending of its format.

    Parameters
    ----------
    path : pathlib.Path or UPath
        File or folder, or its address.

    Returns
    -------
    str
        Such as "tumour 3.a" for ``tumour 3.a.ome.tif``.
    """
    # "." and ".." have a name only once they are resolved
    name = path.name or path.resolve().name
    return _ENDINGS.sub("", name) or name
