/*
 * request.pml - a detached call: whose the block is, when the caller's wait
 * may end early at any moment.
 *
 * One caller and one worker; the queue holds the one job.  The caller submits
 * it, waits, and is woken, or finds that its wait has ended early.  It may be
 * interruptible, in which case it waits for the end even so.
 *
 *     the caller, its wait having           the worker
 *     ended early
 *     1. in the queue? out, free            1. out of the queue
 *     2. WAITING -> ABANDONED? gone         2. WAITING -> RUNNING?
 *     3. RUNNING -> ABANDONED? gone            else free
 *     4. DONE: the wake-up comes, wait      3. the call
 *        for it, free                       4. RUNNING -> DONE? wake
 *                                              else free
 *
 * Shown: the block is freed once, by the last to touch it; a call that the
 * caller took for not begun is not made; no wake-up is left over, which would
 * end another wait.
 *
 * Each PLANT_* is a bug that the model must find.
 */
mtype = { WAITING, RUNNING, DONE, ABANDONED };

mtype word = WAITING;
bool queued, freed, made, woken;
bool caller_left, not_begun, succeeded, is_interruptible;

#define TOUCH    assert(!freed)
#define FREE     atomic { assert(!freed); freed = true }

/* thread_wake, thread_wait_out. */
#define WAKE     atomic { assert(!woken && !caller_left); woken = true }
#define WAIT_OUT atomic { woken -> woken = false }

/* A compare-and-swap. */
#define CHANGE(from, to, result)                                             \
    atomic {                                                                 \
        TOUCH;                                                               \
        if                                                                   \
        :: word == from -> word = to; result = true                          \
        :: else -> result = false                                            \
        fi                                                                   \
    }

proctype caller()
{
    bool changed, removed;
    if
    :: is_interruptible = true
    :: is_interruptible = false
    fi;
    queued = true;
    if
    :: WAIT_OUT -> goto success
    :: true /* cancelled, or the deadline */
    fi;
#ifdef PLANT_CHANGE_BEFORE_REMOVE
    CHANGE(WAITING, ABANDONED, changed);
    if
    :: changed -> not_begun = true
    :: else
    fi;
#endif
    atomic {
        TOUCH;
        removed = queued;
        queued = false
    };
    if
    :: removed -> FREE; goto left
    :: else
    fi;
#ifdef PLANT_CHANGE_BEFORE_REMOVE
    if
    :: changed -> goto left
    :: else
    fi;
#endif
    CHANGE(WAITING, ABANDONED, changed);
    if
    :: changed -> not_begun = true; goto left
    :: else
    fi;
    if
    :: is_interruptible -> TOUCH /* fire */
    :: else ->
#ifdef PLANT_STORE_ABANDONED
        TOUCH;
        word = ABANDONED;
        goto left;
#endif
        CHANGE(RUNNING, ABANDONED, changed);
        if
        :: changed -> goto left
        :: else
        fi
    fi;
#ifndef PLANT_NO_WAIT_OUT
    WAIT_OUT;
#endif
success:
    atomic { TOUCH; assert(made); succeeded = true };
    FREE;
left:
    caller_left = true
}

proctype worker()
{
    bool changed, taken;
    atomic {
        if
        :: queued -> queued = false; taken = true
        :: caller_left && !queued -> skip
        fi
    };
    if
    :: !taken -> goto ended
    :: else
    fi;
#ifdef PLANT_BEGIN_UNSEEN
    TOUCH;
    word = RUNNING;
#else
    CHANGE(WAITING, RUNNING, changed);
    if
    :: !changed -> FREE; goto ended
    :: else
    fi;
#endif
    TOUCH;
    atomic { assert(!not_begun); made = true };
    TOUCH;
    CHANGE(RUNNING, DONE, changed);
    if
    :: changed -> WAKE
    :: else -> FREE
    fi;
ended:
    skip
}

proctype quiescent()
{
    atomic {
        timeout ->
        assert(caller_left && freed && !queued && !woken)
    }
}

init {
    atomic {
        run caller();
        run worker();
        run quiescent()
    }
}
