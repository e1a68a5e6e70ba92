"""Freed tensors leave no holes, where a model is large."""

import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

from ablate2tune.process import large_tensors
from ablate2tune.process.large_tensors import SAID, map_large_tensors

GLIBC = platform.libc_ver()[0] == "glibc"
CHURN = """
import sys, torch
from torch import nn
from pathlib import Path
from ablate2tune.process.large_tensors import map_large_tensors

def held():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in x]
    return int(line.split()[1]) / 1024

# What glibc does by itself once a large piece was freed: those below its size are of the heap.
del [torch.ones(4_000_000) for _ in range(2)][:]
with torch.device("meta"):
    print(map_large_tensors(nn.Linear(int(sys.argv[1]), 20_000)))
before, kept = held(), []
for _ in range(300):
    freed = torch.ones(123_000)
    kept.append(torch.ones(16))
    del freed
print(held() - before)
"""


@pytest.mark.skipif(not GLIBC, reason="glibc's allocator")
def test_what_is_freed_between_what_lasts_goes_back() -> None:
    """300 tensors of half a megabyte, one at a time, between small ones that stay."""
    environment = {name: value for name, value in os.environ.items() if name not in SAID}
    grown = []
    for width, large in ((20_000, True), (20, False)):
        done = subprocess.run(
            [sys.executable, "-c", CHURN, str(width)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        said, megabytes = done.stdout.split()
        assert said == str(large)
        grown.append(float(megabytes))
    assert grown[0] < 5 and grown[0] <= grown[1]


def _large() -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(20_000, 20_000)


def test_what_the_environment_says_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SAID:
        monkeypatch.setenv(name, "131072")
        assert not map_large_tensors(_large())
        monkeypatch.delenv(name)


def test_another_c_library_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SAID:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(large_tensors.ctypes, "CDLL", lambda _: object())
    assert not map_large_tensors(_large())
