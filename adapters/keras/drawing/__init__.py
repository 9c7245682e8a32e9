"""Draw of one tensor."""
