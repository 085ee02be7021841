"""The errors users see.

Every message says, in this order: what is wrong, where (file or UID, never a patient's name), what was found, what was
expected, what to do. The class decides the exit code of the command line.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without what a terminal obeys (escape codes, reversed writing) or cannot encode (bytes of a file name)."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)


class LamellaError(ValueError):
    """Something a user can act on; the command line prints its message alone and exits with `exit_code`.

    Names of files and values of headers come into messages, so what cannot be printed safely becomes "?".
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class UsageError(LamellaError):
    """The request itself is wrong: an unknown option value, an OUTPUT that exists, a missing SOURCE."""

    exit_code = 2


class RefusedInput(LamellaError):
    """The input cannot be treated rightly, so it is not treated at all."""

    exit_code = 3


class ModelError(LamellaError):
    """A model folder is incomplete, altered or of another kind."""


class NonFiniteError(LamellaError):
    """A computation left the finite numbers; the message names the step."""
