"""Work done ahead in threads, taken in order, never more than a few pieces at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from tlcli.system.cpu import threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, "Future[Result]"]]:
    """Each item with its future, in order; at most four items a thread are begun or waiting."""
    workers = threads()
    begun: deque[tuple[Item, Future[Result]]] = deque()
    waiting = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                begun.extend((item, pool.submit(function, item)) for item in islice(waiting, 4 * workers - len(begun)))
                if not begun:
                    return
                yield begun.popleft()
        finally:
            for _, future in begun:
                future.cancel()
