#include "common/base/sync.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"

static void must(int result, const char *what)
{
    if (result == 0)
        return;
    fprintf(stderr, "{\"level\":\"fatal\",\"event\":\"sync.failed\",\"call\":\"%s\",\"errno\":%d}\n", what, result);
    abort();
}

#ifndef NDEBUG
enum { MAX_HELD = 16 };
static _Thread_local unsigned held[MAX_HELD];
static _Thread_local unsigned held_count;

static void rank_push(unsigned rank)
{
    if (held_count > 0 && held[held_count - 1] >= rank) {
        fprintf(stderr, "lock order: rank %u taken while rank %u is held\n", rank, held[held_count - 1]);
        abort();
    }
    must(held_count == MAX_HELD, "too many locks held at once");
    held[held_count++] = rank;
}

static void rank_pop(unsigned rank)
{
    unsigned i = held_count;
    while (i > 0 && held[i - 1] != rank)
        i--;
    must(i == 0, "unlock of a lock that this thread does not hold");
    for (; i < held_count; i++)
        held[i - 1] = held[i];
    held_count--;
}
#else
static void rank_push(unsigned rank)
{
    (void)rank;
}
static void rank_pop(unsigned rank)
{
    (void)rank;
}
#endif

void mutex_init(struct mutex *mutex, unsigned rank)
{
    must(pthread_mutex_init(&mutex->handle, NULL), "mutex_init");
    mutex->rank = rank;
}

void mutex_destroy(struct mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->handle), "mutex_destroy");
}

void mutex_lock(struct mutex *mutex)
{
    rank_push(mutex->rank);
    must(pthread_mutex_lock(&mutex->handle), "mutex_lock");
}

void mutex_unlock(struct mutex *mutex)
{
    /* first: once it is unlocked another thread may destroy it */
    rank_pop(mutex->rank);
    must(pthread_mutex_unlock(&mutex->handle), "mutex_unlock");
}

void condition_init(struct condition *condition)
{
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes), "condattr_init");
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), "condattr_setclock");
    must(pthread_cond_init(&condition->handle, &attributes), "cond_init");
    pthread_condattr_destroy(&attributes);
}

void condition_destroy(struct condition *condition)
{
    must(pthread_cond_destroy(&condition->handle), "cond_destroy");
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
    must(pthread_cond_wait(&condition->handle, &mutex->handle), "cond_wait");
}

bool condition_wait_until(struct condition *condition, struct mutex *mutex, int64_t deadline)
{
    if (deadline == NO_DEADLINE) {
        condition_wait(condition, mutex);
        return true;
    }
    struct timespec until = { .tv_sec = deadline / MICROS_PER_SECOND, .tv_nsec = deadline % MICROS_PER_SECOND * 1000 };
    int result = pthread_cond_timedwait(&condition->handle, &mutex->handle, &until);
    if (result == ETIMEDOUT)
        return false;
    must(result, "cond_timedwait");
    return true;
}

void condition_signal(struct condition *condition)
{
    must(pthread_cond_signal(&condition->handle), "cond_signal");
}

void condition_broadcast(struct condition *condition)
{
    must(pthread_cond_broadcast(&condition->handle), "cond_broadcast");
}

pthread_t thread_start(const char *name, void *(*run)(void *), void *ctx)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, run, ctx), "thread_create");
    pthread_setname_np(thread, name);
    return thread;
}
