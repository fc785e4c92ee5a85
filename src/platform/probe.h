/*
 * probe.h - places in the code that a tracer of the system can hook into
 * while the process runs: user-level statically defined tracing (USDT).
 *
 *     PROBE2(park, &t->continuation, what);
 *
 * A probe is one instruction that does nothing, and a note in the library
 * that says where it is and where its arguments are at that point: in
 * registers, in memory, or constant.  Nothing is computed for it that is not
 * there anyway, so pass what is at hand; but no constants, which perf leaves
 * out.  doc/tracing.md lists the probes, and shows how they are used.
 *
 * Without <sys/sdt.h>, there are none.
 */
#ifndef PLATFORM_PROBE_H
#define PLATFORM_PROBE_H

#if defined HAVE_SYS_SDT_H

#include <sys/sdt.h>

#define PROBE1(name, a) DTRACE_PROBE1(vthread, name, a)
#define PROBE2(name, a, b) DTRACE_PROBE2(vthread, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(vthread, name, a, b, c)

#else

#define PROBE1(name, a) ((void)(a))
#define PROBE2(name, a, b) ((void)(a), (void)(b))
#define PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))

#endif

#endif
