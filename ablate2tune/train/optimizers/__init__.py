"""How gradients become steps: one file each, which registers itself."""
