"""From a key and a position to a weight: the stream, its laws, and the engines that draw by them."""
