from __future__ import annotations

import threading
import time

import pytest

from lamella.machine.cores import on_all_cores, usable_cores


def test_answers_come_in_order_and_from_other_threads_where_there_are_cores() -> None:
    def slow_first(item: int) -> tuple[int, int]:
        time.sleep(0.05 if item == 0 else 0)
        return item, threading.get_ident()

    answers = on_all_cores(slow_first, range(8))
    assert [item for item, _ in answers] == list(range(8))
    assert threading.get_ident() not in {thread for _, thread in answers}
    assert len({thread for _, thread in answers}) <= usable_cores()


def test_an_error_is_that_of_the_work() -> None:
    with pytest.raises(ZeroDivisionError):
        on_all_cores(lambda item: 1 // item, [1, 0])
