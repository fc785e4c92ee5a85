/*
 * park_unpark.pml - the word of a thread: parking, waking, timers.
 *
 * One thread on two carriers does WAITS waits of any kind one after the
 * other: parks for its permit, and waits in a list, each with or without
 * deadline, heeding interrupts or not.  Around it: one that unparks, one
 * that interrupts, one that cancels for good, one that takes it from the
 * list and wakes it, and the timer wheel.
 *
 * A thread that has disabled cancellation publishes CANCELLABLE all the
 * same, and whoever would end its wait looks at MASKED in the same step.
 * MASKED does not change during a wait, so for the word that is the same as
 * a wait that is not cancellable, and is not modelled apart.
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
 *   once canceled, no cancellable wait waits                (publish)
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

/* The word: THREAD_PARKED and so on of src/thread.h. */
bool parked, waiting, permit, woken, cancellable, timed, armed;
bool timed_out, canceled_wait; /* THREAD_TIMEOUT, THREAD_CANCELED */
bool interrupt;
bool cancel;               /* THREAD_CANCEL: stays */
bool is_canceled;          /* it has been asked for */

/* The thread's place in the machine. */
bool queued;      /* on a run queue */
byte mounted;     /* carriers on its stack, or with the right to mount it */
bool on_stack;    /* its registers are in a processor, not on its stack */
bool in_wait;     /* inside of the current wait */
bool ended;
byte wait_number; /* which wait this is */

/* The wheel. */
bool wheel_lock, in_wheel;
byte armed_for;   /* the wait that armed it */

/* The list it waits in. */
bool list_lock, on_list;

/* Books. */
byte given, taken;         /* permits */
byte wakes, wakes_taken;   /* thread_wake */
byte interrupts, canceled; /* interrupts seen, not merged with one before */
bool by_cancel;            /* CANCELED without an interrupt being consumed */

mtype = { NONE, WOKE, TIMEDOUT, CANCELED };

#define LOCK(l)   atomic { !l -> l = true }
#define UNLOCK(l) l = false

/* The one who ended the wait makes the thread run. */
inline resubmit()
{
    assert(!queued && mounted == 0 && !on_stack && !ended);
    queued = true
}

/* The wait has ended. */
inline end_wait()
{
    parked = false;
    waiting = false;
    cancellable = false
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
        :: (parked || waiting) && cancellable ->
            interrupts++;
            end_wait();
#ifndef PLANT_INTERRUPT_LEAVES_NO_TRACE
            canceled_wait = true;
#else
            interrupt = true;
#endif
            resubmit()
        :: else ->
            if
            :: interrupt
            :: else ->
                interrupt = true;
                interrupts++
            fi
        fi
    }
}

proctype canceller()
{
    atomic {
        if
        :: (parked || waiting) && cancellable ->
            end_wait();
            canceled_wait = true;
            by_cancel = true;
#ifndef PLANT_CANCEL_ONLY_ONCE
            cancel = true;
#endif
            resubmit()
        :: else -> cancel = true
        fi;
        is_canceled = true
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
    :: in_wheel ->
       LOCK(wheel_lock);
       if
       :: in_wheel ->
           atomic {
               if
               :: parked || waiting ->
                   assert(armed_for == wait_number);
                   end_wait();
                   timed_out = true;
                   resubmit()
               :: else ->
#ifndef PLANT_TIMER_FORGETS
                   if
                   :: armed -> timed_out = true
                   :: else
                   fi
#else
                   skip
#endif
               fi
           };
           in_wheel = false
       :: else
       fi;
       UNLOCK(wheel_lock)
    od
}

/* ---- The thread and its carriers ---------------------------------------- */

/* What ends a wait before it begins, on the thread or on its carrier: sets
 * result, and the word as it is when the thread goes on. */
inline take_what_is_there()
{
    if
    :: !by_list && permit ->
        permit = false;
        result = WOKE
    :: by_list && woken ->
        woken = false;
        result = WOKE
    :: else ->
        if
        :: timed_out && armed -> result = TIMEDOUT
        :: else ->
            if
            :: cancellable_wait && interrupt ->
                interrupt = false;
                result = CANCELED
            :: cancellable_wait && !interrupt && cancel ->
                by_cancel = true;
                result = CANCELED
            :: else
            fi
        fi
    fi;
    if
    :: result != NONE ->
        armed = false;
        timed_out = result == TIMEDOUT;
        canceled_wait = result == CANCELED
    :: else
    fi
}

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
    atomic { take_what_is_there() }
}

/* On the carrier, which has left the thread's stack. */
inline arm()
{
    if
    :: with_deadline ->
        atomic {
            timed_out = false;
            canceled_wait = false;
            armed = true;
            timed = true
        };
        LOCK(wheel_lock);
        in_wheel = true;
        armed_for = wait_number;
        UNLOCK(wheel_lock)
    :: else
    fi
}

/* Makes the thread parked, or finds that the wait is over.  In the first
 * case it may be running elsewhere in the next instant. */
inline publish()
{
    atomic {
#ifdef PLANT_NO_SECOND_LOOK
        if
        :: !by_list && permit -> result = NONE
        :: else -> take_what_is_there()
        fi;
#else
        take_what_is_there();
#endif
        if
        :: result == NONE ->
            assert(!(cancellable_wait && is_canceled));
            armed = false;
            timed_out = false;
            canceled_wait = false;
            parked = !by_list;
            waiting = by_list;
            cancellable = cancellable_wait;
            mounted--
        :: else
        fi
    }
}

/* On the carrier that took the thread from its queue: why it runs.  What it
 * reads stays in the word until the next wait. */
inline why()
{
    atomic {
        if
        :: canceled_wait -> result = CANCELED
        :: timed_out -> result = TIMEDOUT
#ifdef PLANT_INTERRUPT_LEAVES_NO_TRACE
        :: !timed_out && cancellable_wait && interrupt ->
            interrupt = false;
            result = CANCELED
#endif
        :: else -> result = WOKE
        fi
    }
}

/* Before it is mounted: this deadline must not reach a later wait. */
inline cancel_timer()
{
    if
    :: timed ->
#ifndef PLANT_NO_CANCEL
        LOCK(wheel_lock);
        in_wheel = false;
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
    :: outcome == NONE && result == CANCELED && by_cancel ->
        /* The code leaves an interrupt here too; beside CANCEL nobody can
         * tell. */
        by_cancel = false
    :: outcome == NONE && result == CANCELED && !by_cancel ->
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
resume:
    why();
    cancel_timer();
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
    arm();
    publish();
    on_stack = false;
#else
    on_stack = false;
    arm();
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
    :: outcome == CANCELED && by_cancel -> by_cancel = false
    :: outcome == CANCELED && !by_cancel -> canceled++
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
        run canceller();
        run waker();
        run wheel();
        run quiescent()
    }
}
