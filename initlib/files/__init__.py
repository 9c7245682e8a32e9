"""Reading files that other people wrote, and writing files that are complete or absent."""
