#include "wal-service/store/segment_preparer.h"

#include <unistd.h>

void segment_preparer_init(struct segment_preparer *preparer, struct disk *disk, int directory, uint64_t length)
{
    *preparer = (struct segment_preparer) { .disk = disk, .directory = directory, .length = length };
    mutex_init(&preparer->lock, 42);
    condition_init(&preparer->changed);
}

int segment_preparer_make(struct segment_preparer *preparer, uint64_t length, struct prepared_file *file)
{
    struct prepared_file made = { .length = length };
    mutex_lock(&preparer->lock);
    segment_temporary_name(++preparer->files, made.name);
    mutex_unlock(&preparer->lock);
    int failure = segment_file_prepare(preparer->disk, preparer->directory, made.name, length, &made.fd);
    mutex_lock(&preparer->lock);
    preparer->disk_full = disk_is_full(failure);
    mutex_unlock(&preparer->lock);
    if (failure == 0)
        *file = made;
    return failure;
}

static void *run(void *ctx)
{
    struct segment_preparer *preparer = ctx;
    mutex_lock(&preparer->lock);
    while (!preparer->stopping) {
        if (preparer->state != PREPARER_WANTED) {
            condition_wait(&preparer->changed, &preparer->lock);
            continue;
        }
        preparer->state = PREPARER_WORKING;
        mutex_unlock(&preparer->lock);
        struct prepared_file file = { .fd = -1 };
        int failure = segment_preparer_make(preparer, preparer->length, &file);
        mutex_lock(&preparer->lock);
        preparer->ready = file;
        preparer->failure = failure;
        preparer->state = failure ? PREPARER_FAILED : PREPARER_READY;
        condition_broadcast(&preparer->changed);
    }
    mutex_unlock(&preparer->lock);
    return NULL;
}

void segment_preparer_start(struct segment_preparer *preparer)
{
    preparer->thread = thread_start("wal-prepare", run, preparer);
    preparer->started = true;
}

void segment_preparer_destroy(struct segment_preparer *preparer)
{
    mutex_lock(&preparer->lock);
    preparer->stopping = true;
    condition_broadcast(&preparer->changed);
    mutex_unlock(&preparer->lock);
    if (preparer->started)
        pthread_join(preparer->thread, NULL);
    if (preparer->state == PREPARER_READY)
        segment_preparer_discard(preparer, &preparer->ready);
    condition_destroy(&preparer->changed);
    mutex_destroy(&preparer->lock);
}

void segment_preparer_want(struct segment_preparer *preparer)
{
    mutex_lock(&preparer->lock);
    if (preparer->state == PREPARER_IDLE) {
        preparer->state = PREPARER_WANTED;
        condition_broadcast(&preparer->changed);
    }
    mutex_unlock(&preparer->lock);
}

int segment_preparer_take(struct segment_preparer *preparer, struct prepared_file *file)
{
    mutex_lock(&preparer->lock);
    /* any failure that does not pass means that the disk cannot be trusted, and stays */
    if (preparer->state == PREPARER_IDLE || (preparer->state == PREPARER_FAILED && disk_failure_passes(preparer->failure))) {
        preparer->state = PREPARER_WANTED;
        condition_broadcast(&preparer->changed);
    }
    while (preparer->state == PREPARER_WANTED || preparer->state == PREPARER_WORKING)
        condition_wait(&preparer->changed, &preparer->lock);
    int failure = preparer->failure;
    if (preparer->state == PREPARER_READY) {
        *file = preparer->ready;
        preparer->state = PREPARER_IDLE;
    }
    mutex_unlock(&preparer->lock);
    return failure;
}

void segment_preparer_settle(struct segment_preparer *preparer)
{
    mutex_lock(&preparer->lock);
    while (preparer->state == PREPARER_WANTED || preparer->state == PREPARER_WORKING)
        condition_wait(&preparer->changed, &preparer->lock);
    mutex_unlock(&preparer->lock);
}

void segment_preparer_discard(struct segment_preparer *preparer, struct prepared_file *file)
{
    close(file->fd);
    preparer->disk->ops->unlink(preparer->disk, preparer->directory, file->name);
    file->fd = -1;
}

void segment_preparer_note_full(struct segment_preparer *preparer)
{
    mutex_lock(&preparer->lock);
    preparer->disk_full = true;
    mutex_unlock(&preparer->lock);
}

bool segment_preparer_disk_full(struct segment_preparer *preparer)
{
    mutex_lock(&preparer->lock);
    bool full = preparer->disk_full;
    mutex_unlock(&preparer->lock);
    return full;
}
