"""Effects of an initialization on the signals of a network, computed instead of measured."""
