"""What training minimises, and by what on held-out pictures its weights are picked."""
