"""Menu entry File > IO Utilities > Slide overviews: it shows the size of the cached coarse levels and deletes them."""

from __future__ import annotations


def manage_pyramid_cache() -> None:
    """Show size and folder of the cached coarse levels, and delete them if the user confirms it."""
    from napari.utils.notifications import show_info
    from qtpy.QtWidgets import QApplication, QMessageBox

    from napari_hrpn.slides import clear_pyramid_cache, pyramid_cache_bytes, pyramid_cache_folder

    folder = pyramid_cache_folder()
    size = pyramid_cache_bytes()
    if not size:
        show_info(f"There are no slide overviews in {folder}.")
        return
    answer = QMessageBox.question(
        QApplication.activeWindow(),
        "Slide overviews",
        f"The overviews of slides without coarse levels take {_readable(size)} in\n{folder}\n\n"
        "Delete them? They are built again when the slides are opened.",
    )
    if answer == QMessageBox.StandardButton.Yes:
        show_info(f"{_readable(clear_pyramid_cache())} freed.")


def _readable(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
