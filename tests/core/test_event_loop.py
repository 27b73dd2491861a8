"""What the event loop does for threads and timers."""

import threading

import anyio

from sidecar.core import event_loop
from tests.support.fake_provider import WAIT_SECONDS


async def test_a_thread_calls_into_the_loop() -> None:
    seen, called = list[threading.Thread](), anyio.Event()

    def note() -> None:
        seen.append(threading.current_thread())
        called.set()

    call_in_loop = event_loop.make_thread_caller()
    threading.Thread(target=call_in_loop, args=(note,)).start()
    with anyio.fail_after(WAIT_SECONDS):
        await called.wait()
    assert seen == [threading.current_thread()]


async def test_timers_and_calls_come_in_their_order() -> None:
    order, ended = list[str](), anyio.Event()

    def end(word: str) -> None:
        order.append(word)
        ended.set()

    event_loop.call_later(0.01, end, "later")
    event_loop.call_soon(lambda: order.append("soon"))
    order.append("now")
    with anyio.fail_after(WAIT_SECONDS):
        await ended.wait()
    assert order == ["now", "soon", "later"]


async def test_the_result_of_a_wait_in_a_thread_comes_back_to_the_loop() -> None:
    results, ended = list[object](), anyio.Event()

    def take(result: object) -> None:
        results.append((result, threading.current_thread() is threading.main_thread()))
        ended.set()

    event_loop.wait_in_thread(lambda: threading.current_thread().daemon, take)
    with anyio.fail_after(WAIT_SECONDS):
        await ended.wait()
    assert results == [(True, True)]


async def test_many_lookups_may_wait_at_once() -> None:
    event_loop.allow_many_lookups()
    addresses = await anyio.getaddrinfo("127.0.0.1", 80)
    assert addresses
