/*
 * call_retake.pml - a carrier in a foreign call, and who takes its place.
 *
 * One place (parallelism is 1), two carriers, the monitor.  The first runs a
 * thread that makes CALLS calls, each of a kind of its choice: handed off at
 * once, or only marked.  Before a call, or inside, it adds a task: to its
 * slot for the task woken last, to its queue, to the submission queue; so
 * may somebody outside.  Then the call may block until all tasks that were
 * added have run.  The second carrier sleeps until it is woken.  A retaken
 * call has a slot, and there is one.
 *
 * What goes on between the two who leave and retake is modelled step by
 * step; sleeping and waking is coarser than in sleep_wake.pml.  Somebody
 * looks meanwhile whether all is quiet (pool_is_quiet).
 *
 * Shown, for all orders of events:
 *
 *   no call waits for ever for a task that nobody runs  (invalid end state)
 *   in the end nobody is counted as awake, the slots are all free, no task is
 *       left                                            (quiescent)
 *   who finds all quiet is right: at that moment nobody ran or was in a call
 *
 * Each PLANT_* is a bug that the model must find.
 */
#ifndef CALLS
#define CALLS 2
#endif
#define PARALLELISM 1

#define OUT 0
#define IN 1
#define HANDED 2

/* The word: */
byte number, state;

byte awake = 1, slots = 1;
bool lock;
byte tick;               /* of both */
bool next;
byte queue, submissions; /* tasks in them */
byte added, ran;
bool idle = true, signalled; /* the second carrier */
bool lives = true, other_lives;
bool is_over;

#define HAS_WORK (queue + submissions > 0)

/* pool_wake_if_needed: the look, and then the rest under the lock. */
inline wake_if_needed()
{
    if
    :: awake < PARALLELISM ->
        atomic {
            !lock ->
            if
            :: awake < PARALLELISM && idle ->
                awake++;
                idle = false;
                other_lives = true;
                signalled = true
            :: else
            fi
        }
    :: else
    fi
}

/* ---- The carrier in calls ----------------------------------------------- */

inline add_task_before()
{
    if
    :: added < 2 && !next -> atomic { added++; next = true }
    :: added < 2 -> atomic { added++; queue++ }; wake_if_needed()
    :: skip
    fi
}

inline add_task_inside()
{
    if
    :: added < 2 -> atomic { added++; submissions++ }; wake_if_needed()
    :: skip
    fi
}

inline leave_count()
{
    atomic {
        if
        :: next -> next = false; queue++
        :: else
        fi
    };
    awake--;
    if
    :: HAS_WORK -> wake_if_needed()
    :: else
    fi
}

inline leave()
{
#ifdef PLANT_LEAVE_IN_TWO_STEPS
    was_in = state == IN;
    if
    :: was_in -> state = OUT
    :: else
    fi;
#else
    atomic {
        was_in = state == IN;
        if
        :: was_in -> state = OUT
        :: else
        fi
    };
#endif
    if
    :: !was_in ->
#ifdef PLANT_OUT_BEFORE_AWAKE
        state = OUT;
        awake++;
        tick++;
#else
        awake++;
        tick++;
        state = OUT;
#endif
        slots++
    :: else
    fi;
    was_in = false
}

proctype caller()
{
    byte i;
    bool was_in;
    for (i : 1 .. CALLS) {
        add_task_before();
        if
        :: atomic { number++; state = IN }
        :: atomic { slots > 0 -> slots--; number++; state = HANDED };
           leave_count()
        fi;
        add_task_inside();
        if
        :: skip -> ran == added
        :: skip
        fi;
        leave()
    }
    /* Its thread has ended.  What is left it runs itself, surplus or not. */
    atomic {
        if
        :: next -> next = false; ran++
        :: else
        fi
    };
again:
    atomic {
        if
        :: queue > 0 -> queue--; tick++; ran++; goto again
        :: queue == 0 && submissions > 0 ->
            submissions--; tick++; ran++; goto again
        :: else
        fi
    };
    atomic { !lock -> awake--; lives = false };
    if
    :: HAS_WORK && awake < PARALLELISM ->
        atomic { !lock -> awake++; lives = true };
        goto again
    :: else
    fi;
    is_over = true
}

/* ---- The other carrier -------------------------------------------------- */

proctype other()
{
end_asleep:
    atomic { signalled -> signalled = false };
search:
    atomic {
        if
        :: queue > 0 -> queue--; tick++; ran++; goto search
        :: queue == 0 && submissions > 0 ->
            submissions--; tick++; ran++; goto search
        :: else
        fi
    };
    atomic { !lock -> awake--; idle = true; other_lives = false };
    if
    :: HAS_WORK && awake < PARALLELISM ->
        atomic {
            !lock ->
            if
            :: idle -> idle = false; awake++; other_lives = true
            :: else /* woken meanwhile */
            fi
        };
        signalled = false;
        goto search
    :: else
    fi;
    goto end_asleep
}

proctype outsider()
{
    atomic { added < 3 -> added++; submissions++ };
    wake_if_needed()
}

/* ---- The monitor -------------------------------------------------------- */

inline retake()
{
    slots--;
#ifndef PLANT_NEXT_IS_LEFT
    atomic {
        if
        :: next -> next = false; submissions++
        :: else
        fi
    };
#endif
    awake--;
#ifndef PLANT_NO_LOOK_AFTER
    if
    :: HAS_WORK -> wake_if_needed()
    :: else
    fi
#endif
}

proctype monitor()
{
    byte seen, last;
    bool is_same;
end_look:
    do
    :: is_over -> break
    :: state == IN && awake >= PARALLELISM && (HAS_WORK || next) ->
        seen = number;
        if
        :: seen == last ->
#ifdef PLANT_RETAKE_BY_A_STORE
            state = HANDED;
            is_same = true;
#else
            atomic {
                is_same = state == IN && number == seen;
                if
                :: is_same -> state = HANDED
                :: else
                fi
            };
#endif
            if
            :: is_same -> retake()
            :: else
            fi
        :: else -> last = seen
        fi
    /* Work, and a free place. */
    :: HAS_WORK && awake < PARALLELISM && idle -> wake_if_needed()
    od
}

/* ---- Is all quiet? ------------------------------------------------------ */

proctype looker()
{
    byte before, after;
    bool quiet, alive;
    atomic { !lock -> lock = true };
    before = tick;
    atomic { quiet = awake == 0; alive = lives || other_lives };
#ifndef PLANT_CALLS_COUNT_AS_QUIET
    quiet = quiet && state != HANDED;
#endif
#ifndef PLANT_ONE_LOOK_AT_TICKS
    after = tick;
    quiet = quiet && after == before;
#endif
    assert(!quiet || !alive);
    lock = false
}

proctype quiescent()
{
    atomic {
        timeout ->
        assert(is_over && awake == 0 && slots == 1 && state == OUT);
        assert(!next && !HAS_WORK && ran == added)
    }
}

init {
    atomic {
        run caller();
        run other();
        run outsider();
        run monitor();
        run looker();
        run quiescent()
    }
}
