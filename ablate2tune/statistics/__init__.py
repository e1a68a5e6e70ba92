"""Resampling of whole clusters, and how far an order can be trusted; used by all stages."""
