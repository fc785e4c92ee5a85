/*
 * task.h - what carriers carry: a link.
 *
 * A task is embedded first in whatever it stands for; the pool's run
 * function knows what that is.  A task is on at most one queue, so one link
 * serves the submission queue, an inbox, and any list that its owner keeps
 * while it is on none of them.
 */
#ifndef CARRIER_TASK_H
#define CARRIER_TASK_H

struct task {
    struct task *next;
};

#endif
