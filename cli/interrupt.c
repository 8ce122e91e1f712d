#include "cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/exit_code.h"
#include "common/base/sync.h"

static struct {
    struct mutex lock; /* rank 1 */
    sigset_t signals;
    void (*farewell)(void *ctx);
    void *ctx;
} interrupt;

static void *wait_for_signal(void *ctx)
{
    (void)ctx;
    int signal_number = 0;
    if (sigwait(&interrupt.signals, &signal_number) != 0)
        return NULL;
    /* the output may be stuck behind a pipe that nobody reads: the next one must not wait for it */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &interrupt.signals, NULL);
    mutex_lock(&interrupt.lock);
    fflush(stdout);
    interrupt.farewell(interrupt.ctx);
    fflush(stderr);
    _exit(signal_number == SIGINT ? CLI_EXIT_INTERRUPTED : CLI_EXIT_TERMINATED);
}

void interrupt_begin(void (*farewell)(void *ctx), void *ctx)
{
    mutex_init(&interrupt.lock, 1);
    interrupt.farewell = farewell;
    interrupt.ctx = ctx;
    sigemptyset(&interrupt.signals);
    sigaddset(&interrupt.signals, SIGINT);
    sigaddset(&interrupt.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &interrupt.signals, NULL);
    pthread_detach(thread_start("interrupt", wait_for_signal, NULL));
}

void interrupt_hold(void)
{
    mutex_lock(&interrupt.lock);
}

void interrupt_release(void)
{
    mutex_unlock(&interrupt.lock);
}
