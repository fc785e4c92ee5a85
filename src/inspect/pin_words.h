/*
 * pin_words.h - parts of an episode in words.
 */
#ifndef INSPECT_PIN_WORDS_H
#define INSPECT_PIN_WORDS_H

#include <stdarg.h>
#include <stddef.h>

#include <vthread/pin.h>

/* Text that grows, and is cut at the end of its buffer. */
struct words {
    char *start;
    size_t size_bytes, length;
};

void words_add(struct words *words, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "1.5 ms", "20.3 us". */
void words_add_time(struct words *words, uint64_t ns);

/* "held mutex 0x10, taken at server+0x10 (serve)": why it was pinned, in the
 * fewest words. */
void words_add_reason(struct words *words,
                      const vthread_pin_episode_t *episode);

/* "sleeps, at server+0x10 (serve)": the first frame that is not ours. */
void words_add_wait(struct words *words,
                    const vthread_pin_episode_t *episode);

#endif
