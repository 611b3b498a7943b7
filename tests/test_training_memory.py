"""A process that trains keeps the memory that it frees."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from rspose.training.memory import hold_memory

if sys.argv[1] == "kept":
    hold_memory()
for step in range(20):
    if step == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [np.ones(2**20, np.float32) for _ in range(8)]
    del maps
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc's allocator")
def test_memory_that_a_step_frees_is_not_fetched_again_for_the_next() -> None:
    faults = {}
    for which in ("kept", "returned"):
        command = [sys.executable, "-c", FAULTS, which]
        faults[which] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # 19 steps of 8 maps of 4 MB: 1,024 pages a map.
    assert faults["kept"] < 1000 < 19 * 1024 < faults["returned"]
