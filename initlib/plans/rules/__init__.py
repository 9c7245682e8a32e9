"""Rules: the patterns that select parameters, and the values that fill them."""
