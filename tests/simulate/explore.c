/*
 * explore.c - the strategies: who makes the next step.
 *
 * A schedule is the list of its steps; a step is the context that was chosen
 * at a point, among those that could have been.  Nothing is saved and
 * restored: the next schedule is run from the beginning.  The exhaustive
 * strategy goes through the tree of choices depth first; it keeps for each
 * step what is still to be tried there, takes the deepest such step back,
 * and goes on from there in the ordinary way, which is to preempt nobody.
 *
 * Invariant: the same choices lead to the same steps.  It is checked: when a
 * prefix is run again, what could be chosen must be what it was.
 *
 * As text a schedule is the letter of a context and how many steps it made
 * in a row: a12b3t1a4.  ~ is a store that is seen late.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/random.h"
#include "tests/simulate/machine.h"
#include "tests/simulate/program.h"
#include "tests/simulate/simulate.h"

#define STEPS_MAX 20000
#define DELAY_LETTER '~'

struct step {
    uint16_t enabled; /* a bit for each context */
    uint16_t rest;    /* of these, still to be tried */
    uint8_t chosen;
};

static struct {
    const struct simulate_program *program;
    const struct simulate_bounds *bounds;
    struct random random;
    uint64_t seed;
    unsigned long number;    /* of the schedule */
    struct step steps[STEPS_MAX];
    unsigned count;          /* of steps made */
    unsigned prefix;         /* of these, so many are given */
    unsigned preemptions;    /* made */
    bool is_replayed, is_exploring;
    /* Random. */
    unsigned seldom;         /* one choice in so many is a change */
    /* PCT. */
    unsigned length;         /* of the longest schedule */
    int priority[MACHINE_CONTEXTS];
    unsigned changes[16];    /* at these steps */
    int lowest;
} now;

bool explore_delays, explore_early;

/* ---- Choosing ----------------------------------------------------------- */

static unsigned lowest_of(unsigned set)
{
    return (unsigned)__builtin_ctz(set);
}

static unsigned nth_of(unsigned set, unsigned n)
{
    while (n-- > 0)
        set &= set - 1;
    return lowest_of(set);
}

static unsigned any_of(unsigned set)
{
    return nth_of(set, (unsigned)random_below(
                           &now.random, (uint64_t)__builtin_popcount(set)));
}

/* The next after current, in a circle. */
static unsigned next_of(unsigned set, unsigned current)
{
    unsigned after = set & ~((2u << current) - 1);
    return lowest_of(after ? after : set);
}

/* All but one, if there are others. */
static unsigned without(unsigned set, unsigned one)
{
    return set == 1u << one ? set : set & ~(1u << one);
}

/* What is done if nothing speaks for anything else. */
static unsigned usual(unsigned enabled, unsigned current, enum choice kind)
{
    switch (kind) {
    case CHOICE_STAY:
    case CHOICE_DELAY:
        return current;
    case CHOICE_YIELD:
    case CHOICE_SPIN:
        return next_of(enabled, current);
    default:
        return lowest_of(enabled);
    }
}

static unsigned choose_systematically(struct step *step, unsigned current,
                                      enum choice kind)
{
    step->chosen = (uint8_t)usual(step->enabled, current, kind);
    if (kind == CHOICE_YIELD || kind == CHOICE_BLOCKED
        || now.preemptions < now.bounds->preemptions)
        step->rest = (uint16_t)(step->enabled & ~(1u << step->chosen));
    return step->chosen;
}

static unsigned choose_at_random(unsigned enabled, unsigned current,
                                 enum choice kind)
{
    bool may_stay = kind == CHOICE_STAY || kind == CHOICE_DELAY;
    if (may_stay && random_below(&now.random, now.seldom) > 0)
        return current;
    return any_of(enabled);
}

static unsigned highest_priority(unsigned enabled)
{
    unsigned best = lowest_of(enabled);
    for (unsigned i = best; i < MACHINE_CONTEXTS; i++)
        if (enabled >> i & 1 && now.priority[i] > now.priority[best])
            best = i;
    return best;
}

static unsigned choose_by_priority(unsigned enabled, unsigned current,
                                   enum choice kind)
{
    if (kind == CHOICE_DELAY)
        return random_below(&now.random, 4) == 0 ? MACHINE_DELAY : current;
    for (unsigned i = 0; i < now.bounds->preemptions; i++)
        if (now.changes[i] <= now.count) {
            now.priority[current] = --now.lowest;
            now.changes[i] = UINT_MAX; /* once */
        }
    if (kind == CHOICE_YIELD || kind == CHOICE_SPIN)
        now.priority[current] = --now.lowest;
    return highest_priority(enabled);
}

