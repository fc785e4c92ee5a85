/*
 * forked_deque.pml - the deque of forked tasks: its owner takes the newest,
 * thieves take the oldest, and no task is taken twice.
 *
 *     the owner takes the newest        a thief takes the oldest
 *     1. tail--                         1. looks at head
 *     2. full fence             (E)     2. full fence                (F)
 *     3. looks at head                  3. looks at tail
 *     4. below tail: it is the          4. below tail: reads the slot,
 *        owner's; at tail: moves           moves head by compare-and-
 *        head by compare-and-swap          swap
 *
 * The owner pushes, pops the newest and pops the oldest in every order; two
 * thieves steal one at a time.  Not here: that the ring grows and wraps.
 *
 * The owner's store buffer is explicit, as of x86: what it stores in tail and
 * in slots is seen by the thieves when it leaves the buffer, in order, at any
 * time later.  An exchange, a compare-and-swap and a full fence wait until it
 * is empty.  Nobody else writes these, so the owner itself reads its own copy.
 * Thieves store by compare-and-swap only, and have no buffer.  Their loads are
 * in order on x86; that they are not elsewhere is the bug without fence F.
 *
 * Shown: each task is taken once, or is there in the end, in its slot.
 *
 * Each PLANT_* is a bug that the model must find.
 */
#ifndef TASKS
#define TASKS 4
#endif
#define TAIL 255
#define NONE 255

/* What all see. */
byte head, tail;
byte slots[TASKS];

/* The owner's. */
chan buffer = [4] of { byte, byte }; /* TAIL or the slot; what is stored */
byte own_tail, pushed;
byte own_slots[TASKS];

bool taken[TASKS];
byte ended;

inline take(task)
{
    d_step {
        assert(task < TASKS);
        assert(!taken[task]);
        taken[task] = true;
        task = 0
    }
}

/* What a processor does by itself. */
proctype store_buffer()
{
    byte where, what;
end_empty:
    do
    :: atomic {
           buffer ? where, what ->
           if
           :: where == TAIL -> tail = what
           :: else -> slots[where] = what
           fi;
           where = 0;
           what = 0
       }
    od
}

/* deque_push */
inline push()
{
    own_slots[own_tail] = pushed;
#ifdef PLANT_TAIL_BEFORE_SLOT
    buffer ! TAIL, own_tail + 1;
    buffer ! own_tail, pushed;
#else
    buffer ! own_tail, pushed;
    buffer ! TAIL, own_tail + 1;
#endif
    d_step { own_tail++; pushed++ }
}

/* Moves head from h; moved says whether it was there. */
inline compare_and_swap(h)
{
    d_step {
        moved = head == h;
        if
        :: moved -> head++
        :: else
        fi
    }
}

/* deque_pop_newest */
inline pop_newest()
{
    own_tail--;
#ifdef PLANT_NO_FENCE_E
    buffer ! TAIL, own_tail;
#else
    atomic { empty(buffer) -> tail = own_tail };
#endif
    h = head;
    if
    :: h < own_tail ->
        task = own_slots[own_tail];
        take(task)
    :: h == own_tail ->
        task = own_slots[own_tail];
#ifdef PLANT_LAST_UNCONTESTED
        atomic { empty(buffer); head = h + 1; moved = true };
#else
        atomic { empty(buffer); compare_and_swap(h) };
#endif
        if
        :: moved -> take(task)
        :: else
        fi;
        own_tail++;
        buffer ! TAIL, own_tail
    :: else ->
        own_tail++;
        buffer ! TAIL, own_tail
    fi
}

/* deque_pop */
inline pop_oldest()
{
    task = own_slots[h];
    atomic { empty(buffer); compare_and_swap(h) };
    if
    :: moved -> take(task)
    :: else
    fi
}

proctype owner()
{
    byte h, task;
    bool moved;
    do
    :: pushed < TASKS -> push()
    :: own_tail > 0 ->
        h = head;
        if
        :: h < own_tail -> pop_newest()
        :: h < own_tail -> pop_oldest()
        :: else
        fi;
        d_step { h = 0; task = 0; moved = false }
    :: break
    od;
    ended++
}

/* deque_steal_one */
inline steal()
{
#ifdef PLANT_NO_FENCE_F
    if
    :: h = head; t = tail
    :: t = tail; h = head
    fi;
#else
    h = head;
    t = tail;
#endif
    if
    :: h < t ->
        task = slots[h];
#ifdef PLANT_STEALS_TWO
        second = (h + 1 < t -> slots[h + 1] : NONE);
        d_step {
            moved = head == h;
            if
            :: moved -> head = (second == NONE -> h + 1 : h + 2)
            :: else
            fi
        };
        if
        :: moved && second != NONE -> take(second)
        :: else
        fi;
        second = 0;
#else
        compare_and_swap(h);
#endif
        if
        :: moved -> take(task)
        :: else
        fi
    :: else
    fi
}

proctype thief()
{
    byte h, t, task;
    bool moved;
#ifdef PLANT_STEALS_TWO
    byte second;
#endif
    do
    :: steal();
       d_step { h = 0; t = 0; task = 0; moved = false }
    :: break
    od;
    ended++
}

/* Nothing is lost. */
proctype quiescent()
{
    byte i;
    bool is_there;
    d_step {
        ended == 3 && empty(buffer) ->
        assert(tail == own_tail && head <= tail);
        for (i : 0 .. TASKS - 1) {
            is_there = false;
            byte j;
            for (j : head .. TASKS - 1) {
                if
                :: j < tail && slots[j] == i -> is_there = true
                :: else
                fi
            }
            assert(i >= pushed || is_there != taken[i])
        }
    }
}

init {
    atomic {
        run store_buffer();
        run owner();
        run thief();
        run thief();
        run quiescent()
    }
}
