"""Intervals, p values and correlations over groups of examples."""
