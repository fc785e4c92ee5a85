/*
 * home_claim.pml - the claim word of a common home.
 *
 * CONTINUATIONS threads share one home, on CARRIERS carriers.  Each runs
 * ROUNDS times: its carrier claims the home, freezes whose frames lie there,
 * thaws its own, runs it, and releases.  Thread 0 does not end: it is
 * dropped when it has yielded for the last time.
 *
 *   claim   0 free, CLAIMED claimed, CLAIMED + 1 + w claimed and w is the
 *           newest of those who wait
 *
 * A frame is stood for by a version that its owner counts up while it runs.
 *
 * Shown, for all orders of events:
 *
 *   two are never mounted at the same time
 *   frames are copied only while nobody runs on the home, by the holder of
 *       the claim, and never those of a dropped thread
 *   who runs finds the frames that it left
 *   no waiter is lost or resubmitted twice; all end, the home is free
 *
 * Each PLANT_* is a bug that the model must find.
 */
#define CONTINUATIONS 3
#define CARRIERS 2
#ifndef ROUNDS
#define ROUNDS 2
#endif
#define CLAIMED 1
#define NOBODY 255

byte claim;
byte next[CONTINUATIONS];  /* the waiters' list */
byte resident = NOBODY;

/* What lies on the home: whose frames, in which version. */
byte place_owner = NOBODY, place_version;

bool queued[CONTINUATIONS];
byte version[CONTINUATIONS];
bool frozen[CONTINUATIONS];
byte chunk[CONTINUATIONS];
bool ended[CONTINUATIONS];
bool droppable;
byte running;              /* threads mounted on the home */
byte copying;              /* carriers that copy */

inline resubmit(t)
{
    atomic {
        assert(!queued[t] && !ended[t]);
        next[t] = 0; /* the run queue's link is the same */
        queued[t] = true
    }
}

/* Compare and swap. */
inline try_claim()
{
#ifdef PLANT_CLAIM_IN_TWO_STEPS
    got = claim == 0;
    if
    :: got -> claim = CLAIMED
    :: else
    fi
#else
    atomic {
        got = claim == 0;
        if
        :: got -> claim = CLAIMED
        :: else
        fi
    }
#endif
}

inline release()
{
#ifdef PLANT_RELEASE_IN_TWO_STEPS
    word = claim;
    claim = 0;
#else
    atomic {
        word = claim;
        claim = 0
    };
#endif
    do
    :: word > CLAIMED ->
        t = word - CLAIMED - 1;
#ifdef PLANT_LINK_READ_LATE
        resubmit(t);
        word = next[t]
#else
        word = next[t];
        resubmit(t)
#endif
    :: else -> break
    od;
    t = 0;
    word = 0
}

inline freeze(r)
{
    copying++;
    assert(copying == 1 && running == 0);
    assert(place_owner == r && !ended[r] && !frozen[r]);
    chunk[r] = place_version;
    frozen[r] = true;
    assert(!ended[r]);
    copying--
}

inline thaw(r)
{
    copying++;
    assert(copying == 1 && running == 0);
    frozen[r] = false;
    place_owner = r;
    place_version = chunk[r];
    copying--
}

proctype carrier()
{
    byte c, t, word;
    bool got;
end_idle:
    atomic {
        queued[0] || queued[1] || queued[2] ->
        t = 0;
        word = 0;
        if
        :: queued[0] -> c = 0
        :: queued[1] -> c = 1
        :: queued[2] -> c = 2
        fi;
        queued[c] = false
    };
try:
    try_claim();
    if
    :: got -> goto claimed
    :: else
    fi;
    word = claim;
wait:
    if
    :: word == 0 -> goto try
    :: else
    fi;
    next[c] = word;
    atomic {
#ifndef PLANT_WAIT_WITHOUT_COMPARING
        if
        :: claim == word ->
            claim = CLAIMED + 1 + c;
            goto end_idle
        :: else -> word = claim
        fi
#else
        claim = CLAIMED + 1 + c;
        goto end_idle
#endif
    };
    goto wait;
claimed:
    if
    :: resident != c ->
        if
        :: resident != NOBODY -> freeze(resident)
        :: else
        fi;
        resident = c
    :: else
    fi;
    if
    :: frozen[c] -> thaw(c)
    :: version[c] == 0 -> atomic { place_owner = c; place_version = 0 }
    :: else
    fi;
    running++;
    assert(running == 1 && copying == 0);
    assert(place_owner == c && place_version == version[c]);
    version[c]++;
    place_version++;
#ifdef PLANT_RELEASE_ON_STACK
    release();
    running--;
#else
    running--;
#endif
    if
    :: version[c] == ROUNDS && c != 0 ->
        ended[c] = true;
        resident = NOBODY;
        release()
    :: else ->
#ifndef PLANT_RELEASE_ON_STACK
        release();
#endif
        if
        :: version[c] == ROUNDS -> droppable = true
        :: else -> resubmit(c)
        fi
    fi;
    goto end_idle
}

/* Destroys thread 0, whose frames may lie there or be frozen.  Who holds
 * the claim has copied them when another is the resident. */
proctype dropper()
{
    byte t, word;
    bool got;
    droppable;
    do
    :: try_claim();
       if
       :: got -> break
#ifdef PLANT_DROPPED_WHILE_COPIED
       :: else -> goto gone
#else
       :: else ->
           if
           :: resident != 0 -> goto gone
           :: claim == 0
           fi
#endif
       fi
    od;
    if
#ifndef PLANT_DROPPED_RESIDENT
    :: resident == 0 -> resident = NOBODY
#endif
    :: else
    fi;
    release();
gone:
    ended[0] = true
}

proctype quiescent()
{
    atomic {
        timeout ->
        assert(ended[0] && ended[1] && ended[2]);
        assert(claim == 0 && running == 0 && copying == 0)
    }
}

init {
    atomic {
        queued[0] = true;
        queued[1] = true;
        queued[2] = true;
        run carrier();
        run carrier();
        run dropper();
        run quiescent()
    }
}
