import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tlcli.system import prefetch as module
from tlcli.system.cpu import threads
from tlcli.system.prefetch import ahead, in_order


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "threads", lambda: 1)


def test_results_come_in_the_order_of_the_items() -> None:
    gate = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            gate.wait()
        else:
            gate.set()
        return item * item

    if threads() == 1:
        gate.set()
    assert [(item, future.result()) for item, future in ahead(slow_first, range(50))] == [(n, n * n) for n in range(50)]


def test_no_items_give_nothing() -> None:
    assert list(ahead(str, [])) == []


@pytest.mark.usefixtures("one_core")
def test_at_most_four_items_a_core_are_taken_beyond_those_handed_out() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield number

    for handed_out, (item, future) in enumerate(ahead(str, items())):
        assert future.result() == str(item)
        assert taken <= handed_out + 4
    assert taken == 40


def test_an_exception_stays_with_its_item() -> None:
    def odd_only(item: int) -> int:
        if item % 2 == 0:
            raise ValueError(f"item {item}")
        return item

    futures: dict[int, Future[int]] = dict(ahead(odd_only, range(6)))
    assert [futures[item].result() for item in (1, 3, 5)] == [1, 3, 5]
    assert [str(futures[item].exception()) for item in (0, 2, 4)] == ["item 0", "item 2", "item 4"]


def test_an_exception_of_the_items_themselves_comes_out() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the list broke")

    with pytest.raises(OSError, match="the list broke"):
        list(ahead(str, items()))


@pytest.mark.usefixtures("one_core")
def test_closing_early_runs_nothing_that_was_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    workers: list[threading.Thread] = []
    gate = threading.Event()
    cancelled = 0
    cancel = Future.cancel

    def counted(self: "Future[int]") -> bool:
        nonlocal cancelled
        answer = cancel(self)
        cancelled += 1
        if cancelled == 3:  # all that wait behind the first
            gate.set()
        return answer

    def work(item: int) -> int:
        begun.append(item)
        workers.append(threading.current_thread())
        gate.wait()
        return item

    monkeypatch.setattr(Future, "cancel", counted)
    running = ahead(work, range(100))
    item, future = next(running)
    running.close()  # type: ignore[attr-defined]
    assert (item, future.result()) == (0, 0)
    assert begun == [0]
    assert [worker.is_alive() for worker in workers] == [False]


def test_there_is_at_least_one_core() -> None:
    assert threads() >= 1


def test_a_window_of_items_is_submitted_and_yielded_in_order() -> None:
    submitted: list[int] = []

    def submit(item: int) -> "Future[int]":
        submitted.append(item)
        future: Future[int] = Future()
        future.set_result(item)
        return future

    for position, (item, future) in enumerate(in_order(submit, range(20), 3)):
        assert item == future.result() == position
        assert len(submitted) == min(20, position + 3)


def test_stopping_early_waits_for_items_at_work_and_cancels_the_others() -> None:
    futures: list[Future[int]] = []

    def submit(item: int) -> "Future[int]":
        futures.append(Future())
        if item == 1:
            futures[-1].set_running_or_notify_cancel()
            threading.Timer(0.1, futures[-1].set_result, [item]).start()
        return futures[-1]

    running = in_order(submit, range(20), 4)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert [future.cancelled() for future in futures] == [False, False, True, True]
    assert futures[1].done()
