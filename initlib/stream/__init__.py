"""Stream: from a key and a position to a weight, the laws of weights, and the engines that draw."""
