"""What a step holds: predicted, kept small, and brought into what a device has; blocks compiled."""
