"""The next batch, made ready in a thread of its own while a step runs on the one before."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Ahead(Generic[T, U], Iterator[U]):
    """An iterator that is always exactly one value ahead; to be closed.

    An error of the reader or of what is done with its values is raised where that value is asked
    for, and again at every later time.
    """

    def __init__(self, values: Generator[T, None, None], ready: Callable[[T], U]):
        """Begins with the first value.

        Args:
            values: read in the thread, one after the other.
            ready: done with each value there, such as putting a batch on the devices.
        """
        self._values, self._ready = values, ready
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._next: Future[U] = self._thread.submit(self._read)

    def __next__(self) -> U:
        """The next value; waits if it is not ready yet."""
        value = self._next.result()
        self._next = self._thread.submit(self._read)
        return value

    def close(self) -> None:
        """Closes the reader, behind the value under way, and ends the thread; at most once."""
        # In the thread: an interrupt that ends the wait for it leaves nothing open.
        closing = self._thread.submit(self._values.close)
        self._thread.shutdown()
        closing.result()

    def _read(self) -> U:
        return self._ready(next(self._values))
