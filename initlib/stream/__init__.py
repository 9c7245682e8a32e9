"""The stream: from a key and a position to a weight, its laws, and the engines that draw by them."""
