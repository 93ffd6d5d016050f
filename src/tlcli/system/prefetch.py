"""Work that is done ahead in threads and taken in order, with a bounded number of items at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from tlcli.system.cpu import threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    submit: "Callable[[Item], Future[Result]]", items: Iterable[Item], window: int
) -> "Iterator[tuple[Item, Future[Result]]]":
    """Keeps ``window`` items submitted, and yields each with its future in the order of the items.

    If the caller stops early, items that have not started are cancelled, and those at work are waited for.
    """
    submitted: deque[tuple[Item, Future[Result]]] = deque()
    waiting = iter(items)
    try:
        while True:
            submitted.extend((item, submit(item)) for item in islice(waiting, window - len(submitted)))
            if not submitted:
                return
            yield submitted.popleft()
    finally:
        wait([future for _, future in submitted if not future.cancel()])


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> "Iterator[tuple[Item, Future[Result]]]":
    """Calls a function for every item in as many threads as there are cores; at most four items a thread are submitted
    at a time. Yields each item with its future, in order."""
    workers = threads()
    with ThreadPoolExecutor(workers) as pool:
        yield from in_order(lambda item: pool.submit(function, item), items, 4 * workers)
