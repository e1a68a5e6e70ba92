"""Out of memory on an accelerator: the same work again, in smaller parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

from ablate2tune.errors import UserError

T = TypeVar("T")


MEND = "use a smaller image size, model.dtype=bfloat16 or a larger device"


def within_memory(
    work: Callable[[int], T], rows: int, where: str, mend: str = MEND, again: bool = True
) -> T:
    """What `work` returns with the largest number of rows at once that fits: half, a quarter, ...

    Args:
        work: does all of it, with at most so many rows at a time.
        rows: tried first.
        where: the section that the user could change.
        mend: what to do if a single row does not fit.
        again: whether fewer may be tried; where not, `mend` is for so many.

    Raises:
        UserError: a single row does not fit, or so many where no fewer may be tried.
    """
    while True:
        try:
            return work(rows)
        except torch.OutOfMemoryError:
            pass
        # Outside the handler, so that the failed call's tensors are released.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if rows == 1 or not again:
            raise UserError(
                f"out of memory with {'a single row' if rows == 1 else f'{rows} rows at once'}",
                where=where,
                mend=mend,
            )
        rows = max(1, rows // 2)
