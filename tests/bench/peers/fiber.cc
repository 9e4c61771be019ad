// Boost.Fiber: fibers, joined one by one, with its own mutexes, conditions and channels. It has no cancellation: what
// others cancel here waits on a condition, with a time limit, for a flag. It has no groups, no timeouts around a piece of
// code, no semaphore (a condition on a number), no sockets of its own (echo is left out). A thread that works takes jobs
// from a queue and fulfils a boost::fibers::promise. Stacks come from one pool, as they do from osier's: without it each
// fiber costs an mmap() and a munmap(), about 5 us. They have no guard pages.
#include "peer.h"

#include <boost/fiber/all.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fibers = boost::fibers;
using boost::this_fiber::yield;

static const auto LONG = std::chrono::seconds(1000);
static std::vector<fibers::fiber> group;

// A fiber on a stack of the pool.
template <class Body>
static fibers::fiber make(Body body)
{
    static fibers::pooled_fixedsize_stack pool(64 * 1024);

    return fibers::fiber(std::allocator_arg, pool, std::move(body));
}

template <class Body>
static void start(Body body)
{
    group.push_back(make(std::move(body)));
}

static void join_all()
{
    for (auto &fiber : group)
        fiber.join();
    group.clear();
}

// ---- Tasks ----

static void spawn_batch(long n)
{
    for (long i = 0; i < n; i++)
        start([] {});
    join_all();
}

static void spawn_yield_batch(long n)
{
    for (long i = 0; i < n; i++)
        start([] { yield(); });
    join_all();
}

static void yield_batch(long n)
{
    for (long i = 0; i < n; i++)
        start([n] {
            for (long turn = 0; turn < PEER_YIELDS / n; turn++)
                yield();
        });
    join_all();
}

static void spawn(long n) { peer_repeat(spawn_batch, n, n); }
static void spawn_yield(long n) { peer_repeat(spawn_yield_batch, n, n); }
static void yields(long n) { peer_repeat(yield_batch, n, PEER_YIELDS); }

// ---- Sleepers ----

struct stop {
    fibers::mutex mutex;
    fibers::condition_variable changed;
    bool asked = false;

    void ask()
    {
        std::unique_lock<fibers::mutex> held(mutex);
        asked = true;
        changed.notify_all();
    }

    void sleep()
    {
        std::unique_lock<fibers::mutex> held(mutex);
        changed.wait_for(held, LONG, [this] { return asked; });
    }
};

static void sleepers(long n)
{
    peer_parts parts = peer_begin();
    stop stop;

    for (long i = 0; i < n; i++)
        start([&] { stop.sleep(); });
    yield();
    peer_asleep(&parts, n);
    stop.ask();
    join_all();
    peer_end(&parts, n);
}

static void wake(long n)
{
    int64_t begin = peer_clock(), cpu = peer_cpu();

    for (long i = 0; i < n; i++)
        start([i] { boost::this_fiber::sleep_for(std::chrono::nanoseconds(peer_delay(i))); });
    join_all();
    peer_woken(begin, cpu);
}

// ---- Nests: one flag for all levels ----

static void level(long left, stop &complete, stop &cancelled)
{
    if (left == 1) {
        complete.ask();
        cancelled.sleep();
        return;
    }
    make([&, left] { level(left - 1, complete, cancelled); }).join();
}

static void nested_groups_batch(long depth)
{
    stop complete, cancelled;
    fibers::fiber outer = make([&] { level(depth, complete, cancelled); });

    complete.sleep();
    cancelled.ask();
    outer.join();
}

static void nested_groups(long depth) { peer_repeat(nested_groups_batch, depth, depth); }

// ---- Failing: exceptions, kept in a vector ----

static void fail_batch(long n, bool all)
{
    std::vector<std::exception_ptr> failures;
    stop stop;

    for (long i = 0; i < n; i++)
        start([&, i] {
            try {
                if (all || i == n - 1)
                    throw std::runtime_error("failed");
                stop.sleep();
            } catch (...) {
                failures.push_back(std::current_exception());
                if (failures.size() == 1)
                    stop.ask();
            }
        });
    join_all();
    peer_need(failures.size() == size_t(all ? n : 1), "wrong failures");
}

