"""Threads on both sides of painting: one reads ahead, one writes behind, and neither outlives its use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def read_ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """``items`` in their order, at most ``depth`` of them made before they are asked for, in a thread.

    An error of ``items`` is raised here. When the caller stops early, ``items`` is closed in its own thread
    and the thread has ended before this returns.
    """
    ready: SimpleQueue[_Item[T] | _End] = SimpleQueue()
    room, stopped = Semaphore(depth), Event()

    def read() -> None:
        error: BaseException | None = None
        try:
            source = iter(items)
            try:
                while room.acquire() and not stopped.is_set():
                    ready.put(_Item(next(source)))
            except StopIteration:
                pass
            finally:
                if callable(close := getattr(source, "close", None)):
                    close()
        except BaseException as caught:  # whatever it is, it belongs to the caller's thread
            error = caught
        ready.put(_End(error))

    thread = Thread(target=read, name="engine-read-ahead", daemon=True)
    thread.start()
    try:
        while isinstance(item := ready.get(), _Item):
            room.release()
            yield item.value
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        room.release()
        thread.join()


@contextmanager
def write_behind(write: Callable[[T], None], depth: int) -> Iterator[Callable[[T], None]]:
    """Inside, a function that hands an item to ``write`` in a thread and waits only when ``depth`` are under way.

    An error of ``write`` is raised at the next item or on leaving. On leaving normally every item is written;
    on leaving with an error the waiting ones are dropped. The thread has ended after that.
    """
    waiting: SimpleQueue[_Item[T] | _End] = SimpleQueue()
    room, stopped = Semaphore(depth), Event()
    errors: list[BaseException] = []

    def work() -> None:
        while isinstance(item := waiting.get(), _Item):
            if not errors and not stopped.is_set():
                try:
                    write(item.value)
                except BaseException as caught:
                    errors.append(caught)
            room.release()

    def put(value: T) -> None:
        room.acquire()
        if errors:
            raise errors[0]
        waiting.put(_Item(value))

    thread = Thread(target=work, name="engine-write-behind", daemon=True)
    thread.start()
    try:
        yield put
    except BaseException:
        stopped.set()
        raise
    finally:
        waiting.put(_End())
        thread.join()
    if errors:
        raise errors[0]
