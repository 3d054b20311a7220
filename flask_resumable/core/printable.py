"""Text for logs: what clients and other systems say must not look like a line of the log, or command a terminal."""

from __future__ import annotations


def printable(value: object) -> str:
    """Return ``str(value)`` with every character escaped that is not printable: line breaks, escapes, bidi marks.

    A backslash is escaped as well, so that the text cannot pretend to contain an escaped character.
    """
    text = str(value)
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode()
