/*
 * sleep_wake.pml - idle carriers sleep, and no wake-up is lost.
 *
 * Who adds work: one carrier that is busy for ever and pushes to its own
 * queue, by plain stores, and a thread outside that pushes to the submission
 * queue.  Who sleeps: two carriers, which search, run what they find (for a
 * moment, or for ever) and go to sleep.  Now and then one wakes without a
 * cause.  No further carrier can be started.
 *
 *     who adds                          who goes to sleep
 *     1. task into a queue              1. searching--, idle++, awake--
 *     2. full fence             (B)     2. full fence                (A)
 *     3. nobody searching and           3. any queue not empty?
 *        awake < parallelism?              then off the list, search
 *        wake one                       4. sleep until signalled
 *
 * Store buffers are explicit.  What is stored is seen by others when it
 * leaves the buffer, at any time later; a fence waits until the buffer is
 * empty.  For the pusher that is TSO.  The sleeper's announcement is a
 * buffered store too, though the code makes it with read-modify-writes
 * under a lock: processors with weaker rules let the loads of step 3 pass
 * them.
 *
 * Shown: when nothing moves any more there is not work, a sleeper and a
 * free place all at once.
 *
 * Each PLANT_* is a bug that the model must find.
 */
#ifndef PARALLELISM
#define PARALLELISM 3
#endif
#ifndef OWN_TASKS
#define OWN_TASKS 1
#endif
#ifndef OUTER_TASKS
#define OUTER_TASKS 1
#endif
#define NOBODY 2

bool lock;
byte awake = 3; /* the busy one, and both that search */
byte searching;
byte queue, submissions;
byte buffered_pushes;      /* of the busy one */

/* Of the two that sleep. */
bool buffered_idle[2];
bool idle[2], is_searching[2], signal[2];

#define LOCK   atomic { !lock -> lock = true }
#define UNLOCK lock = false

/* What a processor does by itself. */
proctype store_buffers()
{
end_empty:
    do
    :: atomic { buffered_pushes > 0 -> buffered_pushes--; queue++ }
    :: atomic { buffered_idle[0] && !lock ->
           buffered_idle[0] = false;
           idle[0] = true;
           awake-- }
    :: atomic { buffered_idle[1] && !lock ->
           buffered_idle[1] = false;
           idle[1] = true;
           awake-- }
    od
}

/* pool_wake_if_needed, pool_wake_one. */
inline wake_if_needed()
{
    do
    :: if
       :: awake >= PARALLELISM -> break
       :: else
       fi;
       atomic {
           if
           :: searching == 0 -> searching = 1
           :: else -> break
           fi
       };
       LOCK;
       has_place = awake < PARALLELISM;
       if
       :: has_place -> awake++
       :: else
       fi;
       atomic {
           if
           :: has_place && idle[0] -> who = 0
           :: has_place && idle[1] -> who = 1
           :: else -> who = NOBODY
           fi;
           if
           :: who != NOBODY ->
               idle[who] = false;
               is_searching[who] = true
           :: else
           fi;
           UNLOCK
       };
       if
       :: who != NOBODY ->
           atomic { signal[who] = true; who = 0; has_place = false };
           break
       :: else
       fi;
       /* No place, or nobody to wake and no other to be started.  Those who
        * saw `searching` meanwhile relied on this. */
       if
       :: has_place -> atomic { awake--; has_place = false }
       :: else
       fi;
       searching--;
#ifdef PLANT_FAILED_WAKE_FORGETS
       break
#else
       if
       :: !idle[0] && !idle[1] -> break
       :: else
       fi;
       if
       :: submissions == 0 ->
           if
           :: queue == 0 -> break
           :: else
           fi
       :: else
       fi
#endif
    od
}

proctype busy_carrier()
{
    byte i, who;
    bool has_place;
    for (i : 1 .. OWN_TASKS) {
        buffered_pushes++;
#ifndef PLANT_NO_FENCE_B
        buffered_pushes == 0;
#endif
        wake_if_needed()
    }
}

proctype outsider()
{
    byte i, who;
    bool has_place;
    for (i : 1 .. OUTER_TASKS) {
        submissions++; /* a read-modify-write: a fence as well */
        wake_if_needed()
    }
}

proctype sleeper(byte me)
{
    byte who;
    bool has_place, found, was_last;
again:
    if
    :: !is_searching[me] ->
        atomic { is_searching[me] = true; searching++ }
    :: else
    fi;
    atomic {
        if
        :: submissions > 0 -> submissions--; found = true
        :: else
        fi
    };
    atomic {
        if
        :: !found && queue > 0 -> queue--; found = true
        :: else
        fi
    };
    if
    :: found ->
        atomic {
            is_searching[me] = false;
            searching--;
            was_last = searching == 0;
            found = false
        };
#ifndef PLANT_LAST_SEARCHER_SILENT
        if
        :: was_last -> was_last = false; wake_if_needed()
        :: else
        fi;
#endif
        if
        :: goto again
        :: goto end_busy
        fi
    :: else
    fi;
    atomic { is_searching[me] = false; searching-- };
    atomic { signal[me] = false; buffered_idle[me] = true };
#ifndef PLANT_NO_FENCE_A
    !buffered_idle[me];
#endif
    if
    :: awake < PARALLELISM ->
        if
        :: submissions > 0 -> goto wake_up
        :: else
        fi;
        if
        :: queue > 0 -> goto wake_up
        :: else
        fi
    :: else
    fi;
end_asleep:
    signal[me];
wake_up:
    atomic {
        !buffered_idle[me] && !lock ->
        if
        :: idle[me] -> idle[me] = false; awake++
        :: else
        fi
    };
    goto again;
end_busy:
    false
}

/* A timer, or the monitor. */
proctype nobody_in_particular()
{
    if
    :: idle[0] -> signal[0] = true
    :: idle[1] -> signal[1] = true
    :: skip
    fi
}

proctype quiescent()
{
    atomic {
        timeout ->
        assert(searching == 0 && buffered_pushes == 0);
        assert(!(queue + submissions > 0 && awake < PARALLELISM
                 && (idle[0] || idle[1])))
    }
}

init {
    atomic {
        run store_buffers();
        run busy_carrier();
        run outsider();
        run sleeper(0);
        run sleeper(1);
#ifndef CALM
        run nobody_in_particular();
#endif
        run quiescent()
    }
}
