"""What components are ranked by: a file for each probe, which registers itself."""
