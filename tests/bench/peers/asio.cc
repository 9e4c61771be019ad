// Boost.Asio with C++20 coroutines on one io_context. In Debian 12's Boost (1.74) coroutines cannot be cancelled: a
// timer is, and what waits for it goes on; a group here counts its coroutines. A timeout that does not fire is a timer
// started with a handler and cancelled. It has no queues, locks or semaphores (left out); a yield posts to the
// io_context.
#include "peer.h"

#include <utility> // before Asio, which forgets it

#include <boost/asio.hpp>
#include <boost/asio/co_spawn.hpp>
#include <memory>
#include <stdexcept>
#include <vector>

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

static asio::io_context context(1);
static const auto LONG = std::chrono::seconds(1000);

static long running;
static std::vector<std::exception_ptr> failures;

static void ended(std::exception_ptr failure)
{
    running--;
    if (failure)
        failures.push_back(failure);
}

static void start(awaitable<void> body)
{
    running++;
    co_spawn(context, std::move(body), ended);
}

static void join_all()
{
    context.restart();
    while (running > 0)
        context.run_one();
}

static auto yield()
{
    return asio::post(context, use_awaitable);
}

// ---- Tasks ----

static awaitable<void> nothing()
{
    co_return;
}

static awaitable<void> yields(long count)
{
    while (count-- > 0)
        co_await yield();
}

static void spawn_batch(long n)
{
    while (n-- > 0)
        start(nothing());
    join_all();
}

static void spawn_yield_batch(long n)
{
    while (n-- > 0)
        start(yields(1));
    join_all();
}

static void yield_batch(long n)
{
    for (long i = 0; i < n; i++)
        start(yields(PEER_YIELDS / n));
    join_all();
}

static void spawn(long n) { peer_repeat(spawn_batch, n, n); }
static void spawn_yield(long n) { peer_repeat(spawn_yield_batch, n, n); }
static void yield_all(long n) { peer_repeat(yield_batch, n, PEER_YIELDS); }

// ---- Sleepers ----

static std::vector<asio::steady_timer *> sleeping;

static awaitable<void> sleep_long()
{
    asio::steady_timer timer(context, LONG);
    boost::system::error_code error;

    sleeping.push_back(&timer);
    co_await timer.async_wait(asio::redirect_error(use_awaitable, error));
}

static awaitable<void> nap(long i)
{
    asio::steady_timer timer(context, std::chrono::nanoseconds(peer_delay(i)));

    co_await timer.async_wait(use_awaitable);
}

static void start_sleepers(long n)
{
    for (long i = 0; i < n; i++)
        start(sleep_long());
    context.restart();
    context.poll();
}

static void cancel_sleepers()
{
    for (auto timer : sleeping)
        timer->cancel();
    sleeping.clear();
}

static void sleepers(long n)
{
    peer_parts parts = peer_begin();

    start_sleepers(n);
    peer_asleep(&parts, n);
    cancel_sleepers();
    join_all();
    peer_end(&parts, n);
}

static void wake(long n)
{
    int64_t begin = peer_clock(), cpu = peer_cpu();

    for (long i = 0; i < n; i++)
        start(nap(i));
    join_all();
    peer_woken(begin, cpu);
}

// ---- Timeouts ----

static awaitable<void> timeouts(bool yields_inside)
{
    for (int i = 0; i < PEER_TIMEOUTS; i++) {
        asio::steady_timer timer(context, LONG);

        timer.async_wait([](boost::system::error_code) {});
        if (yields_inside)
            co_await yield();
        timer.cancel();
    }
}

static void timeout_batch(long yields_inside)
{
    start(timeouts(yields_inside));
    context.restart();
    for (long before = running - 1; running > before;)
        context.run_one();
    context.poll();
}

static void timeouts_beside(long others, long yields_inside)
{
    start_sleepers(others);
    peer_repeat(timeout_batch, yields_inside, PEER_TIMEOUTS);
    cancel_sleepers();
    join_all();
}

static void timeout(long others) { timeouts_beside(others, 0); }
static void timeout_yield(long others) { timeouts_beside(others, 1); }

// ---- Nests: each level waits on a timer, and when that is cancelled cancels the next level's ----

struct rung {
    asio::steady_timer cancelled{context, LONG}, ended{context, LONG};
};

static asio::steady_timer *complete;

