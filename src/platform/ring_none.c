/*
 * ring_none.c - built without liburing: there is no ring.
 */
#include "ring.h"

bool ring_is_open(void)
{
    return false;
}

void ring_submit(struct ring_request *request)
{
    (void)request;
}

void ring_cancel(struct ring_request *request)
{
    (void)request;
}

unsigned ring_os_threads(void)
{
    return 0;
}
