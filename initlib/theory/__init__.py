"""What an initialization does to signals, computed rather than measured."""
