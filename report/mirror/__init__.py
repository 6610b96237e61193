"""What a stack needs from the internet: a list of it, and a directory and a registry that have it."""
