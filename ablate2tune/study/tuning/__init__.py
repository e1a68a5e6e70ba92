"""Cells that tune a model: which modules an arm chooses, and what an adapter is worth."""
