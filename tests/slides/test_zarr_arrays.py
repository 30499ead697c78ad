import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import zarr

from napari_hrpn.slides import SlideError, open_slide, zarr_arrays
from napari_hrpn.slides.metadata import multiscales_metadata
from napari_hrpn.slides.zarr_arrays import open_zarr_array

pytest.importorskip("zarrs")

PIPELINE = "codec_pipeline.path"


@pytest.fixture
def with_zarrs(plain_zarr, monkeypatch):
    monkeypatch.setattr(zarr_arrays, "find_spec", find_spec)


def write(folder, pixels, **options):
    group = zarr.create_group(folder, zarr_format=options.pop("zarr_format", 3))
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 64, 64), **options)
    array[:] = pixels
    group.attrs["ome"] = multiscales_metadata("slide", [pixels.shape], ["DAPI", "AF488"], (0.3, 0.3))
    return folder


def decoder(path):
    return type(open_zarr_array(path).async_array.codec_pipeline).__name__


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 60_000, (2, 150, 200)).astype(np.uint16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle")},
        {"shards": (1, 128, 128), "compressors": zarr.codecs.GzipCodec()},
    ],
    ids=["zstd", "blosc", "shards"],
)
def test_zarrs_reads_what_zarr_wrote(with_zarrs, tmp_path, pixels, options):
    path = write(tmp_path / "s.ome.zarr", pixels, **options)
    assert decoder(path / "0") == "ZarrsCodecPipeline"
    level = open_slide(path).levels[0]
    np.testing.assert_array_equal(level.compute(), pixels)
    np.testing.assert_array_equal(level[1, 30:140:3, 100:].compute(), pixels[1, 30:140:3, 100:])


def test_chunks_that_were_never_written_are_blank(with_zarrs, tmp_path):
    path = write(tmp_path / "s.ome.zarr", np.zeros((2, 150, 200), np.uint8))
    assert not open_slide(path).levels[0].compute().any()


def test_foreign_byte_order_is_left_to_zarr(with_zarrs, tmp_path, pixels):
    path = tmp_path / "big"
    zarr.create_array(path, shape=pixels.shape, dtype=">u2", chunks=(1, 64, 64), zarr_format=2)[:] = pixels
    assert decoder(path) != "ZarrsCodecPipeline"
    np.testing.assert_array_equal(open_zarr_array(path)[:], pixels)


def test_a_damaged_chunk_is_one_sentence(with_zarrs, tmp_path, pixels):
    path = write(tmp_path / "s.ome.zarr", pixels)
    (path / "0" / "c" / "0" / "0" / "0").write_bytes(b"not what it was")
    with pytest.raises(SlideError, match=r"channel 0, rows .* cannot be read"):
        open_slide(path).levels[0][0].compute()


def test_settings_of_the_process_stay_as_they_were(with_zarrs, tmp_path, pixels):
    before = zarr.config.get(PIPELINE)
    open_slide(write(tmp_path / "s.ome.zarr", pixels))
    assert zarr.config.get(PIPELINE) == before


def test_not_without_the_package(tmp_path, pixels):
    path = write(tmp_path / "s.ome.zarr", pixels)
    assert decoder(path / "0") != "ZarrsCodecPipeline"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_not_in_a_fork(tmp_path, pixels):
    path = write(tmp_path / "s.ome.zarr", pixels)
    program = f"""
import os, numpy
from napari_hrpn.slides import open_slide
assert open_slide({str(path)!r}).levels[0].compute(scheduler="synchronous").any()
child = os.fork()
if child == 0:
    pixels = open_slide({str(path)!r}).levels[0].compute(scheduler="synchronous")
    os._exit(0 if numpy.array_equal(pixels, numpy.load({str(tmp_path / "pixels.npy")!r})) else 3)
assert os.waitpid(child, 0)[1] == 0
"""
    np.save(tmp_path / "pixels.npy", pixels)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
