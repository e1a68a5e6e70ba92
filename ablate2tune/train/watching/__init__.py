"""What is watched of a training: keys that do nothing, figures that are finite, a step's cost."""
