"""Work done ahead in threads, taken in order, never more than a few pieces at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, "Future[Result]"]]:
    """Each item with its future, in order; at most four items a core are begun or waiting."""
    workers = cores()
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