static unsigned choose_given(struct step *step, unsigned enabled)
{
    if (now.is_replayed)
        step->enabled = (uint16_t)enabled;
    if (step->enabled != enabled)
        machine_fail("the program is not the same each time: at step %u "
                     "contexts %#x could go on, before it was %#x",
                     now.count, enabled, step->enabled);
    if (!(enabled >> step->chosen & 1))
        machine_fail("the schedule does not fit: at step %u only contexts "
                     "%#x can go on", now.count, enabled);
    return step->chosen;
}

static unsigned choose_new(struct step *step, unsigned current,
                           enum choice kind)
{
    unsigned enabled = step->enabled;
    /* One choice is none, and takes no chance. */
    if (now.is_replayed || (enabled & (enabled - 1)) == 0)
        return usual(enabled, current, kind);
    switch (now.bounds->strategy) {
    case SIMULATE_RANDOM:
        return choose_at_random(enabled, current, kind);
    case SIMULATE_PCT:
        return choose_by_priority(enabled, current, kind);
    default:
        return choose_systematically(step, current, kind);
    }
}

unsigned explore_choose(unsigned enabled, unsigned current, enum choice kind)
{
    if (!now.is_exploring)
        return usual(enabled, current, kind);
    if (now.count == STEPS_MAX)
        machine_fail("no end after %u steps", STEPS_MAX);
    struct step *step = &now.steps[now.count];
    /* Who gives way and is chosen again at once has had its turn. */
    if (kind == CHOICE_SPIN
        || (kind == CHOICE_YIELD && machine_contexts[current].has_relaxed))
        enabled = without(enabled, current);
    if (now.count < now.prefix) {
        choose_given(step, enabled);
    } else {
        *step = (struct step){.enabled = (uint16_t)enabled};
        step->chosen = (uint8_t)choose_new(step, current, kind);
    }
    if (kind != CHOICE_YIELD && kind != CHOICE_BLOCKED
        && step->chosen != usual(enabled, current, kind))
        now.preemptions++;
    now.count++;
    return step->chosen;
}

/* ---- A schedule as text ------------------------------------------------- */

static char letter_of(unsigned context)
{
    return context == MACHINE_DELAY ? DELAY_LETTER
                                    : machine_contexts[context].letter;
}

static void print_schedule(FILE *to)
{
    for (unsigned i = 0, run; i < now.count; i += run) {
        for (run = 1; i + run < now.count
                      && now.steps[i + run].chosen == now.steps[i].chosen;)
            run++;
        fprintf(to, "%c%u", letter_of(now.steps[i].chosen), run);
    }
}

static unsigned context_of(char letter)
{
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++)
        if (machine_contexts[i].main && machine_contexts[i].letter == letter)
            return i;
    if (letter != DELAY_LETTER)
        machine_fail("SIMULATE_REPLAY: there is no context '%c'", letter);
    return MACHINE_DELAY;
}

static void read_schedule(const char *text)
{
    now.prefix = 0;
    while (*text) {
        unsigned context = context_of(*text++);
        char *end;
        unsigned long run = strtoul(text, &end, 10);
        if (end == text || run == 0 || run > STEPS_MAX - now.prefix)
            machine_fail("SIMULATE_REPLAY: no schedule from '%s' on", text);
        while (run-- > 0)
            now.steps[now.prefix++].chosen = (uint8_t)context;
        text = end;
    }
}

static const char *const strategies[] = {"exhaustive", "random", "PCT"};

void explore_describe(void)
{
    if (!now.is_exploring)
        return;
    fprintf(stderr,
            "simulate: program %s, %s, schedule %lu (seed %llu), after %u "
            "steps and %u preemptions\nreplay: SIMULATE_REPLAY=%s:",
            now.program->name, strategies[now.bounds->strategy], now.number,
            (unsigned long long)now.seed, now.count, now.preemptions,
            now.program->name);
    print_schedule(stderr);
    fprintf(stderr, " tests/%s\n", program_invocation_short_name);
}

/* Once; abort goes on when this returns. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    explore_describe();
    now.is_exploring = false;
}

/* ---- Exploring ---------------------------------------------------------- */

static void shuffle_priorities(void)
{
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++) {
        unsigned j = (unsigned)random_below(&now.random, i + 1);
        now.priority[i] = now.priority[j];
        now.priority[j] = (int)i;
    }
    now.lowest = 0;
    for (unsigned i = 0; i < now.bounds->preemptions; i++)
        now.changes[i] = (unsigned)random_below(&now.random,
                                                now.length + 1);
}

static void run_once(void)
{
    now.count = now.preemptions = 0;
    now.random = (struct random){now.seed + now.number};
    now.seldom = 1u << (1 + random_below(&now.random, 5));
    shuffle_priorities();
    now.is_exploring = true;
    program_run(now.program);
    now.is_exploring = false;
    now.number++;
    if (now.count > now.length)
        now.length = now.count;
}

