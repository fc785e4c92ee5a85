/*
 * dump_none.c - `vthread dump` of a tool that was built without libdw.
 */
#include "inspector.h"

int cmd_dump(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    complain("this tool was built without libdw, so it cannot dump threads");
    return STATUS_FAILED;
}
