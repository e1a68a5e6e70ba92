"""Which of PyTorch's attention kernels a backward pass may use."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.backends import cuda


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Attention by PyTorch's other kernels, within this context or in a function that it decorates.

    cuDNN's backward pass through FLUX.1's double blocks ended in an illegal memory access on an
    H200 (torch 2.11, bfloat16, 1,536 tokens); that such calls fail is known
    (https://github.com/pytorch/pytorch/issues/190321), and what follows on the card fails too.
    """
    before = cuda.cudnn_sdp_enabled()
    cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        cuda.enable_cudnn_sdp(before)
