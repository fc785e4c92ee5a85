/*
 * park_unpark.pml - the word of a thread: parking, waking, timers.
 *
 * One thread on two carriers does WAITS waits of any kind one after the
 * other: parks for its permit, and waits in a list, each with or without
 * deadline, heeding interrupts or not.  Around it: one that unparks, one
 * that interrupts, one that takes it from the list and wakes it, and the
 * timer wheel.
 *
 * The flags of the word are variables of their own here.  What the code does
 * in a loop of load and compare-and-swap is one atomic step: a loop that
 * fails has changed nothing, and what it decides it decides on the value
 * that the swap confirms.
 *
 * Shown, for all orders of events:
 *
 *   a thread is resumed at most once for each suspend, and never while it
 *       is still on its stack                               (resubmit)
 *   an old timer never ends a later wait                    (wheel)
 *   a permit given is taken or still there                  (quiescent)
 *   a wake-up is consumed by exactly one wait               (quiescent)
 *   ECANCELED consumes exactly one interrupt                (quiescent)
 *   nobody sleeps who has been woken, timed out or interrupted, and there
 *       is no deadlock                                      (quiescent)
 *
 * Each PLANT_* is a bug that the model must find.
 */
#ifndef WAITS
#define WAITS 3
#endif

/* What a wait is like. */
bool by_list, cancellable_wait, with_deadline;

/* The word. */
bool parked, waiting, permit, woken, timed_out, interrupt, cancellable, timed;

/* The thread's place in the machine. */
bool queued;      /* on a run queue */
byte mounted;     /* carriers on its stack, or with the right to mount it */
bool on_stack;    /* its registers are in a processor, not on its stack */
bool in_wait;     /* inside of the current wait */
bool ended;
byte wait_number; /* which wait this is */

/* The wheel. */
bool wheel_lock, armed;
byte armed_for;   /* the wait that armed it */

/* The list it waits in. */
bool list_lock, on_list;

/* Books. */
byte given, taken;         /* permits */
byte wakes, wakes_taken;   /* thread_wake */
byte interrupts, canceled; /* interrupts seen, not merged with one before */

mtype = { NONE, WOKE, TIMEDOUT, CANCELED };

#define LOCK(l)   atomic { !l -> l = true }
#define UNLOCK(l) l = false

/* The one who ended the wait makes the thread run. */
inline resubmit()
{
    assert(!queued && mounted == 0 && !on_stack && !ended);
    queued = true
}

/* The wait has ended: nothing of it may stay in the word. */
inline end_wait()
{
    parked = false;
    waiting = false
}

/* ---- Those around it ---------------------------------------------------- */

proctype unparker()
{
    byte i;
    for (i : 1 .. 2) {
        atomic {
            if
            :: permit
            :: parked ->
                end_wait();
                cancellable = false;
                given++;
                resubmit()
            :: else ->
                permit = true;
                given++
            fi
        }
    }
}

proctype interrupter()
{
    atomic {
        if
        :: interrupt
        :: else ->
            interrupt = true;
            interrupts++;
            if
            :: (parked || waiting) && cancellable ->
                /* CANCELLABLE stays: it says who ended the wait. */
                end_wait();
                resubmit()
            :: else
            fi
        fi
    }
}

/* Takes the thread from the list, under its lock, and wakes it. */
proctype waker()
{
    byte i;
    for (i : 1 .. 2) {
end_idle:
        atomic { on_list && !list_lock -> list_lock = true };
        on_list = false;
        wakes++;
        UNLOCK(list_lock);
        atomic {
            if
            :: waiting ->
                end_wait();
                cancellable = false;
                resubmit()
            :: else ->
                assert(!woken);
                woken = true
            fi
        }
    }
}

/* Time passes when it likes, so a deadline may come at any moment. */
proctype wheel()
{
end_idle:
    do
    :: armed ->
       LOCK(wheel_lock);
       if
       :: armed ->
           armed = false;
           atomic {
               if
               :: parked || waiting ->
                   assert(armed_for == wait_number);
                   end_wait();
                   cancellable = false;
                   timed_out = true;
                   resubmit()
               :: else ->
#ifndef PLANT_TIMER_FORGETS
                   /* Not parked yet, or woken already: it has gone off,
                    * and whoever parks or resumes the thread sees that. */
                   timed = false
#else
                   skip
#endif
               fi
           }
       :: else
       fi;
       UNLOCK(wheel_lock)
    od
}

/* ---- The thread and its carriers ---------------------------------------- */

/* On the thread, at the start of a wait.  `result` is NONE if it must leave
 * its stack. */
inline begin_wait()
{
    wait_number++;
    if
    :: by_list = false
    :: by_list = true
    fi;
    if
    :: cancellable_wait = false
    :: cancellable_wait = true
    fi;
    if
    :: with_deadline = false
    :: with_deadline = true
    fi;
    in_wait = true;
    result = NONE;
    if
    :: by_list ->
        LOCK(list_lock);
        on_list = true;
        UNLOCK(list_lock)
    :: else
    fi;
    atomic {
        if
        :: !by_list && permit ->
            permit = false;
            result = WOKE
        :: by_list && woken ->
            woken = false;
            result = WOKE
        :: else ->
            if
            :: cancellable_wait && interrupt ->
                interrupt = false;
                result = CANCELED
            :: else
            fi
        fi
    };
    if
    :: result == NONE && with_deadline ->
        timed = true;
        LOCK(wheel_lock);
        armed = true;
        armed_for = wait_number;
        UNLOCK(wheel_lock)
    :: else
    fi
}

