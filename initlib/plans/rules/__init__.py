"""Rules: how patterns select parameters, and how the fill of each parameter is resolved."""
