/*
 * dump_none.c - `vthread dump` of a tool that was built without libdw.
 */
#include "inspector.h"

int cmd_dump(int argc, char **argv)
{
    return complain_missing(argc, argv, "dump", "libdw");
}
