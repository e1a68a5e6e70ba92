"""Memory of large tensors on the CPU, which goes back to the system as soon as they are freed.

PyTorch asks for aligned memory (posix_memalign). glibc 2.36 does not give a freed piece to the next
such request of the same size, since it looks for one that has room to be aligned in; so what lies
between two lasting pieces stays a hole, and a step leaves more of them than it needs. A piece that
is mapped by itself leaves none, and costs page faults.
"""

import ctypes
import os

from torch import nn

M_MMAP_THRESHOLD = -3
"""Of mallopt."""
MAPPED = 256 * 1024
"""Bytes from which on a piece is mapped: a layer's output, where a model is large."""
LARGE = 10**9
"""Bytes of weights from which on a step's products outweigh the faults: a wide model's outputs are
few beside its weights."""
SAID = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
"""Variables by which a user says how memory is taken."""


def map_large_tensors(model: nn.Module) -> bool:
    """Let glibc map what is large, from here on, if the model is; whether it does.

    Not where the environment says how memory is taken, nor with another C library.
    """
    if sum(parameter.nbytes for parameter in model.parameters()) < LARGE:
        return False
    if any(os.environ.get(name) for name in SAID):
        return False
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(M_MMAP_THRESHOLD, MAPPED))
