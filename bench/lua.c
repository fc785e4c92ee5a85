/*
 * lua.c - examples/lua/vlua against plain lua5.4, and against luv.
 *
 *   lua.cpu.plain         CPU time of lua_cpu.lua, run by lua5.4
 *   lua.cpu.vlua          the same by vlua
 *   lua.cpu.vlua.ratio    median of the ratios, round by round
 *   lua.echo.luv          messages per second, 100 connections, by
 *                         lua_echo_luv.lua: libuv, callbacks
 *   lua.echo.vlua         by lua_echo.lua: a thread for each connection, on
 *                         one carrier
 *   lua.echo.KIND.cpu     ns of the server's CPU time for a message
 *
 * All run the same Lua library.  The programs take turns; each server has a
 * processor for itself, as in bench/echo.
 */
#include "bench/bench.h"
#include "bench/echo_client.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_NS (300 * VTHREAD_MS)

static unsigned long connections = 100, message = 64, rounds = 2;

struct figures {
    struct bench_samples value, ratio, cpu;
};

static const char *script(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s", BENCH_SCRIPTS, name);
    return path;
}

/* Starts a program on one processor; what it prints can be read from *out. */
static pid_t start(const char *program, const char *name, const char *argument,
                   int *out)
{
    int ends[2];

    bench_check_errno(pipe(ends), "pipe");
    pid_t pid = fork();
    bench_check_errno(pid, "fork");
    if (pid == 0) {
        bench_use_processors(0, 1);
        setenv("VTHREAD_PARALLELISM", "1", 1);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp(program, program, script(name), argument, NULL);
        _exit(127);
    }
    close(ends[1]);
    *out = ends[0];
    return pid;
}

/* ---- CPU work ----------------------------------------------------------- */

/* Seconds of CPU time. */
static double compute(const char *program)
{
    struct rusage usage;
    char count[16];
    int status, out;

    snprintf(count, sizeof count, "%lu", rounds);
    pid_t pid = start(program, "lua_cpu.lua", count, &out);
    close(out);
    if (wait4(pid, &status, 0, &usage) != pid || status != 0)
        bench_die("%s has failed: is lua5.4 installed?", program);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void play_cpu(struct figures *plain, struct figures *vlua)
{
    double reference = compute("lua5.4"), ours = compute(VLUA);

    bench_add(&plain->value, reference);
    bench_add(&vlua->value, ours);
    bench_add(&vlua->ratio, ours / reference);
}

/* ---- Echo --------------------------------------------------------------- */

static void sleep_ns(uint64_t ns)
{
    struct timespec time = {.tv_sec = (time_t)(ns / VTHREAD_SECOND),
                            .tv_nsec = (long)(ns % VTHREAD_SECOND)};

    nanosleep(&time, NULL);
}

static void read_port(int out, struct sockaddr_in *address)
{
    char text[16] = "";

    if (read(out, text, sizeof text - 1) <= 0)
        bench_die("no server: is lua-luv installed?");
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)atoi(text))};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static double serve(const char *program, const char *name,
                    struct bench_samples *cpu)
{
    struct sockaddr_in address;
    struct echo_clients clients;
    int out;

    pid_t pid = start(program, name, NULL, &out);
    read_port(out, &address);
    echo_clients_start(&clients, &address, (unsigned)connections, 1,
                       (unsigned)message, 1);
    echo_clients_go(&clients);
    sleep_ns(WARM_UP_NS);
    uint64_t cpu_ns = bench_cpu_ns(pid), start_ns = bench_now_ns();
    uint64_t count = echo_clients_count(&clients);
    sleep_ns((bench_is_quick ? 500 : 1500) * VTHREAD_MS);
    double messages = (double)(echo_clients_count(&clients) - count);
    if (messages == 0)
        bench_die("no message came back");
    bench_add(cpu, (double)(bench_cpu_ns(pid) - cpu_ns) / messages);
    double rate = messages * 1e9 / (double)(bench_now_ns() - start_ns);
    echo_clients_stop(&clients);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(out);
    return rate;
}

static void play_echo(struct figures *luv, struct figures *vlua)
{
    double reference = serve("lua5.4", "lua_echo_luv.lua", &luv->cpu);
    double ours = serve(VLUA, "lua_echo.lua", &vlua->cpu);

    bench_add(&luv->value, reference);
    bench_add(&vlua->value, ours);
    bench_add(&vlua->ratio, ours / reference);
}

/* ---- The whole ---------------------------------------------------------- */

static void report_echo(const char *kind, const struct figures *figures)
{
    char name[64];

    snprintf(name, sizeof name, "lua.echo.%s", kind);
    bench_report(name, &figures->value, "messages/s");
    snprintf(name, sizeof name, "lua.echo.%s.cpu", kind);
    bench_report(name, &figures->cpu, "ns");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"connections", &connections, "connections", NULL},
        {"message", &message, "bytes of a message", NULL},
        {"work", &rounds, "rounds of CPU work", NULL},
        {0}};
    static struct figures plain, vlua, luv, vlua_echo;

    bench_parse(argc, argv, "Lua on virtual threads.", options);
    echo_raise_limit((unsigned)connections);
    for (unsigned i = 0; i < bench_rounds(9, 5); i++)
        play_cpu(&plain, &vlua);
    for (unsigned i = 0; i < bench_rounds(7, 3); i++)
        play_echo(&luv, &vlua_echo);
    bench_report("lua.cpu.plain", &plain.value, "s");
    bench_report("lua.cpu.vlua", &vlua.value, "s");
    bench_report("lua.cpu.vlua.ratio", &vlua.ratio, "lua5.4");
    report_echo("luv", &luv);
    report_echo("vlua", &vlua_echo);
    bench_report("lua.echo.vlua.ratio", &vlua_echo.ratio, "luv");
    return 0;
}
