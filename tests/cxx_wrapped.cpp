/*
 * cxx_wrapped.cpp - what examples/vthread.hpp promises.
 *
 * Compiled and run by cxx_test.sh, as C++11 and later.
 */
#include "../examples/vthread.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void expect(bool is_so, const char *claim)
{
    if (is_so)
        return;
    std::fprintf(stderr, "not so: %s\n", claim);
    std::exit(1);
}

#define EXPECT(claim) expect((claim), #claim)

void threads_are_joined_and_moved()
{
    int sum = 0;
    {
        std::vector<vthread::thread> threads;
        vthread::mutex mutex;
        for (int i = 1; i <= 100; i++)
            threads.emplace_back([&, i] {
                std::lock_guard<vthread::mutex> guard(mutex);
                int seen = sum;
                vthread_yield();
                sum = seen + i;
            });
        vthread::thread first = std::move(threads[0]);
        EXPECT(threads[0].id() == 0 && first.id() != 0);
        first.join();
        EXPECT(first.id() == 0);
    }
    EXPECT(sum == 5050);
}

void join_throws_what_the_thread_threw()
{
    vthread::thread t([] { throw std::out_of_range("far"); });
    try {
        t.join();
        EXPECT(false);
    } catch (const std::out_of_range &e) {
        EXPECT(e.what() == std::string("far"));
    }
}

void an_interrupt_is_an_exception()
{
    vthread::channel<int> never;
    vthread::thread t([&] { never.receive(); });
    t.interrupt();
    try {
        t.join();
        EXPECT(false);
    } catch (const std::system_error &e) {
        EXPECT(e.code() == std::errc::operation_canceled);
    }
}

void a_bad_attribute_is_an_exception()
{
    vthread_attr_t attr = {};
    attr.stack_size_bytes = 1;
    try {
        vthread::thread t([] {}, attr);
        EXPECT(false);
    } catch (const std::system_error &e) {
        EXPECT(e.code() == std::errc::invalid_argument);
    }
}

struct gate {
    vthread::mutex mutex;
    vthread::condition_variable opened;
    bool is_open = false;
    int through = 0;
};

void a_condition_is_waited_for()
{
    gate g;
    {
        std::vector<vthread::thread> threads;
        for (int i = 0; i < 20; i++)
            threads.emplace_back([&g] {
                std::unique_lock<vthread::mutex> lock(g.mutex);
                g.opened.wait(lock, [&g] { return g.is_open; });
                g.through++;
            });
        std::lock_guard<vthread::mutex> guard(g.mutex);
        EXPECT(!g.mutex.try_lock() && g.through == 0);
        g.is_open = true;
        g.opened.notify_all();
    }
    EXPECT(g.through == 20);
}

/* Each value, of whatever type, is received once; those that nobody receives
 * are destroyed. */
void a_channel_owns_what_is_in_it()
{
    auto counted = std::make_shared<int>(0);
    {
        vthread::channel<std::shared_ptr<int>> c(8);
        int received = 0;
        {
            vthread::thread sender([&] {
                for (int i = 0; i < 100; i++)
                    c.send(counted);
                c.close();
            });
            for (auto &value : c) {
                received += value == counted;
                if (received == 95)
                    break;
            }
        }
        EXPECT(received == 95);
        try {
            c.send(counted);
            EXPECT(false);
        } catch (const std::system_error &e) {
            EXPECT(e.code() == std::errc::broken_pipe);
        }
    }
    EXPECT(counted.use_count() == 1);
}

} // namespace

int main()
{
    threads_are_joined_and_moved();
    join_throws_what_the_thread_threw();
    an_interrupt_is_an_exception();
    a_bad_attribute_is_an_exception();
    a_condition_is_waited_for();
    a_channel_owns_what_is_in_it();
    std::puts("all so");
}
