"""The place of each weight in a stored tensor."""
