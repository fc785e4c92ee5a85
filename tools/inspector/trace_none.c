/*
 * trace_none.c - `vthread trace` where libdw or protobuf-c was missing.
 */
#include "inspector.h"

int cmd_trace(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    complain("trace: this tool was built without libdw or protobuf-c");
    return STATUS_FAILED;
}
