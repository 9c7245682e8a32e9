"""Places of weights in a stored tensor."""
