"""Text from files, made safe to print."""

LONGEST = 160  # characters


def printable(text: str) -> str:
    r"""Return the text with escapes for all characters that are not printable, cut to at most `LONGEST` characters.

    >>> print(printable("fc\x1b[31m\nforged row"))
    fc\x1b[31m\nforged row

    A name in a file can hold terminal escapes, line ends, and marks that reverse the direction of the text.
    """
    return escaped(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def escaped(text: str) -> str:
    """Return the text with escapes for all characters that are not printable."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
