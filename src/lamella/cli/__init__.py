"""`lamella VERB`: one file a verb.

Nothing heavy is imported here or at the head of a verb's file, so that `lamella --help` answers at once: each verb
imports the rooms it calls when it is called.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from lamella.errors import LamellaError

_PACKAGE = Path(__file__).parents[1]

FAILED = 1
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and turns every way it can end into an exit code and at most one message on standard error.

    Args:
        arguments: the words after `lamella`; None for those of the process.

    Returns:
        0 done, 1 failed, 2 wrong usage, 3 input refused, 8 some of several cases failed, 130 interrupted.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        if not sys.warnoptions:
            # Libraries quote header values in their warnings; nothing of a patient may reach a log.
            warnings.simplefilter("ignore")
    debug = "--debug" in arguments
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _ended(INTERRUPTED, "Interrupted. Nothing half-written was left.", debug)
    except LamellaError as error:
        return _ended(error.exit_code, str(error), debug)
    except BrokenPipeError:  # `lamella inspect ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except MemoryError:
        return _ended(FAILED, "The memory is used up. Ask for fewer slices, or use a machine with more memory.", debug)
    except OSError as error:
        where = f": {os.fspath(error.filename)}" if isinstance(error.filename, str | os.PathLike) else ""
        return _ended(FAILED, f"{error.strerror or type(error).__name__}{where}.", debug)
    except Exception as error:
        return _ended(FAILED, _unexpected(error), debug)


def _run(arguments: Sequence[str]) -> int:
    import typer

    from lamella.cli.app import command

    try:
        result = command().main(args=list(arguments), prog_name="lamella", standalone_mode=False)
    except typer.TyperException as error:
        # Typer's own refusals of options come with the usage line; all are wrong usage. Pydantic words some of them.
        error.message = error.message.replace("Value error, ", "")
        show = getattr(error, "show", None)
        if show is not None:
            show()
        else:
            print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    if result == INTERRUPTED:  # Typer turns KeyboardInterrupt into an exit code
        raise KeyboardInterrupt
    return int(result or 0)


def _ended(code: int, message: str, debug: bool) -> int:
    if debug and (error := sys.exception()) is not None:
        print(_trace(error), file=sys.stderr)
    print(message, file=sys.stderr)
    return code


def _trace(error: BaseException) -> str:
    """Places and types of an error and of those that led to it. The text of a foreign exception may quote a header."""
    before = error.__cause__ or error.__context__
    earlier = "" if before is None else f"{_trace(before)}\n\n"
    text = f": {error}" if isinstance(error, LamellaError) else ""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{earlier}Traceback (most recent call last):\n{frames}{type(error).__qualname__}{text}"


def _unexpected(error: Exception) -> str:
    """Type and place only: the text of a foreign exception may quote a header."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    place = f" in {Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    return (
        f"Lamella met an error it did not expect: {type(error).__name__}{place}. Run again with --debug to see where."
    )
