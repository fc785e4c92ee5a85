/*
 * top_screen_none.c - vthread top without ncurses: it can still print.
 */
#include "inspector.h"
#include "top.h"

int top_screen(struct top *top)
{
    (void)top;
    complain("this tool was built without ncurses: there is 'vthread top "
             "--once' only");
    return STATUS_FAILED;
}
