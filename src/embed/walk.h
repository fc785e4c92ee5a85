/*
 * walk.h - the frames of who does not run.
 */
#ifndef EMBED_WALK_H
#define EMBED_WALK_H

#include <vthread/embed.h>

struct continuation;

/* vthread_walk for c, which the caller has the right to mount. */
int walk_frames(struct continuation *c, vthread_frame_fn *fn, void *arg);

#endif
