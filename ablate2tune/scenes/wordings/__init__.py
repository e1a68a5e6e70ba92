"""What people say for the relations, one file for each set of words."""
