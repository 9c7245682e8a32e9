"""The draw of one tensor."""
