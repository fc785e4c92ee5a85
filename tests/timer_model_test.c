/*
 * timer_model_test.c - the wheel against a list of deadlines, at random.
 */
#include "tests/wheel.h"

#include "tests/random.h"

enum { MODEL_THREADS = 40 };

static struct model {
    struct random random;
    struct thread *threads[MODEL_THREADS];
    bool armed[MODEL_THREADS];
    uint64_t tick[MODEL_THREADS]; /* at which it must expire */
    uint64_t now_ns;
    uint64_t order_tick;          /* of what expired last in this call */
} model;

static int model_count(void)
{
    int count = 0;

    for (int i = 0; i < MODEL_THREADS; i++)
        count += model.armed[i];
    return count;
}

static uint64_t model_first_tick(void)
{
    uint64_t first = UINT64_MAX;

    for (int i = 0; i < MODEL_THREADS; i++)
        if (model.armed[i] && model.tick[i] < first)
            first = model.tick[i];
    return first;
}

static int model_index(const struct task *task)
{
    for (int i = 0; i < MODEL_THREADS; i++)
        if (&model.threads[i]->task == task)
            return i;
    ck_abort_msg("a task that is none of ours");
}

/* Whether t is in the slot it belongs to, or in one on its way down. */
static bool is_in_place(struct thread *t, struct slot slot)
{
    uint64_t tick = due_tick(t->deadline_ns);
    struct slot right;

    if (tick < wheel.now_tick)
        tick = wheel.now_tick;
    right = slot_for(wheel.now_tick, tick);
    return (right.level == slot.level && right.digit == slot.digit) ||
           (wheel.draining == slot.level && slot.level > 0 &&
            slot.digit == digit_of(wheel.now_tick, slot.level));
}

/* The number of threads in a slot, or -1000 if something is wrong there. */
static int count_slot(struct slot slot)
{
    uint32_t prev = SLOT_MARK | (slot.level * WHEEL_SLOTS + slot.digit);
    uint32_t number = wheel.first[slot.level][slot.digit];
    int count = 0;

    if ((number != 0) != (wheel.occupied[slot.level] >> slot.digit & 1))
        return -1000;
    for (; number != 0; number = thread_at(number)->timer_next) {
        struct thread *t = thread_at(number);
        if (prev_of(t) != prev || !is_in_place(t, slot))
            return -1000;
        prev = number;
        count++;
    }
    return count;
}

/* The invariants at the head of timer.c, and agreement with the model. */
static void expect_sound(void)
{
    uint64_t next_ns = wheel_next_ns(&wheel);
    int count = 0;

    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            count += count_slot((struct slot){level, slot});
    ck_assert_int_eq(count, model_count());
    ck_assert_int_eq((int)wheel.count, count);
    for (int i = 0; i < MODEL_THREADS; i++)
        if (is_armed(model.threads[i]) != model.armed[i])
            ck_abort_msg("thread %d is armed, or is not", i);
    if (count == 0)
        ck_assert_uint_eq(next_ns, CLOCK_NEVER);
    else
        ck_assert_uint_le(next_ns, tick_ns(model_first_tick()));
}

/* Near, far, on the border of a tick, in the past, the same as another. */
static uint64_t some_deadline(void)
{
    uint64_t far = random_length(&model.random, 64);

    switch (random_below(&model.random, 8)) {
    case 0:
        return far % (model.now_ns + 1);
    case 1:
        return model.threads[0]->deadline_ns;
    case 2:
        return far & -TICK;
    default:
        if (far >= CLOCK_NEVER - model.now_ns)
            return CLOCK_NEVER - 1;
        return model.now_ns + far;
    }
}

static void model_arm(int i)
{
    uint64_t deadline_ns = some_deadline();
    uint64_t tick = due_tick(deadline_ns), before = wheel_next_ns(&wheel);
    bool is_first;

    if (tick < wheel.now_tick)
        tick = wheel.now_tick;
    is_first = arm(model.threads[i], deadline_ns);
    ck_assert_int_eq(is_first, tick_ns(tick) < before);
    model.armed[i] = true;
    model.tick[i] = tick;
}

static void arm_or_cancel(void)
{
    int i = (int)random_below(&model.random, MODEL_THREADS);

    if (model.armed[i]) {
        wheel_cancel(&wheel, model.threads[i]);
        model.armed[i] = false;
    } else {
        model_arm(i);
    }
}

static void pass_time(void)
{
    uint64_t next_ns = wheel_next_ns(&wheel);
    uint64_t far = random_length(&model.random, 60);

    if (next_ns < CLOCK_NEVER - 1 && next_ns > model.now_ns &&
        random_below(&model.random, 3) != 0)
        model.now_ns = next_ns;
    else if (far < CLOCK_NEVER - 1 - model.now_ns)
        model.now_ns += far;
}

static void model_expired(const struct task *task, uint64_t time_ns)
{
    int i = model_index(task);

    ck_assert(model.armed[i]);
    ck_assert_uint_le(model.threads[i]->deadline_ns, time_ns);
    ck_assert_uint_ge(model.tick[i], model.order_tick);
    model.order_tick = model.tick[i];
    model.armed[i] = false;
}

/* Now, or as of a while ago: a carrier may read the clock and be late. */
static uint64_t some_time(void)
{
    uint64_t ago = random_length(&model.random, 40);

    if (random_below(&model.random, 4) != 0 || ago > model.now_ns)
        return model.now_ns;
    return model.now_ns - ago;
}

static void expire_some(unsigned limit)
{
    uint64_t time_ns = some_time();
    struct task *task = wheel_expire(&wheel, time_ns, limit);

    model.order_tick = 0;
    for (; task != NULL; task = task->next) {
        ck_assert_uint_gt(limit--, 0);
        model_expired(task, time_ns);
    }
    if (wheel_next_ns(&wheel) <= time_ns || model_count() == 0)
        return;
    /* It says that this was all: so it must have been, and with so few
     * threads it knows the next one exactly. */
    ck_assert_uint_gt(model_first_tick(), time_ns / TICK);
    if (time_ns == model.now_ns && model_count() <= SCAN_LIMIT)
        ck_assert_uint_eq(wheel_next_ns(&wheel), tick_ns(model_first_tick()));
}

static void model_round(void)
{
    unsigned arms = (unsigned)random_below(&model.random, 4);

    for (int i = 0; i < 400; i++) {
        if (random_below(&model.random, 4) < arms) {
            arm_or_cancel();
        } else {
            if (random_below(&model.random, 2) == 0)
                pass_time();
            expire_some((unsigned)random_below(&model.random, 12));
        }
        expect_sound();
    }
}

START_TEST(random_use_matches_a_list_of_deadlines)
{
    model.random = random_start("timer_test");
    for (int i = 0; i < MODEL_THREADS; i++)
        model.threads[i] = new_thread();
    for (unsigned round = 0; round < how_often(100, 300); round++) {
        model.now_ns = random_length(&model.random, 63);
        wheel_init(&wheel, 3, model.now_ns);
        model_round();
        for (int i = 0; i < MODEL_THREADS; i++) {
            wheel_cancel(&wheel, model.threads[i]);
            model.armed[i] = false;
        }
        ck_assert(is_empty());
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timer_model");
    TCase *cases = new_case(suite, "model");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, random_use_matches_a_list_of_deadlines);
    return run_suite(suite);
}
