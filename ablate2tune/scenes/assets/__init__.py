"""What can stand in a scene: the built-in objects and files of the user's own."""
