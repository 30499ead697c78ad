"""The peak of a training's memory is its own."""

import subprocess
import sys

import psutil
import pytest

SMALL, LARGE = 2**25, 2**26
PEAKS = f"""
import numpy as np
from napari_hrpn.training.estimate import forget_peak_memory, peak_memory_bytes
peaks = [peak_memory_bytes("cpu")]
for size in ({LARGE}, {SMALL}):
    forget_peak_memory("cpu")
    peaks.append(peak_memory_bytes("cpu"))
    np.ones(size, np.uint8).sum()
    peaks.append(peak_memory_bytes("cpu"))
print(*peaks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not forget")
def test_neither_an_earlier_peak_counts_nor_that_of_the_program_that_started_this_one():
    ballast = bytearray(b"1" * 2**28)
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    at_first, before_large, large, before_small, small = map(int, done.stdout.split())
    assert at_first < psutil.Process().memory_info().rss - len(ballast) // 4
    assert large - before_large == pytest.approx(LARGE, rel=0.1)
    assert small - before_small == pytest.approx(SMALL, rel=0.1)
    assert small < large
