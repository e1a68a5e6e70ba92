"""Trying an ablation out: what a model says or draws with and without it, side by side."""
