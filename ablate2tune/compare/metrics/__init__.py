"""Metrics, one file each: what is counted in the pictures of an arm."""

from ablate2tune.compare.metrics.metric import METRICS, Metric, metrics

__all__ = ["METRICS", "Metric", "metrics"]
