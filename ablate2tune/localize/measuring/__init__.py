"""Running conditions on examples: the sweep, its shortcuts, its rows, what they depend on."""
