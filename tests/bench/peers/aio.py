"""asyncio, and uvloop if the third argument says so: TaskGroup, timeout(), Queue, Lock, Semaphore, to_thread() as they
are. A queue that hands over is one of 1 with join(): asyncio has none. Echo is by streams, as in its documentation."""

import asyncio
import contextlib
import sys

from peer import ITEMS, JOBS, LONG, TIMEOUTS, TURNS, YIELDS, Parts, Waking, choose, delay, repeat, say


async def nothing():
    pass


async def yields(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def group_of(n, body, *arguments):
    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            group.create_task(body(*arguments))


async def spawn(n):
    await repeat(lambda: group_of(n, nothing), n)


async def spawn_yield(n):
    await repeat(lambda: group_of(n, yields, 1), n)


async def yield_(n):
    await repeat(lambda: group_of(n, yields, YIELDS // n), YIELDS)


async def cancel(task):
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def sleepers(n):
    parts = Parts(n)
    group = asyncio.create_task(group_of(n, asyncio.sleep, LONG))
    await yields(2)
    parts.asleep()
    await cancel(group)
    parts.end()


async def wake(n):
    waking = Waking()
    async with asyncio.TaskGroup() as group:
        for i in range(n):
            group.create_task(asyncio.sleep(delay(i)))
    waking.end()


async def timeouts(count):
    for _ in range(TIMEOUTS):
        async with asyncio.timeout(LONG):
            if count:
                await asyncio.sleep(0)


async def timeouts_beside(others, count):
    group = asyncio.create_task(group_of(others, asyncio.sleep, LONG))
    await yields(2)
    await repeat(lambda: timeouts(count), TIMEOUTS)
    await cancel(group)


async def level(left, complete):
    if left == 1:
        complete.set()
        await asyncio.sleep(LONG)
    else:
        await group_of(1, level, left - 1, complete)


async def nest(depth):
    complete = asyncio.Event()
    outer = asyncio.create_task(level(depth, complete))
    await complete.wait()
    await cancel(outer)


async def limits(depth):
    """Nested by hand: a thousand `async with` around each other are beyond Python's stack."""
    opened = [asyncio.timeout(LONG) for _ in range(depth)]
    for limit in opened:
        await limit.__aenter__()
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError as error:
        for limit in reversed(opened):
            await limit.__aexit__(type(error), error, error.__traceback__)
        raise


async def nest_of_limits(depth):
    task = asyncio.create_task(limits(depth))
    await yields(1)
    await cancel(task)


async def fails():
    raise OSError(5, "failed")


async def fail(n, others, *arguments):
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(n - 1):
                group.create_task(others(*arguments))
            group.create_task(fails())
    except* OSError as errors:
        assert len(errors.exceptions) == (n if others is fails else 1)


async def put(queue, hands_over):
    for item in range(ITEMS):
        await queue.put(item)
        if hands_over:
            await queue.join()


async def get(queue):
    total = 0
    for _ in range(ITEMS):
        total += await queue.get()
        queue.task_done()
    assert total == ITEMS * (ITEMS - 1) // 2


async def pass_items(capacity):
    queue = asyncio.Queue(max(capacity, 1))
    async with asyncio.TaskGroup() as group:
        group.create_task(put(queue, capacity == 0))
        group.create_task(get(queue))


async def take(permit):
    for _ in range(TURNS):
        async with permit:
            await asyncio.sleep(0)


async def offload_all():
    for _ in range(JOBS):
        await asyncio.to_thread(int)


async def serve(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
    writer.close()


async def echo(_):
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    say("port", server.sockets[0].getsockname()[1])
    await server.serve_forever()


WORKLOADS = {
    "spawn": spawn,
    "spawn-yield": spawn_yield,
    "yield": yield_,
    "sleepers": sleepers,
    "wake": wake,
    "timeout": lambda n: timeouts_beside(n, 0),
    "timeout-yield": lambda n: timeouts_beside(n, 1),
    "nested-groups": lambda n: repeat(lambda: nest(n), n),
    "nested-timeouts": lambda n: repeat(lambda: nest_of_limits(n), n),
    "fail-one": lambda n: repeat(lambda: fail(n, asyncio.sleep, LONG), n),
    "fail-all": lambda n: repeat(lambda: fail(n, fails), n),
    "queue": lambda n: repeat(lambda: pass_items(n), ITEMS),
    "lock": lambda n: repeat(lambda: group_of(n, take, asyncio.Lock()), n * TURNS),
    "semaphore": lambda n: repeat(lambda: group_of(n, take, asyncio.Semaphore(3)), n * TURNS),
    "offload": lambda n: repeat(offload_all, JOBS),
    "echo": echo,
}

workload, number = choose(WORKLOADS)
if sys.argv[3:] == ["uvloop"]:
    import uvloop

    uvloop.install()
asyncio.run(workload(number))
