/*
 * trace_none.c - `vthread trace` where libdw or protobuf-c was missing.
 */
#include "inspector.h"

int cmd_trace(int argc, char **argv)
{
    return complain_missing(argc, argv, "trace", "libdw or protobuf-c");
}
