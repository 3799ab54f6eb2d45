"""One ahead: what is read when, in which thread, and how it ends."""

import threading
from contextlib import closing

import pytest

from retrojax.data.ahead import Ahead

TIMEOUT = 20


class Numbers:
    """Counts from 0 and tells how many were read; `error` is raised in place of the last."""

    def __init__(self, count, error=None):
        self.read, self.threads, self.closed = 0, set(), False
        self._more, self._stream = threading.Condition(), self._numbers(count, error)

    def _numbers(self, count, error):
        try:
            for number in range(count):
                self.threads.add(threading.current_thread())
                if error is not None and number == count - 1:
                    raise error
                with self._more:
                    self.read += 1
                    self._more.notify()
                yield number
        finally:
            self.closed = True

    def ahead(self, ready=lambda number: number):
        return Ahead(self._stream, ready)

    def reaches(self, count, timeout: float = TIMEOUT):
        """Whether so many are read in time."""
        with self._more:
            return self._more.wait_for(lambda: self.read >= count, timeout)


def test_values_come_in_order_made_ready_in_one_other_thread():
    numbers, threads = Numbers(20), set()

    def ready(number):
        threads.add(threading.current_thread())
        return -number

    with closing(numbers.ahead(ready)) as stream:
        assert list(stream) == [-number for number in range(20)]
    assert threads == numbers.threads and len(threads) == 1
    assert threading.current_thread() not in threads


def test_one_is_read_ahead_and_no_more():
    numbers = Numbers(9)
    with closing(numbers.ahead()) as stream:
        assert numbers.reaches(1) and not numbers.reaches(2, timeout=0.1)
        for taken in range(1, 4):
            next(stream)
            assert numbers.reaches(taken + 1)
            assert not numbers.reaches(taken + 2, timeout=0.1)


def test_an_end_stays_the_end():
    with closing(Numbers(1).ahead()) as stream:
        assert next(stream) == 0
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(stream)


def test_an_error_of_the_reader_is_raised_in_its_place():
    with closing(Numbers(3, OSError("disk gone")).ahead()) as stream:
        assert [next(stream), next(stream)] == [0, 1]
        for _ in range(2):
            with pytest.raises(OSError, match="disk gone"):
                next(stream)


def test_an_error_while_a_value_is_made_ready_is_raised_in_its_place():
    with closing(Numbers(3).ahead(lambda number: 1 // (1 - number))) as stream:
        assert next(stream) == 1
        with pytest.raises(ZeroDivisionError):
            next(stream)


def test_closing_waits_for_the_value_under_way_then_ends_thread_and_reader():
    numbers, begun, go_on, finished = Numbers(9), threading.Event(), threading.Event(), []

    def slow(number):
        begun.set()
        finished.append(go_on.wait(TIMEOUT))

    stream = numbers.ahead(slow)
    assert begun.wait(TIMEOUT)
    threading.Timer(0.1, go_on.set).start()
    stream.close()
    (thread,) = numbers.threads
    assert finished == [True] and not thread.is_alive()
    assert numbers.closed and numbers.read == 1


def test_an_error_where_values_are_used_ends_thread_and_reader():
    numbers = Numbers(9)
    with pytest.raises(KeyboardInterrupt), closing(numbers.ahead()) as stream:
        next(stream)
        raise KeyboardInterrupt
    (thread,) = numbers.threads
    assert numbers.closed and not thread.is_alive()
