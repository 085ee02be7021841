"""pydicom's warnings and records quote values: none is told while any thread is inside `quiet_pydicom`."""

from __future__ import annotations

import logging
import threading
import warnings

import pytest

from lamella.dicom.parse import quiet_pydicom


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a reader would tell now."""
    with warnings.catch_warnings(record=True) as caught:
        logging.getLogger("pydicom").warning("Mustermann")
        warnings.warn("Mustermann", stacklevel=1)
    records = [one.getMessage() for one in caplog.records]
    caplog.clear()
    return [*records, *(str(one.message) for one in caught)]


def test_one_thread_that_leaves_does_not_let_another_speak(caplog: pytest.LogCaptureFixture) -> None:
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with quiet_pydicom():
            inside.set()
            leave.wait(10)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert told(caplog) == ["Mustermann"] * 2
        other = threading.Thread(target=first)
        other.start()
        assert inside.wait(10)
        with quiet_pydicom():
            leave.set()
            other.join()
            assert told(caplog) == []
            with quiet_pydicom():
                assert told(caplog) == []
            assert told(caplog) == []
        assert told(caplog) == ["Mustermann"] * 2
