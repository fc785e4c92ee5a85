/*
 * vthread.hpp - virtual threads for C++11 and later, in one header to copy.
 *
 *     vthread::channel<std::string> names;
 *     vthread::thread reader([&] {
 *         for (std::string &name : names)
 *             std::cout << name << '\n';
 *     });
 *     names.send("world");
 *     names.close();
 *
 * std::lock_guard and std::unique_lock take the mutex.  Errors of the library
 * are thrown as std::system_error, also ECANCELED of a wait that was
 * interrupted; join() throws what leaves a thread's function.  What others
 * reach does not belong on a shared stack: see doc/rules.md.
 */
#ifndef VTHREAD_HPP
#define VTHREAD_HPP

#include <vthread.h>

#include <cerrno>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>

namespace vthread {
inline void check(int err, const char *what)
{
    if (err)
        throw std::system_error(err, std::generic_category(), what);
}

/* Joins when it is destroyed; then an exception ends the process. */
class thread {
    struct call {
        std::function<void()> fn;
        std::exception_ptr thrown;
    };
    std::unique_ptr<call> c;
    vthread_t t = 0;

    static void *run(void *arg)
    {
        auto made = static_cast<call *>(arg);
        try {
            made->fn();
        } catch (...) {
            made->thrown = std::current_exception();
        }
        return nullptr;
    }

  public:
    explicit thread(std::function<void()> fn, const vthread_attr_t &attr = {})
        : c(new call{std::move(fn), nullptr})
    {
        check(vthread_create(&t, &attr, run, c.get()), "vthread::thread");
    }
    thread(thread &&other) noexcept { *this = std::move(other); }
    thread &operator=(thread &&other) noexcept
    {
        std::swap(c, other.c);
        std::swap(t, other.t);
        return *this;
    }
    ~thread()
    {
        vthread_cancel_disable(); /* the thread uses what we own */
        if (t)
            join();
        vthread_cancel_enable();
    }
    vthread_t id() const { return t; } /* 0: none, or joined */
    void interrupt() { check(vthread_interrupt(t), "interrupt"); }
    void join()
    {
        check(vthread_join(t, nullptr), "join");
        t = 0;
        if (c->thrown)
            std::rethrow_exception(std::move(c->thrown));
    }
};

struct mutex {
    vthread_mutex_t m = VTHREAD_MUTEX_INITIALIZER;
    void lock() { check(vthread_mutex_lock(&m), "lock"); }
    void unlock() { check(vthread_mutex_unlock(&m), "unlock"); }
    bool try_lock() { return vthread_mutex_trylock(&m) == 0; }
};

struct condition_variable {
    vthread_cond_t c = VTHREAD_COND_INITIALIZER;
    void notify_one() { check(vthread_cond_signal(&c), "notify"); }
    void notify_all() { check(vthread_cond_broadcast(&c), "notify"); }
    template <class Predicate>
    void wait(std::unique_lock<mutex> &lock, Predicate is_so)
    {
        while (!is_so())
            check(vthread_cond_wait(&c, &lock.mutex()->m), "wait");
    }
};

/* Nobody uses it any more when it is destroyed. */
template <class T> class channel {
    vthread_channel_t *c;

  public:
    explicit channel(size_t capacity = 0)
    {
        check(vthread_channel_create(&c, sizeof(T *), capacity), "channel");
    }
    channel(const channel &) = delete;
    ~channel()
    {
        T *left;
        while (vthread_channel_tryreceive(c, &left) == 0)
            delete left;
        vthread_channel_destroy(c);
    }
    void close() { check(vthread_channel_close(c), "close"); }
    void send(T value)
    {
        std::unique_ptr<T> sent(new T(std::move(value)));
        T *bare = sent.get();
        check(vthread_channel_send(c, &bare), "send");
        sent.release();
    }
    std::unique_ptr<T> receive() /* empty: closed, and nothing is left */
    {
        T *bare = nullptr;
        int err = vthread_channel_receive(c, &bare);
        check(err == EPIPE ? 0 : err, "receive");
        return std::unique_ptr<T>(bare);
    }
    struct iterator { /* over all that comes */
        channel *from;
        std::shared_ptr<T> value;
        T &operator*() const { return *value; }
        iterator &operator++() { value = from->receive(); return *this; }
        bool operator!=(const iterator &) const { return value != nullptr; }
    };
    iterator begin() { return {this, receive()}; }
    iterator end() { return {this, nullptr}; }
};
} // namespace vthread

#endif
