"""Small phantoms on disk, and settings with which a training takes seconds."""

from dataclasses import replace

import pytest

from napari_hrpn.phantom import phantom_slide
from napari_hrpn.slides import write_ome_tiff
from napari_hrpn.training import SlideEntry, recipe_settings


@pytest.fixture(scope="session")
def tumours(tmp_path_factory):
    """Paths of three phantoms of 256 px."""
    folder = tmp_path_factory.mktemp("tumours")
    paths = [folder / f"tumour{seed}.ome.tif" for seed in (1, 2, 3)]
    for seed, path in enumerate(paths, start=1):
        for _ in write_ome_tiff(phantom_slide("tiny", seed=seed).slide, path):
            pass
    return paths


@pytest.fixture
def entries(tumours):
    return tuple(SlideEntry(path) for path in tumours)


@pytest.fixture
def quick():
    """One branch, four steps of two crops in each of two epochs."""
    return replace(
        recipe_settings(), branches=1, patch_px=64, batch=2, steps_per_epoch=4, epochs=2, device="cpu", precision="fp32"
    )
