import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.inference.chunk_reader import ChunkReader
from napari_hrpn.tiling import Box, TileGrid

PIXELS = np.random.default_rng(0).integers(0, 1000, (3, 700, 900), np.uint16)


def counted_level(pixels, chunks, *, broken=()):
    """A level whose chunks say how often they were decoded."""
    decoded, lock = Counter(), threading.Lock()

    def decode(block, block_info=None):
        place = tuple(block_info[0]["chunk-location"])
        with lock:
            decoded[place] += 1
        if place in broken and decoded[place] == 1:
            msg = "broken chunk"
            raise OSError(msg)
        return block

    level = da.from_array(pixels, chunks=chunks).map_blocks(decode, dtype=pixels.dtype, meta=np.empty((0, 0, 0), "u2"))
    decoded.clear()
    return level, decoded


@pytest.mark.parametrize("chunks", [(1, 128, 100), (3, 700, 900), (2, 90, 900)])
def test_boxes_are_those_of_the_level_and_no_chunk_is_decoded_twice(chunks):
    level, decoded = counted_level(PIXELS, chunks)
    reader = ChunkReader(level)
    tiles = list(TileGrid(700, 900, core=256, halo=32, stride=32))

    def read(tile):
        core = tile.core
        box = Box(max(0, core.y0 - 40), min(700, core.y1 + 40), max(0, core.x0 - 40), min(900, core.x1 + 40))
        for channel in (0, 2):
            expected = PIXELS[channel, box.y0 : box.y1, box.x0 : box.x1]
            np.testing.assert_array_equal(reader.read(channel, box), expected)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, tiles))
    assert set(decoded.values()) == {1}


def test_what_was_used_last_is_kept_within_the_limit():
    level, decoded = counted_level(PIXELS, (1, 128, 100))
    reader = ChunkReader(level, kept_bytes=2 * 128 * 100 * 2)
    for box in (Box(0, 10, 0, 10), Box(0, 10, 100, 110), Box(0, 10, 0, 10), Box(0, 10, 200, 210), Box(0, 10, 0, 10)):
        reader.read(0, box)
    assert decoded[0, 0, 0] == 1
    reader.read(0, Box(0, 10, 100, 110))
    assert decoded[0, 0, 1] == 2
    assert sum(chunk.result().nbytes for chunk in reader._chunks.values()) <= 2 * 128 * 100 * 2


def test_a_chunk_that_could_not_be_decoded_is_tried_again():
    level, decoded = counted_level(PIXELS, (1, 350, 450), broken=[(0, 1, 1)])
    reader = ChunkReader(level)
    with pytest.raises(OSError, match="broken chunk"):
        reader.read(0, Box(0, 700, 0, 900))
    np.testing.assert_array_equal(reader.read(0, Box(0, 700, 0, 900)), PIXELS[0])
    assert decoded[0, 1, 1] == 2
    assert decoded[0, 0, 0] == 1


def test_of_a_chunk_too_large_to_keep_only_what_is_asked_for_is_read():
    reader = ChunkReader(da.from_array(PIXELS, chunks=(3, 700, 900)), kept_bytes=1000)
    np.testing.assert_array_equal(reader.read(1, Box(5, 50, 7, 90)), PIXELS[1, 5:50, 7:90])
    assert not reader._chunks
