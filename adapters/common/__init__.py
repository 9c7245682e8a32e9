"""Code that several adapters share and no framework owns."""
