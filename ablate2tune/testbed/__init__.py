"""The embedded small FLUX: how it is built, pretrained and judged."""
