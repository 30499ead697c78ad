"""``napari-hrpn cache``: where coarse levels of flat slides are kept, and how to be rid of them."""

from __future__ import annotations

from typing import Annotated

import typer


def cache(clear: Annotated[bool, typer.Option("--clear", help="Delete what is kept.")] = False) -> None:
    """Show where the coarse levels of flat slides are kept and how large they are, or delete them.

    \b
    Examples:
      napari-hrpn cache
      napari-hrpn cache --clear
    """  # noqa: D301
    from napari_hrpn.slides import clear_pyramid_cache, pyramid_cache_bytes, pyramid_cache_folder

    folder = pyramid_cache_folder()
    if clear:
        typer.echo(f"freed {clear_pyramid_cache() / 1e6:,.1f} MB in {folder}")
    else:
        typer.echo(f"{pyramid_cache_bytes() / 1e6:,.1f} MB in {folder}")
