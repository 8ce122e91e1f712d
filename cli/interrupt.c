#include "cli/interrupt.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/exit_code.h"
#include "common/base/sync.h"

static struct {
    struct mutex lock; /* rank 1 */
    sem_t came;        /* the one thing a signal handler may use */
    volatile sig_atomic_t signal_number;
    void (*farewell)(void *ctx);
    void *ctx;
} interrupt;

/* On any thread: those of gRPC do not block signals. */
static void on_signal(int signal_number)
{
    int saved = errno;
    interrupt.signal_number = signal_number;
    sem_post(&interrupt.came);
    errno = saved;
}

static void *wait_for_signal(void *ctx)
{
    (void)ctx;
    while (sem_wait(&interrupt.came) != 0)
        continue; /* EINTR */
    mutex_lock(&interrupt.lock);
    fflush(stdout);
    interrupt.farewell(interrupt.ctx);
    fflush(stderr);
    _exit(interrupt.signal_number == SIGINT ? CLI_EXIT_INTERRUPTED : CLI_EXIT_TERMINATED);
}

void interrupt_begin(void (*farewell)(void *ctx), void *ctx)
{
    mutex_init(&interrupt.lock, 1);
    sem_init(&interrupt.came, 0, 0);
    interrupt.farewell = farewell;
    interrupt.ctx = ctx;
    pthread_detach(thread_start("interrupt", wait_for_signal, NULL));
    /* reset: the output may be stuck behind a pipe that nobody reads, and the second signal must not wait for it */
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND }, old;
    sigemptyset(&action.sa_mask);
    static const int signals[] = { SIGINT, SIGTERM };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
}

void interrupt_hold(void)
{
    mutex_lock(&interrupt.lock);
}

void interrupt_release(void)
{
    mutex_unlock(&interrupt.lock);
}
