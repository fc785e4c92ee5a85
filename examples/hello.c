/*
 * hello.c - the smallest program: one virtual thread, started and joined.
 *
 *     cc hello.c $(pkg-config --cflags --libs vthread)
 */
#include <stdio.h>
#include <vthread.h>

static void *greet(void *name)
{
    vthread_sleep(100 * VTHREAD_MS);
    printf("hello, %s\n", (char *)name);
    return NULL;
}

int main(void)
{
    vthread_t t;
    int err = vthread_create(&t, NULL, greet, "world");
    return err != 0 ? err : vthread_join(t, NULL);
}
