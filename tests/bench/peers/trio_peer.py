"""Trio: nurseries, fail_after(), memory channels, Lock, Semaphore, to_thread as they are. Python's limit of recursion is
raised, or nests of more than 500 fail."""

import sys

import trio

from peer import ITEMS, JOBS, LONG, TIMEOUTS, TURNS, YIELDS, Parts, Waking, choose, delay, repeat, say


async def nothing():
    pass


async def yields(count):
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def group_of(n, body, *arguments):
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(body, *arguments)


async def sleepers(n):
    parts = Parts(n)
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(trio.sleep, LONG)
        await yields(2)
        parts.asleep()
        nursery.cancel_scope.cancel()
    parts.end()


async def wake(n):
    waking = Waking()
    async with trio.open_nursery() as nursery:
        for i in range(n):
            nursery.start_soon(trio.sleep, delay(i))
    waking.end()


async def timeouts(count):
    for _ in range(TIMEOUTS):
        with trio.fail_after(LONG):
            if count:
                await trio.lowlevel.checkpoint()


async def timeouts_beside(others, count):
    async with trio.open_nursery() as nursery:
        for _ in range(others):
            nursery.start_soon(trio.sleep, LONG)
        await yields(2)
        await repeat(lambda: timeouts(count), TIMEOUTS)
        nursery.cancel_scope.cancel()


async def level(left, complete):
    if left == 1:
        complete.set()
        await trio.sleep(LONG)
    else:
        await group_of(1, level, left - 1, complete)


async def nest(depth):
    complete = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(level, depth, complete)
        await complete.wait()
        nursery.cancel_scope.cancel()


async def limits(depth):
    """Nested by hand: a thousand `with` around each other are beyond Python's stack."""
    opened = [trio.move_on_after(LONG) for _ in range(depth)]
    for limit in opened:
        limit.__enter__()
    try:
        await trio.sleep(LONG)
    except trio.Cancelled as error:
        for limit in reversed(opened):
            limit.__exit__(type(error), error, error.__traceback__)
        raise


async def nest_of_limits(depth):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limits, depth)
        await yields(1)
        nursery.cancel_scope.cancel()


async def fails():
    raise OSError(5, "failed")


async def fail(n, others, *arguments):
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(n - 1):
                nursery.start_soon(others, *arguments)
            nursery.start_soon(fails)
    except* OSError as errors:
        assert len(errors.exceptions) == (n if others is fails else 1)


async def put(channel):
    for item in range(ITEMS):
        await channel.send(item)


async def get(channel):
    total = 0
    for _ in range(ITEMS):
        total += await channel.receive()
    assert total == ITEMS * (ITEMS - 1) // 2


async def pass_items(capacity):
    send, receive = trio.open_memory_channel(capacity)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, send)
        nursery.start_soon(get, receive)


async def take(permit):
    for _ in range(TURNS):
        async with permit:
            await trio.lowlevel.checkpoint()


async def offload_all():
    for _ in range(JOBS):
        await trio.to_thread.run_sync(int)


async def serve(stream):
    try:
        while data := await stream.receive_some(1024):
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


async def echo(_):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)
    say("port", listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(serve, listeners)


WORKLOADS = {
    "spawn": lambda n: repeat(lambda: group_of(n, nothing), n),
    "spawn-yield": lambda n: repeat(lambda: group_of(n, yields, 1), n),
    "yield": lambda n: repeat(lambda: group_of(n, yields, YIELDS // n), YIELDS),
    "sleepers": sleepers,
    "wake": wake,
    "timeout": lambda n: timeouts_beside(n, 0),
    "timeout-yield": lambda n: timeouts_beside(n, 1),
    "nested-groups": lambda n: repeat(lambda: nest(n), n),
    "nested-timeouts": lambda n: repeat(lambda: nest_of_limits(n), n),
    "fail-one": lambda n: repeat(lambda: fail(n, trio.sleep, LONG), n),
    "fail-all": lambda n: repeat(lambda: fail(n, fails), n),
    "queue": lambda n: repeat(lambda: pass_items(n), ITEMS),
    "lock": lambda n: repeat(lambda: group_of(n, take, trio.Lock()), n * TURNS),
    "semaphore": lambda n: repeat(lambda: group_of(n, take, trio.Semaphore(3)), n * TURNS),
    "offload": lambda n: repeat(offload_all, JOBS),
    "echo": echo,
}

workload, number = choose(WORKLOADS)
sys.setrecursionlimit(100000)
trio.run(workload, number)
