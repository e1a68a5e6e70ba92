"""The margin between a true caption and a foil: examples, noise, gradients."""
