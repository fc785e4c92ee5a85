/*
 * simulate_key_test.c - keys and carrier-locals on the simulated machine: a
 * thread's end against what deletes its keys, wakes and interrupts its
 * destructors; an OS thread's end against what destroys its values.
 *
 * A value goes to its own key's destructor, once; from the get until the next
 * wait a carrier's value has one user, so its count is plain memory.
 */
#include <errno.h>

#include <vthread/carrier_local.h>
#include <vthread/key.h>
#include <vthread/semaphore.h>

#include "carrier_local.h"
#include "tests/simulate/simulate.h"
#include "tests/threads.h"

/* ---- Keys --------------------------------------------------------------- */

static vthread_key_t first, second; /* on one slot */
static int published;               /* plain: by a destructor */
static unsigned destroyed;          /* atomic */

static void gets_first(void *value)
{
    simulate_expect(value == pointer(1));
    published = 1;
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
}

static void gets_second(void *value)
{
    simulate_expect(value == pointer(2));
}

/* Woken by its permit; an interrupt does not end it. */
static void parks_first(void *value)
{
    simulate_expect(vthread_park() == 0);
    gets_first(value);
}

static void sleeps_first(void *value)
{
    simulate_expect(vthread_sleep_until(SIMULATE_SOON) == 0);
    gets_first(value);
}

static void open_key(void (*destructor)(void *))
{
    published = 0;
    destroyed = 0;
    second = 0;
    simulate_expect(vthread_key_create(&first, destructor) == 0);
}

static void open_plain_key(void)
{
    open_key(gets_first);
}

static void open_parking_key(void)
{
    open_key(parks_first);
}

static void open_sleeping_key(void)
{
    open_key(sleeps_first);
}

static void key_is_there(void)
{
    simulate_expect(destroyed == 1);
    simulate_expect(vthread_key_delete(first) == 0);
}

static void key_is_gone(void)
{
    simulate_expect(destroyed <= 1);
    simulate_expect(vthread_key_delete(first) == EINVAL);
    simulate_expect(vthread_key_delete(second) == 0);
}

static void *sets_and_ends(void *number)
{
    simulate_expect(vthread_key_set(first, pointer(1)) == 0);
    vthread_yield();
    simulate_expect(vthread_key_get(first) == pointer(1));
    return number;
}

/* Once the key is deleted its value is nothing. */
static void *sets_until_deleted(void *number)
{
    int err = vthread_key_set(first, pointer(1));
    simulate_expect(err == 0 || err == EINVAL);
    void *value = vthread_key_get(first);
    simulate_expect(value == NULL || (value == pointer(1) && err == 0));
    return number;
}

/* The new key has the old one's slot. */
static void *replaces_key(void *number)
{
    simulate_expect(vthread_key_delete(first) == 0);
    simulate_expect(vthread_key_create(&second, gets_second) == 0);
    simulate_expect((uint32_t)second == (uint32_t)first && second != first);
    simulate_expect(vthread_key_get(second) == NULL);
    simulate_expect(vthread_key_set(second, pointer(2)) == 0);
    return number;
}

static void *unparks_first(void *number)
{
    simulate_expect(vthread_unpark(simulate_thread(0)) == 0);
    return number;
}

static void *interrupts_first(void *number)
{
    int err = vthread_interrupt(simulate_thread(0));
    simulate_expect(err == 0 || err == ESRCH);
    return number;
}

/* The end of a thread comes after its destructors. */
static void *joins_first(void *number)
{
    simulate_expect(vthread_join(simulate_thread(0), NULL) == 0);
    simulate_expect(published == 1);
    return number;
}

/* ---- Carrier-locals ----------------------------------------------------- */

struct cache {
    int uses; /* plain: one user at a time */
};

static vthread_carrier_local_t *local;
static vthread_semaphore_t used;
static unsigned made, gone; /* atomic */
static int uses;            /* plain: in the end */

static void *make_cache(void *arg)
{
    struct cache *cache = malloc(sizeof *cache);
    simulate_expect(cache != NULL && arg == NULL);
    cache->uses = 0;
    __atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
    return cache;
}

static void destroy_cache(void *value)
{
    struct cache *cache = value;
    simulate_expect(cache->uses > 0);
    __atomic_fetch_add(&gone, 1, __ATOMIC_RELAXED);
    free(cache);
}

static void count_uses(void *value)
{
    struct cache *cache = value;
    uses += cache->uses;
    destroy_cache(cache);
}

static void open_local(void (*destructor)(void *))
{
    made = gone = 0;
    uses = 0;
    simulate_expect(vthread_semaphore_init(&used, 0) == 0);
    simulate_expect(
        vthread_carrier_local_create(&local, make_cache, destructor, NULL)
        == 0);
}

static void open_counted_local(void)
{
    open_local(count_uses);
}

static void open_plain_local(void)
{
    open_local(destroy_cache);
}

static void all_used(void)
{
    simulate_expect(vthread_carrier_local_destroy(local) == 0);
    simulate_expect(made == gone && uses == 4);
}

static void all_gone(void)
{
    simulate_expect(made == gone && made > 0);
}

static void use(void)
{
    struct cache *cache = vthread_carrier_local_get(local);
    simulate_expect(vthread_carrier_local_get(local) == cache);
    cache->uses++;
}

static void *uses_twice(void *number)
{
    use();
    vthread_yield();
    use();
    return number;
}

/* As an OS thread that ends. */
static void *uses_and_leaves(void *number)
{
    use();
    simulate_expect(vthread_semaphore_post(&used) == 0);
    carrier_local_leave();
    return number;
}

static void *destroys_when_used(void *number)
{
    for (int i = 0; i < 2; i++)
        simulate_expect(vthread_semaphore_wait(&used) == 0);
    simulate_expect(vthread_carrier_local_destroy(local) == 0);
    return number;
}

/* ---- The programs ------------------------------------------------------- */

static const struct {
    struct simulate_program program;
    unsigned preemptions;
} programs[] = {
    {{.name = "key_delete_end", .begin = open_plain_key, .end = key_is_gone,
      .threads = {sets_until_deleted, replaces_key}}, 2},
    {{.name = "key_join", .begin = open_plain_key, .end = key_is_there,
      .threads = {sets_and_ends, joins_first}}, 2},
    {{.name = "key_destructor_parks", .begin = open_parking_key,
      .end = key_is_there,
      .threads = {sets_and_ends, unparks_first, joins_first}}, 1},
    {{.name = "key_destructor_interrupted", .begin = open_sleeping_key,
      .end = key_is_there,
      .threads = {sets_and_ends, interrupts_first, joins_first}}, 0},
    {{.name = "local_uses", .begin = open_counted_local, .end = all_used,
      .threads = {uses_twice, uses_twice}}, 2},
    {{.name = "local_leave_destroy", .begin = open_plain_local,
      .end = all_gone, .threads = {destroys_when_used},
      .platform_threads = {uses_and_leaves, uses_and_leaves}}, 1},
};

START_TEST(values_go_to_their_own_destructor_once_in_every_schedule)
{
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_key");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(
        cases, values_go_to_their_own_destructor_once_in_every_schedule, 0,
        COUNT_OF(programs));
    return run_suite(suite);
}
