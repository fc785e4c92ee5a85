/*
 * cxx_program.cpp - a program in C++ that uses the library: a thread, a scope,
 * a channel, and the initializers of all that can lie in static memory.
 *
 * Compiled and run by cxx_test.sh, as C++11 and later.
 */
#include <vthread.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

vthread_mutex_t mutex = VTHREAD_MUTEX_INITIALIZER;
vthread_mutex_t recursive = VTHREAD_MUTEX_RECURSIVE_INITIALIZER;
vthread_mutex_t checked = VTHREAD_MUTEX_ERRORCHECK_INITIALIZER;
vthread_cond_t cond = VTHREAD_COND_INITIALIZER;
vthread_rwlock_t rwlock = VTHREAD_RWLOCK_INITIALIZER;
vthread_once_t once = VTHREAD_ONCE_INITIALIZER;
vthread_barrier_t barrier = VTHREAD_BARRIER_INITIALIZER(1);
vthread_semaphore_t semaphore = VTHREAD_SEMAPHORE_INITIALIZER(1);
vthread_latch_t latch = VTHREAD_LATCH_INITIALIZER(1);
vthread_future_t future = {};

void expect(bool is_so, const char *claim)
{
    if (is_so)
        return;
    std::fprintf(stderr, "not so: %s\n", claim);
    std::exit(1);
}

#define EXPECT(claim) expect((claim), #claim)

class locked {
  public:
    explicit locked(vthread_mutex_t &m) : m(m)
    {
        EXPECT(vthread_mutex_lock(&m) == 0);
    }
    locked(const locked &) = delete;
    locked &operator=(const locked &) = delete;
    ~locked()
    {
        EXPECT(vthread_mutex_unlock(&m) == 0);
    }

  private:
    vthread_mutex_t &m;
};

/* Each once, without a wait. */
void use_all()
{
    bool is_last = false;
    locked a(mutex), b(recursive), c(recursive), d(checked);
    EXPECT(vthread_cond_signal(&cond) == 0);
    EXPECT(vthread_rwlock_rdlock(&rwlock) == 0);
    EXPECT(vthread_rwlock_unlock(&rwlock) == 0);
    EXPECT(vthread_once(&once, [](void *) { return 0; }, nullptr) == 0);
    EXPECT(vthread_barrier_wait(&barrier, &is_last) == 0 && is_last);
    EXPECT(vthread_semaphore_wait(&semaphore) == 0);
    EXPECT(vthread_latch_count_down(&latch, 1) == 0);
    EXPECT(vthread_future_set(&future, nullptr) == 0);
}

/* Objects of C++ live across a wait; an exception is caught in the thread. */
void *greets(void *arg)
{
    std::string greeting = "hello, ";
    EXPECT(vthread_sleep(VTHREAD_US) == 0);
    greeting += static_cast<const char *>(arg);
    try {
        locked guard(mutex);
        throw std::runtime_error(greeting);
    } catch (const std::exception &e) {
        std::printf("%s\n", e.what());
    }
    EXPECT(vthread_mutex_trylock(&mutex) == 0);
    EXPECT(vthread_mutex_unlock(&mutex) == 0);
    return arg;
}

void run_thread()
{
    char name[] = "thread";
    vthread_attr_t attr = vthread_attr_t();
    vthread_t t;
    void *result = nullptr;
    attr.name = "greets";
    EXPECT(vthread_create(&t, &attr, greets, name) == 0);
    EXPECT(vthread_join(t, &result) == 0);
    EXPECT(result == name);
}

int squares(const void *args, void *result)
{
    int n = *static_cast<const int *>(args);
    vthread_yield();
    *static_cast<int *>(result) = n * n;
    return 0;
}

void run_scope()
{
    vthread_scope_t *scope;
    uint32_t tasks[3];
    int sum = 0;
    EXPECT(vthread_scope_open(&scope, nullptr) == 0);
    for (int i = 0; i < 3; i++)
        EXPECT(vthread_scope_fork(scope, &tasks[i], squares, &i, sizeof i,
                                  sizeof(int))
               == 0);
    EXPECT(vthread_scope_join(scope) == 0);
    for (uint32_t task : tasks) {
        int square;
        EXPECT(vthread_scope_result(scope, task, &square, sizeof square) == 0);
        sum += square;
    }
    EXPECT(vthread_scope_close(scope) == 0);
    std::printf("scope: %d\n", sum);
}

void *counts(void *channel)
{
    auto c = static_cast<vthread_channel_t *>(channel);
    for (int i = 1; i <= 4; i++)
        EXPECT(vthread_channel_send(c, &i) == 0);
    EXPECT(vthread_channel_close(c) == 0);
    return nullptr;
}

void run_channel()
{
    vthread_channel_t *channel;
    vthread_t t;
    int value = 0, sum = 0;
    EXPECT(vthread_channel_create(&channel, sizeof(int), 0) == 0);
    EXPECT(vthread_create(&t, nullptr, counts, channel) == 0);
    vthread_select_case_t cases[1] = {};
    cases[0].channel = channel;
    cases[0].op = VTHREAD_SELECT_RECEIVE;
    cases[0].value = &value;
    size_t chosen;
    while (vthread_select(cases, 1, &chosen) == 0 && cases[0].result == 0)
        sum += value;
    EXPECT(vthread_join(t, nullptr) == 0);
    EXPECT(vthread_channel_destroy(channel) == 0);
    std::printf("channel: %d\n", sum);
}

} // namespace

int main()
{
    use_all();
    run_thread();
    run_scope();
    run_channel();
}