static awaitable<void> level(long left, rung *own)
{
    boost::system::error_code error;
    rung next;

    if (left == 1) {
        complete->cancel();
        co_await own->cancelled.async_wait(asio::redirect_error(use_awaitable, error));
    } else {
        start(level(left - 1, &next));
        co_await own->cancelled.async_wait(asio::redirect_error(use_awaitable, error));
        next.cancelled.cancel();
        co_await next.ended.async_wait(asio::redirect_error(use_awaitable, error));
    }
    own->ended.cancel();
}

static awaitable<void> nest(long depth)
{
    boost::system::error_code error;
    asio::steady_timer timer(context, LONG);
    rung outer;

    complete = &timer;
    start(level(depth, &outer));
    co_await timer.async_wait(asio::redirect_error(use_awaitable, error));
    outer.cancelled.cancel();
    co_await outer.ended.async_wait(asio::redirect_error(use_awaitable, error));
}

static void nested_groups_batch(long depth)
{
    start(nest(depth));
    join_all();
}

static awaitable<void> nested_limits(long depth, asio::steady_timer *outer)
{
    std::vector<std::unique_ptr<asio::steady_timer>> limits;
    boost::system::error_code error;

    for (long i = 0; i < depth; i++) {
        limits.push_back(std::make_unique<asio::steady_timer>(context, LONG));
        limits.back()->async_wait([](boost::system::error_code) {});
    }
    co_await outer->async_wait(asio::redirect_error(use_awaitable, error));
    while (!limits.empty())
        limits.pop_back();
}

static void nested_timeouts_batch(long depth)
{
    asio::steady_timer outer(context, LONG);

    start(nested_limits(depth, &outer));
    context.restart();
    context.poll();
    outer.cancel();
    join_all();
    context.poll();
}

static void nested_groups(long depth) { peer_repeat(nested_groups_batch, depth, depth); }
static void nested_timeouts(long depth) { peer_repeat(nested_timeouts_batch, depth, depth); }

// ---- Failing ----

static awaitable<void> fails()
{
    cancel_sleepers();
    throw std::runtime_error("failed");
    co_return;
}

static void fail_batch(long n, bool all)
{
    for (long i = 0; i < n; i++)
        start(all || i == n - 1 ? fails() : sleep_long());
    join_all();
    peer_need(failures.size() == size_t(all ? n : 1), "wrong failures");
    failures.clear();
}

static void fail_one(long n)
{
    peer_repeat([](long count) { fail_batch(count, false); }, n, n);
}

static void fail_all(long n)
{
    peer_repeat([](long count) { fail_batch(count, true); }, n, n);
}

// ---- Threads ----

static asio::thread_pool pool(1);

static awaitable<void> jobs()
{
    for (int i = 0; i < PEER_JOBS; i++)
        co_await asio::post(pool, use_awaitable); // runs nothing there, and goes on here
}

static void offload_batch(long)
{
    auto work = asio::make_work_guard(context);

    start(jobs());
    join_all();
}

static void offload(long n) { peer_repeat(offload_batch, n, PEER_JOBS); }

// ---- Echo ----

static awaitable<void> serve(tcp::socket client)
{
    char buffer[1024];

    for (;;) {
        size_t n = co_await client.async_read_some(asio::buffer(buffer), use_awaitable);
        co_await asio::async_write(client, asio::buffer(buffer, n), use_awaitable);
    }
}

static awaitable<void> accept_all()
{
    tcp::acceptor listener(context, tcp::v4(), peer_listen(0));

    for (;;)
        start(serve(co_await listener.async_accept(use_awaitable)));
}

static void echo(long)
{
    start(accept_all());
    join_all();
}

static const peer_workload workloads[] = {
    {"spawn", spawn},
    {"spawn-yield", spawn_yield},
    {"yield", yield_all},
    {"sleepers", sleepers},
    {"wake", wake},
    {"timeout", timeout},
    {"timeout-yield", timeout_yield},
    {"nested-groups", nested_groups},
    {"nested-timeouts", nested_timeouts},
    {"fail-one", fail_one},
    {"fail-all", fail_all},
    {"offload", offload},
    {"echo", echo},
    {nullptr, nullptr},
};

int main(int count, char **arguments)
{
    peer_need(count == 3, "usage: asio WORKLOAD N");
    peer_run(workloads, arguments[1], atol(arguments[2]));
    return 0;
}
