/* Mutexes with ranks, condition variables on the monotonic clock, threads.
 *
 * A thread takes mutexes in rising rank order only; debug builds (without NDEBUG) abort on a violation.
 */
#ifndef ARGON_BASE_SYNC_H
#define ARGON_BASE_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct mutex {
    pthread_mutex_t handle;
    unsigned rank;
};

struct condition {
    pthread_cond_t handle;
};

void mutex_init(struct mutex *mutex, unsigned rank);
void mutex_destroy(struct mutex *mutex);
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

void condition_init(struct condition *condition);
void condition_destroy(struct condition *condition);
void condition_wait(struct condition *condition, struct mutex *mutex);
/* False when the deadline (clock_monotonic_micros) has passed. */
bool condition_wait_until(struct condition *condition, struct mutex *mutex, int64_t deadline);
void condition_signal(struct condition *condition);
void condition_broadcast(struct condition *condition);

/* Starts a joinable thread with a name of at most 15 characters; aborts when the system refuses. */
pthread_t thread_start(const char *name, void *(*run)(void *), void *ctx);

#endif