static void fail_one(long n)
{
    peer_repeat([](long count) { fail_batch(count, false); }, n, n);
}

static void fail_all(long n)
{
    peer_repeat([](long count) { fail_batch(count, true); }, n, n);
}

// ---- Queues ----

template <class Channel>
static void pass_items(Channel &channel)
{
    start([&] {
        for (uint64_t item = 0; item < PEER_ITEMS; item++)
            channel.push(item);
    });
    start([&] {
        uint64_t item = 0, sum = 0;
        for (long i = 0; i < PEER_ITEMS; i++) {
            channel.pop(item);
            sum += item;
        }
        peer_need(sum == uint64_t(PEER_ITEMS) * (PEER_ITEMS - 1) / 2, "items were lost");
    });
    join_all();
}

static void queue_batch(long capacity)
{
    if (capacity) {
        fibers::buffered_channel<uint64_t> channel(static_cast<size_t>(capacity));
        pass_items(channel);
    } else {
        fibers::unbuffered_channel<uint64_t> channel;
        pass_items(channel);
    }
}

static void queue(long capacity) { peer_repeat(queue_batch, capacity, PEER_ITEMS); }

// ---- Locks and semaphores ----

static void lock_batch(long n)
{
    fibers::mutex mutex;

    for (long i = 0; i < n; i++)
        start([&] {
            for (int turn = 0; turn < PEER_TURNS; turn++) {
                std::unique_lock<fibers::mutex> held(mutex);
                yield();
            }
        });
    join_all();
}

static void semaphore_batch(long n)
{
    fibers::mutex mutex;
    fibers::condition_variable given;
    int permits = 3;

    for (long i = 0; i < n; i++)
        start([&] {
            for (int turn = 0; turn < PEER_TURNS; turn++) {
                {
                    std::unique_lock<fibers::mutex> held(mutex);
                    given.wait(held, [&] { return permits > 0; });
                    permits--;
                }
                yield();
                std::unique_lock<fibers::mutex> held(mutex);
                permits++;
                given.notify_one();
            }
        });
    join_all();
}

static void lock(long n) { peer_repeat(lock_batch, n, n * PEER_TURNS); }
static void semaphore(long n) { peer_repeat(semaphore_batch, n, n * PEER_TURNS); }

// ---- Threads ----

static std::mutex jobs_mutex;
static std::condition_variable jobs_come;
static std::vector<fibers::promise<void>> jobs;

static void work()
{
    for (;;) {
        std::unique_lock<std::mutex> held(jobs_mutex);
        jobs_come.wait(held, [] { return !jobs.empty(); });
        fibers::promise<void> job = std::move(jobs.back());
        jobs.pop_back();
        held.unlock();
        job.set_value();
    }
}

static void offload_batch(long)
{
    for (int i = 0; i < PEER_JOBS; i++) {
        fibers::promise<void> job;
        fibers::future<void> result = job.get_future();
        {
            std::unique_lock<std::mutex> held(jobs_mutex);
            jobs.push_back(std::move(job));
        }
        jobs_come.notify_one();
        result.get();
    }
}

static void offload(long n)
{
    std::thread(work).detach();
    peer_repeat(offload_batch, n, PEER_JOBS);
    _exit(0);
}

static const peer_workload workloads[] = {
    {"spawn", spawn},
    {"spawn-yield", spawn_yield},
    {"yield", yields},
    {"sleepers", sleepers},
    {"wake", wake},
    {"nested-groups", nested_groups},
    {"fail-one", fail_one},
    {"fail-all", fail_all},
    {"queue", queue},
    {"lock", lock},
    {"semaphore", semaphore},
    {"offload", offload},
    {nullptr, nullptr},
};

int main(int count, char **arguments)
{
    peer_need(count == 3, "usage: fiber WORKLOAD N");
    peer_run(workloads, arguments[1], atol(arguments[2]));
    return 0;
}
