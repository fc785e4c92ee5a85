/*
 * top_screen.c - vthread top on the whole screen, by ncurses.
 *
 * Drawn from the top: a head, the carriers, the threads as far as there is
 * room.  Whatever ends it, the terminal is given back first: signals only set
 * a flag, and what is complained of meanwhile is said afterwards.
 */
#include <curses.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "inspector.h"
#include "top.h"

enum colour { PLAIN, TITLE, GOOD, BUSY, BAD, DIM, BAR, COLOURS };

struct screen {
    struct top *top;
    size_t first;  /* thread shown first */
    unsigned page; /* threads that there is room for */
    bool has_help;
    int row; /* drawn next */
};

static volatile sig_atomic_t ending_signal;

static void note_signal(int signal)
{
    ending_signal = signal;
}

/* ---- Lines -------------------------------------------------------------- */

static chtype style_of(enum colour colour)
{
    static const chtype plain[COLOURS] = {[TITLE] = A_BOLD,
                                          [BUSY] = A_BOLD,
                                          [BAD] = A_BOLD,
                                          [DIM] = A_DIM,
                                          [BAR] = A_REVERSE};
    return plain[colour]
           | (has_colors() ? COLOR_PAIR(colour) : (chtype)A_NORMAL);
}

static void put(const struct screen *screen, int column, enum colour colour,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

/* As much of it as the line has room for. */
static void put(const struct screen *screen, int column, enum colour colour,
                const char *format, ...)
{
    char text[512];
    va_list args;
    if (column >= COLS || screen->row >= LINES)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    attrset(style_of(colour));
    mvaddnstr(screen->row, column, text, COLS - column);
    attrset(A_NORMAL);
}

static void put_bar(const struct screen *screen, enum colour colour,
                    const char *text)
{
    if (screen->row >= LINES)
        return;
    attrset(style_of(colour));
    mvhline(screen->row, 0, ' ', COLS);
    mvaddnstr(screen->row, 0, text, COLS);
    attrset(A_NORMAL);
}

/* "12,345". */
static const char *grouped(double number, char text[32])
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.0f", number);
    size_t length = strlen(digits), to = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            text[to++] = ',';
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

/* ---- The head ----------------------------------------------------------- */

static enum colour colour_of_state(enum sample_state state)
{
    switch (state) {
    case SAMPLE_RUNNING:
        return GOOD;
    case SAMPLE_PINNED:
        return BAD;
    case SAMPLE_RUNNABLE:
    case SAMPLE_NEW:
        return BUSY;
    default:
        return DIM;
    }
}

static void draw_states(struct screen *screen)
{
    static const char *const labels[SAMPLE_STATES] = {
        "running", "runnable", "new", "parked", "timed", "pinned", "ended"};
    const struct sample *now = &screen->top->now;
    char number[32];
    int column = 1;
    put(screen, column, TITLE, "threads %s",
        grouped((double)now->thread_total, number));
    column += 10 + (int)strlen(number);
    for (unsigned i = 0; i < SAMPLE_STATES; i++) {
        enum colour colour =
            now->states[i] ? colour_of_state((enum sample_state)i) : DIM;
        grouped((double)now->states[i], number);
        put(screen, column, colour, "%s %s", number, labels[i]);
        column += (int)(strlen(number) + strlen(labels[i])) + 3;
    }
    put(screen, column, DIM, "+ %" PRIu64 " platform", now->platform);
    screen->row++;
}

static void draw_rates(struct screen *screen)
{
    struct top_rates rates = top_rates_of_all(screen->top);
    char runs[32], steals[32], calls[32];
    put(screen, 1, TITLE, "per second");
    put(screen, 13, PLAIN, "%s switches   %s steals   %s calls",
        grouped(rates.runs, runs), grouped(rates.steals, steals),
        grouped(rates.calls, calls));
    int column =
        13 + (int)(strlen(runs) + strlen(steals) + strlen(calls)) + 30;
    put(screen, column, rates.pinned > 0 ? BAD : DIM, "%.0f pinned waits",
        rates.pinned);
    screen->row++;
}

static void draw_head(struct screen *screen)
{
    const struct top *top = screen->top;
    char text[256], clock[16];
    time_t now = time(NULL);
    strftime(clock, sizeof clock, "%H:%M:%S", localtime(&now));
    snprintf(text, sizeof text,
             " vthread top   process %d   %s   every %.2g s   %s",
             (int)top->target.pid, clock, top->interval_ms / 1000.0,
             top->now.by_socket ? "by its control socket" : "by its memory");
    put_bar(screen, BAR, text);
    screen->row++;
    draw_states(screen);
    draw_rates(screen);
    screen->row++;
}

/* ---- Carriers ----------------------------------------------------------- */

static enum colour colour_of_carrier(const char *state)
{
    if (strcmp(state, "running") == 0)
        return GOOD;
    if (strcmp(state, "blocked") == 0)
        return BAD;
    return strcmp(state, "in_call") == 0 ? BUSY : DIM;
}

static void draw_carrier(struct screen *screen, const struct sample_carrier *c)
{
    static const char full[] = "||||||||||";
    struct top_rates rates = top_rates_of(screen->top, c);
    char runs[32];
    int width = (int)((rates.cpu_percent + 5) / 10);
    enum colour colour = colour_of_carrier(c->state);
    width = width < 0 ? 0 : width > 10 ? 10 : width;
    put(screen, 1, PLAIN, "%-12.12s %3u",
        top_scheduler_name(&screen->top->now, c->scheduler), c->number);
    put(screen, 19, colour, "%-9s", c->state);
    put(screen, 29, DIM, "[          ]");
    put(screen, 30, width > 8 ? BUSY : GOOD, "%.*s", width, full);
    put(screen, 42, PLAIN,
        "%4.0f%% %6" PRIu64 " %6" PRIu64 " %11s %8.0f %7.0f",
        rates.cpu_percent, c->queued, c->forked, grouped(rates.runs, runs),
        rates.steals, rates.calls);
    put(screen, 92, colour, "%s%s%s", c->entry, *c->name ? " " : "", c->name);
    screen->row++;
}

/* Half of the screen at most; those that rest come last in line. */
static void draw_carriers(struct screen *screen)
{
    const struct sample *now = &screen->top->now;
    char text[160];
    int end = LINES / 2;
    size_t left_out = 0;
    snprintf(text, sizeof text,
             " %-12s %3s  %-9s %-12s %5s %6s %6s %11s %8s %7s  %s",
             "SCHEDULER", "NO", "STATE", "CPU", "", "QUEUE", "FORKED",
             "SWITCHES/S", "STEALS/S", "CALLS/S", "RUNS");
    put_bar(screen, TITLE, text);
    screen->row++;
    for (size_t i = 0; i < now->carrier_count; i++)
        if (strcmp(now->carriers[i].state, "resting") == 0
            || screen->row >= end)
            left_out++;
        else
            draw_carrier(screen, &now->carriers[i]);
    if (left_out > 0)
        put(screen, 1, DIM, "%zu more carriers", left_out), screen->row++;
    screen->row++;
}

/* ---- Threads ------------------------------------------------------------ */

static void draw_thread(struct screen *screen, const struct sample_thread *t)
{
    enum colour colour = colour_of_state(t->state);
    put(screen, 1, PLAIN, "%-8u", (unsigned)(uint32_t)t->handle);
    put(screen, 10, colour, "%-12s", sample_state_names[t->state]);
    put(screen, 23, PLAIN, "%-6s %7u  %-24.24s", t->home, t->depth_bytes,
        t->entry);
    put(screen, 64, TITLE, "%-20.20s", t->name);
    put(screen, 85, DIM, "%s", t->waits_for);
    screen->row++;
}

static void draw_threads(struct screen *screen)
{
    const struct sample *now = &screen->top->now;
    char text[128];
    snprintf(text, sizeof text,
             " THREAD   STATE        HOME     DEPTH  %-24s %-20s %s", "ENTRY",
             "NAME", "WAIT");
    put_bar(screen, TITLE, text);
    screen->row++;
    int room = LINES - 1 - screen->row;
    screen->page = room > 0 ? (unsigned)room : 0;
    if (screen->first + screen->page > now->thread_count)
        screen->first = now->thread_count > screen->page
                            ? now->thread_count - screen->page
                            : 0;
    for (size_t i = 0;
         i < screen->page && screen->first + i < now->thread_count; i++)
        draw_thread(screen, &now->threads[screen->first + i]);
}

static void draw_foot(struct screen *screen)
{
    const struct top *top = screen->top;
    const struct sample *now = &top->now;
    char text[256];
    size_t end = screen->first + screen->page < now->thread_count
                     ? screen->first + screen->page
                     : now->thread_count;
    snprintf(text, sizeof text,
             " q quit  s sort: %s%s  r reverse  + - delay  h help   threads "
             "%zu-%zu of %" PRIu64,
             top_order_names[top->order], top->is_reversed ? ", reversed" : "",
             now->thread_count ? screen->first + 1 : 0, end,
             now->thread_total);
    screen->row = LINES - 1;
    put_bar(screen, BAR, text);
}

static void draw_help(struct screen *screen)
{
    static const char *const lines[] = {
        "q, Ctrl-C     quit",
        "s             the next order: state, id, name, entry, wait, depth",
        "r             reverse it",
        "arrows, pages, Home, End   move through the threads",
        "+ -           look less often, more often",
        "h             this, and back",
        "",
        "CPU       of the carrier's OS thread",
        "QUEUE     threads ready to run there, or to be stolen",
        "FORKED    parts of a thread's work, likewise",
        "blocked   the carrier waits with a pinned thread",
        "in_call   it is in a call that blocks; others do its work",
        "DEPTH     bytes of stack in use while it waits",
        "HOME      own, or common: shared, its frames may be in the heap",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++, screen->row++)
        put(screen, 2, PLAIN, "%s", lines[i]);
}

static void draw(struct screen *screen)
{
    erase();
    screen->row = 0;
    draw_head(screen);
    if (screen->has_help) {
        draw_help(screen);
    } else {
        draw_carriers(screen);
        draw_threads(screen);
    }
    draw_foot(screen);
    refresh();
}

/* ---- Keys --------------------------------------------------------------- */

static void move_by(struct screen *screen, long lines)
{
    size_t count = screen->top->now.thread_count;
    if (lines < 0)
        screen->first -=
            screen->first < (size_t)-lines ? screen->first : (size_t)-lines;
    else
        screen->first += (size_t)lines < count ? (size_t)lines : count;
}

static void change_delay(struct top *top, int key)
{
    static const unsigned delays_ms[] = {100,  200,  500,  1000,
                                         2000, 5000, 10000};
    const size_t count = sizeof delays_ms / sizeof delays_ms[0];
    size_t i = 0;
    while (i + 1 < count && delays_ms[i] < top->interval_ms)
        i++;
    if (key == '+')
        i += i + 1 < count;
    else
        i -= i > 0;
    top->interval_ms = delays_ms[i];
}

/* False: enough. */
static bool obey(struct screen *screen, int key)
{
    struct top *top = screen->top;
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case 's':
        top->order = (enum top_order)((top->order + 1) % TOP_ORDERS);
        top_sort(top);
        break;
    case 'r':
        top->is_reversed = !top->is_reversed;
        top_sort(top);
        break;
    case '+':
    case '-':
        change_delay(top, key);
        break;
    case 'h':
    case '?':
        screen->has_help = !screen->has_help;
        break;
    case KEY_UP:
        move_by(screen, -1);
        break;
    case KEY_DOWN:
        move_by(screen, 1);
        break;
    case KEY_PPAGE:
        move_by(screen, -(long)screen->page);
        break;
    case KEY_NPAGE:
        move_by(screen, (long)screen->page);
        break;
    case KEY_HOME:
        screen->first = 0;
        break;
    case KEY_END:
        screen->first = top->now.thread_count;
        break;
    }
    return true;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Until it is time for the next sample; false: enough. */
static bool wait_for_keys(struct screen *screen)
{
    uint64_t due_ms =
        screen->top->now.time_ns / 1000000 + screen->top->interval_ms;
    for (;;) {
        uint64_t now = now_ms();
        if (ending_signal)
            return false;
        if (now >= due_ms)
            return true;
        timeout((int)(due_ms - now < 200 ? due_ms - now : 200));
        int key = getch();
        if (key == ERR)
            continue;
        if (!obey(screen, key))
            return false;
        draw(screen);
    }
}

/* ---- The screen --------------------------------------------------------- */

static int complain_terminal(const char *why, const char *what)
{
    complain("'vthread top' wants a terminal%s%s; 'vthread top --once' does "
             "not",
             why, what);
    return STATUS_USAGE;
}

static int open_terminal(void)
{
    const char *type = getenv("TERM");
    setlocale(LC_ALL, "");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return complain_terminal("", "");
    if (!type || !*type)
        return complain_terminal(", and TERM does not say of what kind", "");
    if (!newterm(NULL, stdout, stdin))
        return complain_terminal(" of a kind that is known here, which is "
                                 "not TERM=",
                                 type);
    return STATUS_FINE;
}

static void set_up_screen(void)
{
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(DIM, -1, -1);
        init_pair(BAR, -1, -1);
        init_pair(TITLE, COLOR_CYAN, -1);
        init_pair(GOOD, COLOR_GREEN, -1);
        init_pair(BUSY, COLOR_YELLOW, -1);
        init_pair(BAD, COLOR_RED, -1);
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

int top_screen(struct top *top)
{
    struct screen screen = {.top = top};
    int status = open_terminal();
    if (status != STATUS_FINE)
        return status;
    set_up_screen();
    catch_signals();
    complain_later(true);
    do {
        draw(&screen);
        if (!wait_for_keys(&screen))
            break;
        status = top_refresh(top);
    } while (status == STATUS_FINE);
    endwin();
    complain_later(false);
    return status;
}
