"""Lines for people. What came from elsewhere cannot move the cursor or color the screen."""

import sys


def say(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")


def complain(line: str) -> None:
    """An error or a warning, in one line on stderr."""
    sys.stderr.write(f"costtrack: {printable(line)}\n")


def printable(text: str) -> str:
    """The text on one line, with a mark for each character that is none to see (escape sequences, text direction)."""
    text = " ".join(text.splitlines())
    return (
        text
        if text.isprintable()
        else "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    )
