"""The information curve: what can be read from each stream after each block."""

from ablate2tune.localize.findings.depth.depth_curve import find_depth

__all__ = ["find_depth"]
