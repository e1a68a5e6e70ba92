"""Backward passes leave cuDNN's attention alone, and what follows them does not."""

import pytest
from torch.backends import cuda

from ablate2tune.models.calls.attention_kernels import without_cudnn


@pytest.mark.parametrize("before", [True, False])
def test_what_was_set_before_holds_again_after_a_failure(before: bool) -> None:
    cuda.enable_cudnn_sdp(before)
    try:
        with pytest.raises(ZeroDivisionError), without_cudnn():
            assert not cuda.cudnn_sdp_enabled()
            raise ZeroDivisionError
        assert cuda.cudnn_sdp_enabled() is before
    finally:
        cuda.enable_cudnn_sdp(True)