/* On the carrier, which has left the thread's stack: makes it parked, or
 * finds that the wait is over.  In the first case the thread may be running
 * elsewhere in the next instant. */
inline publish()
{
    atomic {
        if
#ifndef PLANT_NO_SECOND_LOOK
        :: !by_list && permit ->
            permit = false;
            result = WOKE
#endif
        :: by_list && woken ->
            woken = false;
            result = WOKE
        :: else ->
            if
            :: cancellable_wait && interrupt ->
                interrupt = false;
                result = CANCELED
            :: else ->
                if
                :: with_deadline && !timed -> result = TIMEDOUT
                :: else ->
                    parked = !by_list;
                    waiting = by_list;
                    cancellable = cancellable_wait;
                    mounted--
                fi
            fi
        fi
    }
}

/* On the carrier that took the thread from its queue: why it runs. */
inline why()
{
    atomic {
        if
        :: timed_out ->
            timed_out = false;
            result = TIMEDOUT
#ifndef PLANT_INTERRUPT_EATS_PERMIT
        :: cancellable && interrupt ->
#else
        :: !timed_out && cancellable_wait && interrupt ->
#endif
            interrupt = false;
            result = CANCELED
        :: else -> result = WOKE
        fi;
        cancellable = false
    }
}

/* Before it is mounted: this deadline must not reach a later wait. */
inline cancel_timer()
{
    if
    :: timed ->
#ifndef PLANT_NO_CANCEL
        LOCK(wheel_lock);
        armed = false;
        UNLOCK(wheel_lock);
#endif
        timed = false
    :: else
    fi
}

/* On the thread: one that was thrown out of a list takes itself out.  If it
 * is not there any more a wake-up is certain and must be consumed: outcome
 * becomes NONE, and an interrupt is given back. */
inline leave_list()
{
    outcome = result;
    if
    :: by_list && result != WOKE ->
        LOCK(list_lock);
        if
        :: on_list -> on_list = false
        :: else -> outcome = NONE
        fi;
        UNLOCK(list_lock)
    :: else
    fi;
#ifndef PLANT_LOST_INTERRUPT
    if
    :: outcome == NONE && result == CANCELED ->
        atomic {
            if
            :: interrupt -> interrupts-- /* merged with a later one */
            :: else -> interrupt = true
            fi
        }
    :: else
    fi
#endif
}

proctype carrier()
{
    mtype result, outcome;
end_idle:
    atomic {
        queued -> queued = false;
        mounted++;
        assert(mounted == 1 && !on_stack)
    };
    why();
    if
    :: !in_wait -> goto mount /* its first run */
    :: else
    fi;
resume:
    cancel_timer();
mount:
    on_stack = true;
    if
    :: in_wait -> goto woken_up
    :: else
    fi;
next:
    if
    :: wait_number == WAITS ->
        ended = true;
        on_stack = false;
        mounted--;
        goto end_idle
    :: else
    fi;
    begin_wait();
    if
    :: result != NONE -> goto woken_up
    :: else
    fi;
leave:
#ifdef PLANT_PUBLISH_ON_STACK
    publish();
    on_stack = false;
#else
    on_stack = false;
    publish();
#endif
    if
    :: result == NONE -> goto end_idle
    :: else -> goto resume
    fi;
woken_up:
    leave_list();
    if
    :: outcome == NONE ->
        /* thread_wait_out: heeds neither deadline nor interrupt. */
        with_deadline = false;
        cancellable_wait = false;
        result = NONE;
        atomic {
            if
            :: woken -> woken = false; result = WOKE
            :: else
            fi
        };
        if
        :: result == NONE -> goto leave
        :: else -> goto woken_up
        fi
    :: outcome == WOKE && !by_list -> taken++
    :: outcome == WOKE && by_list -> wakes_taken++
    :: outcome == CANCELED -> canceled++
    :: outcome == TIMEDOUT
    fi;
    in_wait = false;
    goto next
}

/* When nothing moves any more, everything must be accounted for. */
proctype quiescent()
{
    atomic {
        timeout ->
        assert(!queued && mounted == 0);
        assert(given == taken + permit);
        assert(wakes == wakes_taken + woken);
        assert(interrupts == canceled + interrupt);
        assert(!woken || !in_wait);
        assert(!timed || ended || parked || waiting);
        assert(ended || parked || waiting);
        assert(!(parked && permit));
        assert(!(waiting && woken));
        assert(!((parked || waiting) && cancellable && interrupt));
        assert(!((parked || waiting) && with_deadline))
    }
}

init {
    atomic {
        queued = true;
        run carrier();
        run carrier();
        run unparker();
        run interrupter();
        run waker();
        run wheel();
        run quiescent()
    }
}
