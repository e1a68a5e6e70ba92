"""From rows to a ranking, what may be trusted of it, and pictures of it."""
