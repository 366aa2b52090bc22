"""Output lines. Text from elsewhere cannot move the cursor or color the screen."""

import sys


def say(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")


def complain(line: str) -> None:
    """Print an error or a warning as one line on stderr."""
    sys.stderr.write(f"costtrack: {printable(line)}\n")


def printable(text: str) -> str:
    """Return the text on one line, with unprintable characters (escape sequences, text direction) replaced."""
    text = " ".join(text.splitlines())
    return (
        text
        if text.isprintable()
        else "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    )
