import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.core import TileGrid
from napari_hrpn.slides import ChunkCache

PIXELS = np.random.default_rng(0).integers(0, 1000, (3, 700, 900), np.uint16)
WHOLE = slice(0, 3), slice(0, 700), slice(0, 900)
LARGE = 64 << 20


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
def test_parts_are_those_of_the_array_and_no_chunk_is_decoded_twice(chunks):
    level, decoded = counted_level(PIXELS, chunks)
    cache = ChunkCache(LARGE)
    tiles = list(TileGrid(700, 900, core=256, halo=32, stride=32))

    def read(tile):
        core = tile.core
        rows = slice(max(0, core.y0 - 40), min(700, core.y1 + 40))
        columns = slice(max(0, core.x0 - 40), min(900, core.x1 + 40))
        for channel in (0, 2):
            found = cache.read(level, slice(channel, channel + 1), rows, columns)
            np.testing.assert_array_equal(found, PIXELS[channel : channel + 1, rows, columns])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, tiles))
    assert set(decoded.values()) == {1}


def test_planes_are_read_like_slides_and_nothing_is_kept_once_all_is_forgotten():
    level, decoded = counted_level(PIXELS, (1, 256, 300))
    cache = ChunkCache(LARGE)
    for rows, columns in [
        (slice(10, 300), slice(299, 601)),
        (slice(250, 256), slice(300, 600)),
        (slice(0, 700), slice(0, 900)),
    ]:
        np.testing.assert_array_equal(cache.read(level[1], rows, columns), PIXELS[1, rows, columns])
    assert len(decoded) == 9
    assert set(decoded.values()) == {1}
    cache.clear()
    cache.read(level[1], slice(0, 5), slice(0, 5))
    assert decoded[1, 0, 0] == 2


def test_what_was_used_last_is_kept_within_the_limit():
    level, decoded = counted_level(PIXELS, (1, 128, 100))
    cache = ChunkCache(2 * 128 * 100 * 2)

    def read(left):
        cache.read(level, slice(0, 1), slice(0, 10), slice(left, left + 10))

    for left in (0, 100, 0, 200, 0):
        read(left)
    assert decoded[0, 0, 0] == 1
    read(100)
    assert decoded[0, 0, 1] == 2
    assert sum(chunk.result().nbytes for chunk in cache._chunks.values()) <= 2 * 128 * 100 * 2


@pytest.mark.parametrize("threads", [2, 5])
def test_several_threads_read_the_same_and_decode_once(threads):
    level, decoded = counted_level(PIXELS, (1, 128, 100))
    cache = ChunkCache(LARGE, threads)
    np.testing.assert_array_equal(cache.read(level, *WHOLE), PIXELS)
    assert set(decoded.values()) == {1}
    broken, _ = counted_level(PIXELS, (1, 128, 100), broken=[(2, 1, 1)])
    with pytest.raises(OSError, match="broken chunk"):
        cache.read(broken, *WHOLE)


def test_more_than_is_kept_can_be_read():
    level, _ = counted_level(PIXELS, (1, 256, 300))
    cache = ChunkCache(256 * 300 * 2)
    np.testing.assert_array_equal(cache.read(level, *WHOLE), PIXELS)


def test_a_chunk_that_could_not_be_decoded_is_tried_again():
    level, decoded = counted_level(PIXELS, (1, 350, 450), broken=[(0, 1, 1)])
    cache = ChunkCache(LARGE)
    with pytest.raises(OSError, match="broken chunk"):
        cache.read(level, *WHOLE)
    np.testing.assert_array_equal(cache.read(level, *WHOLE), PIXELS)
    assert decoded[0, 1, 1] == 2
    assert decoded[0, 0, 0] == 1


def test_of_a_chunk_too_large_to_keep_only_what_is_asked_for_is_read():
    cache = ChunkCache(1000)
    level = da.from_array(PIXELS, chunks=(3, 700, 900))
    found = cache.read(level, slice(1, 2), slice(5, 50), slice(7, 90))
    np.testing.assert_array_equal(found, PIXELS[1:2, 5:50, 7:90])
    assert not cache._chunks
