// pin_cxx_program.cpp - the locks of C++ on virtual threads, which tests/
// pin_preload_test.sh runs with tracking: each of them pins, and prints who
// held it.
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <shared_mutex>

#include <vthread.h>
#include <vthread/pin.h>

static std::mutex plain;
static std::recursive_mutex recursive;
static std::timed_mutex timed;
static std::shared_mutex shared;
static std::condition_variable ready;
static bool is_ready;
static std::atomic<int> told;

static void *lock_all(void *arg)
{
    {
        std::lock_guard<std::mutex> guard(plain);
        vthread_sleep(VTHREAD_MS);
    }
    {
        std::lock_guard<std::recursive_mutex> guard(recursive);
        std::lock_guard<std::recursive_mutex> again(recursive);
        vthread_sleep(VTHREAD_MS);
    }
    {
        std::unique_lock<std::timed_mutex> guard(timed,
                                                 std::chrono::seconds(10));
        vthread_sleep(VTHREAD_MS);
    }
    {
        std::shared_lock<std::shared_mutex> guard(shared);
        vthread_sleep(VTHREAD_MS);
    }
    {
        std::unique_lock<std::shared_mutex> guard(shared);
        vthread_sleep(VTHREAD_MS);
    }
    return arg;
}

static void *wait_until_ready(void *arg)
{
    std::unique_lock<std::mutex> guard(plain);
    ready.wait(guard, [] { return is_ready; });
    return arg;
}

static void *make_ready(void *arg)
{
    std::lock_guard<std::mutex> guard(plain);
    is_ready = true;
    ready.notify_all();
    return arg;
}

static void print(void *, const vthread_pin_episode_t *episode)
{
    std::printf("kind %u, taken %u times, waits %d\n",
                episode->holds[0].kind, episode->holds[0].count,
                episode->waits_on != 0);
    std::fflush(stdout);
    told++;
}

static void run(void *(*fn)(void *), int count)
{
    vthread_t threads[8];
    for (int i = 0; i < count; i++)
        vthread_create(&threads[i], nullptr, fn, nullptr);
    for (int i = 0; i < count; i++)
        vthread_join(threads[i], nullptr);
}

// More than there are carriers: who waits must leave its to others.
static void wait_for_condition()
{
    vthread_t waiters[16];
    for (vthread_t &t : waiters)
        vthread_create(&t, nullptr, wait_until_ready, nullptr);
    run(make_ready, 1);
    for (vthread_t t : waiters)
        vthread_join(t, nullptr);
}

// With an argument: the library is preloaded, and sees what libstdc++ calls:
// condition_variable::wait is no inline function.
int main(int argc, char **)
{
    vthread_pin_notify(print, nullptr);
    run(lock_all, 1);
    if (argc > 1)
        wait_for_condition();
    while (told < 5) // of lock_all
        vthread_sleep(VTHREAD_MS);
    vthread_sleep(20 * VTHREAD_MS); // that there are no more
    std::puts("done");
    return 0;
}
