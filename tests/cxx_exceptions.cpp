/*
 * cxx_exceptions.cpp - exceptions of C++ in threads that park, and change
 * their OS thread, while they handle them: in catch blocks, in destructors
 * that run because of one, one inside the other; rethrown afterwards.
 *
 * Compiled and run by cxx_test.sh, as C++11 and later.  Its argument is how
 * often each thread does all that.  Prints how many exceptions were caught.
 */
#include <vthread.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

namespace {

const int THREADS = 200, DEPTH = 4;
int rounds;

std::atomic<long> caught;

void expect(bool is_so, const char *claim)
{
    if (is_so)
        return;
    std::fprintf(stderr, "not so: %s\n", claim);
    std::abort();
}

#define EXPECT(claim) expect((claim), #claim)

/* Says whose it is. */
struct failure : std::exception {
    failure(int thread, int depth) : thread(thread), depth(depth) {}
    int thread, depth;
};

/* In one of several ways. */
void park(int how)
{
    if (how % 3 == 0)
        EXPECT(vthread_sleep(static_cast<uint64_t>(how % 7) * 10000) == 0);
    else
        vthread_yield();
}

#if __cplusplus >= 201703L
int on_their_way()
{
    return std::uncaught_exceptions();
}
#else
int on_their_way()
{
    return std::uncaught_exception();
}
#endif

/* The exception that is being handled, as the runtime knows it. */
void expect_handled(int thread, int depth)
{
    try {
        throw;
    } catch (const failure &f) {
        EXPECT(f.thread == thread && f.depth == depth);
    }
}

/* ---- In catch blocks ---------------------------------------------------- */

/* Handles one of its own at each depth, and parks while it does. */
void handle(int thread, int depth)
{
    try {
        park(thread + depth);
        throw failure(thread, depth);
    } catch (const failure &f) {
        EXPECT(on_their_way() == 0);
        park(thread);
        EXPECT(f.thread == thread && f.depth == depth);
        if (depth < DEPTH)
            handle(thread, depth + 1);
        park(thread + 1);
        EXPECT(on_their_way() == 0);
        expect_handled(thread, depth);
        caught++;
    }
}

/* One that is thrown on from block to block, each of which parks. */
void throw_on(int thread, int depth)
{
    try {
        if (depth == DEPTH)
            throw failure(thread, depth);
        throw_on(thread, depth + 1);
    } catch (...) {
        park(thread + depth);
        expect_handled(thread, DEPTH);
        throw;
    }
}

/* ---- In destructors ----------------------------------------------------- */

/* Parks on its way out, and handles an exception of its own there. */
class guard {
  public:
    guard(int thread, int depth) : thread(thread), depth(depth) {}
    ~guard()
    {
        int before = on_their_way();
        EXPECT(before > 0);
        park(thread + depth);
        EXPECT(on_their_way() == before);
        if (depth < DEPTH)
            unwind();
        park(thread);
        EXPECT(on_their_way() == before);
    }

  private:
    void unwind()
    {
        try {
            guard inner(thread, depth + 1);
            park(depth);
            throw failure(thread, depth);
        } catch (const failure &f) {
            EXPECT(f.thread == thread && f.depth == depth);
            caught++;
        }
    }
    int thread, depth;
};

void unwind(int thread)
{
    try {
        guard a(thread, 0), b(thread, DEPTH - 1);
        throw_on(thread, 0);
        EXPECT(false);
    } catch (const failure &f) {
        park(thread);
        EXPECT(f.thread == thread && f.depth == DEPTH);
        EXPECT(on_their_way() == 0);
        caught++;
    }
}

/* ---- Continuations inside ----------------------------------------------- */

/* Handles an exception from its first run to its last. */
void generate(void *)
{
    EXPECT(!std::current_exception());
    try {
        throw failure(-1, 0);
    } catch (const failure &) {
        EXPECT(vthread_continuation_yield(nullptr) == 0);
        park(1);
        EXPECT(vthread_continuation_yield(nullptr) == 0);
        expect_handled(-1, 0);
        caught++;
    }
}

/* Each sees its own only. */
void run_inside(int thread)
{
    vthread_continuation_t *c;
    EXPECT(vthread_continuation_create(&c, nullptr, generate, nullptr)
           == 0);
    EXPECT(vthread_continuation_run(c) == 0);
    EXPECT(!std::current_exception());
    try {
        throw failure(thread, 9);
    } catch (const failure &) {
        EXPECT(vthread_continuation_run(c) == 0);
        expect_handled(thread, 9);
        EXPECT(vthread_continuation_run(c) == 0);
        expect_handled(thread, 9);
        caught++;
    }
    EXPECT(vthread_continuation_destroy(c) == 0);
}

/* ---- Threads ------------------------------------------------------------ */

void *work(void *arg)
{
    int thread = static_cast<int>(reinterpret_cast<intptr_t>(arg));
    for (int i = 0; i < rounds; i++) {
        EXPECT(!std::current_exception() && on_their_way() == 0);
        handle(thread, 0);
        unwind(thread);
        if (i % 10 == 0)
            run_inside(thread);
    }
    return nullptr;
}

/* Leaves a catch block without its end: whoever runs on that OS thread next
 * handles nothing. */
void *leave(void *)
{
    EXPECT(!std::current_exception());
    try {
        throw failure(-2, 0);
    } catch (const failure &) {
        park(1);
        vthread_exit(nullptr);
    }
}

/* An exception that goes from one thread to another. */
std::exception_ptr passed;

void *pass(void *)
{
    try {
        throw failure(-3, 0);
    } catch (...) {
        park(1);
        passed = std::current_exception();
        park(1);
    }
    return nullptr;
}

void receive()
{
    try {
        std::rethrow_exception(passed);
    } catch (const failure &f) {
        EXPECT(f.thread == -3);
        caught++;
    }
    passed = nullptr;
}

vthread_t start(void *(*fn)(void *), int number)
{
    vthread_t t;
    EXPECT(vthread_create(&t, nullptr, fn,
                          reinterpret_cast<void *>(
                              static_cast<intptr_t>(number)))
           == 0);
    return t;
}

} // namespace

int main(int argc, char **argv)
{
    EXPECT(argc == 2);
    rounds = std::atoi(argv[1]);
    std::vector<vthread_t> threads;
    for (int i = 0; i < THREADS; i++) {
        threads.push_back(start(work, i));
        threads.push_back(start(leave, i));
    }
    for (vthread_t t : threads)
        EXPECT(vthread_join(t, nullptr) == 0);
    EXPECT(vthread_join(start(pass, 0), nullptr) == 0);
    receive();
    std::printf("caught: %ld\n", caught.load());
}
