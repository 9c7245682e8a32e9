"""What a draw costs on a GPU: counted in the machine code anywhere, measured where there is a card."""
