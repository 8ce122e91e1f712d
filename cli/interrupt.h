/* Ctrl-C and SIGTERM in a command that goes on for ever, or has something to clear away: they end the program between two pieces of output,
 * never inside one, with exit code 130 or 143. A second one kills.
 *
 * Threads    the farewell runs on a thread of its own, while nobody holds.
 */
#ifndef ARGON_CLI_INTERRUPT_H
#define ARGON_CLI_INTERRUPT_H

/* Once. `farewell` prints the last word; stdout is flushed before. */
void interrupt_begin(void (*farewell)(void *ctx), void *ctx);
/* Around what must not be cut in half, also in what the farewell reads. */
void interrupt_hold(void);
void interrupt_release(void);

#endif
