"""What follows a ranking and never changes it: one finding a file."""
