"""The errors users see.

Every message says, in this order: what is wrong, where (file or UID, never a patient's name), what was found, what was
expected, what to do. The class decides the exit code of the command line.
"""


class LamellaError(ValueError):
    """Something a user can act on; the command line prints its message alone and exits with `exit_code`."""

    exit_code = 1


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