/* The deepest step at which something is left takes it.  False: none is. */
static bool go_back(void)
{
    unsigned depth = now.count;
    while (depth > 0 && now.steps[depth - 1].rest == 0)
        depth--;
    if (depth == 0)
        return false;
    struct step *step = &now.steps[depth - 1];
    step->chosen = (uint8_t)lowest_of(step->rest);
    step->rest &= (uint16_t)(step->rest - 1);
    now.prefix = depth;
    return true;
}

static unsigned long number_from(const char *variable, unsigned long otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

static bool explore_all(unsigned long limit)
{
    bool has_more = true;
    while (has_more && now.number < limit) {
        run_once();
        has_more = go_back();
    }
    return !has_more;
}

static void replay(const char *text)
{
    size_t length = strlen(now.program->name);
    if (strncmp(text, now.program->name, length) != 0 || text[length] != ':')
        return; /* it is another program's */
    now.is_replayed = true;
    read_schedule(text + length + 1);
    run_once();
    fprintf(stderr, "simulate: %s ends as it should, after %u steps\n",
            now.program->name, now.count);
}

static void begin(const struct simulate_program *program,
                  const struct simulate_bounds *bounds)
{
    static struct simulate_bounds changed;
    changed = *bounds;
    changed.preemptions = (unsigned)number_from("SIMULATE_PREEMPTIONS",
                                                bounds->preemptions);
    if (changed.preemptions > 16)
        changed.preemptions = 16;
    program_open();
    signal(SIGABRT, on_abort);
    now.program = program;
    now.bounds = &changed;
    now.number = 0;
    now.prefix = 0;
    now.length = 0;
    now.seed = number_from("SIMULATE_SEED", 1);
    explore_delays = bounds->delays;
    explore_early = bounds->early;
    /* What the library remembers of a first time, it remembers now. */
    now.is_replayed = true;
    run_once();
    now.is_replayed = false;
    now.number = 0;
}

static unsigned long limit_of(const struct simulate_bounds *bounds)
{
    if (bounds->schedules)
        return bounds->schedules;
    unsigned long limit = number_from("SIMULATE_SCHEDULES",
                                      SIMULATE_SCHEDULES_USUAL);
    /* All means all; the limit is for those who ask for too much. */
    return bounds->strategy == SIMULATE_EXHAUSTIVE
                   && limit < SIMULATE_SCHEDULES_ALL
               ? SIMULATE_SCHEDULES_ALL
               : limit;
}

struct simulate_result
simulate_explore(const struct simulate_program *program,
                 const struct simulate_bounds *bounds)
{
    const char *text = getenv("SIMULATE_REPLAY");
    unsigned long limit = limit_of(bounds);
    struct simulate_result result = {.is_complete = false};
    begin(program, bounds);
    if (text)
        replay(text);
    else if (bounds->strategy == SIMULATE_EXHAUSTIVE)
        result.is_complete = explore_all(limit);
    else
        while (now.number < limit)
            run_once();
    result.schedules = now.number;
    result.steps_max = now.length;
    return result;
}

static void simulate_with(const struct simulate_program *program,
                          struct simulate_bounds bounds)
{
    struct simulate_result result = simulate_explore(program, &bounds);
    if (getenv("SIMULATE_REPLAY"))
        return;
    printf("%-28s %-10s %u preemptions%s: %lu schedules of up to %u steps\n",
           program->name, strategies[bounds.strategy], now.bounds->preemptions,
           bounds.delays  ? ", delays"
           : bounds.early ? ", early loads"
                          : "",
           result.schedules,
           result.steps_max);
    fflush(stdout);
    if (bounds.strategy == SIMULATE_EXHAUSTIVE && !result.is_complete)
        machine_fail("%s has more schedules than %lu", program->name,
                     result.schedules);
}

/* With stores that are late, or early loads, there is more to choose at each
 * step: make check has time for one preemption less, but for one.  Those who
 * ask for more (STRESS) get as many. */
static unsigned preemptions_with(int memory, unsigned preemptions)
{
    bool is_less = memory > 0 && preemptions > 1 && !getenv("STRESS");
    return preemptions - is_less;
}

void simulate(const struct simulate_program *program, unsigned preemptions)
{
    for (int memory = 0; memory < 3; memory++)
        for (int strategy = 0; strategy < 3; strategy++)
            simulate_with(
                program,
                (struct simulate_bounds){
                    .strategy = (enum simulate_strategy)strategy,
                    .preemptions = preemptions_with(memory, preemptions),
                    .delays = memory == 1,
                    .early = memory == 2,
                });
}
