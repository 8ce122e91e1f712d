#include "branch-service/write/write_queue.h"

#include <stdlib.h>
#include <uthash.h>

#include "common/base/memory.h"
#include "common/base/sync.h"

struct turn {
    UT_hash_handle hh;
    uint64_t hash;
    unsigned users; /* the holder and those who wait */
    bool taken;
    struct condition free;
};

struct write_queue {
    struct mutex lock; /* rank 5: nothing is held while waiting for a turn */
    struct turn *turns;
};

struct write_queue *write_queue_new(void)
{
    struct write_queue *queue = mem_zalloc(sizeof *queue);
    mutex_init(&queue->lock, 5);
    return queue;
}

void write_queue_free(struct write_queue *queue)
{
    if (!queue)
        return;
    mutex_destroy(&queue->lock);
    free(queue);
}

static void drop_user_locked(struct write_queue *queue, struct turn *turn)
{
    if (--turn->users > 0)
        return;
    HASH_DEL(queue->turns, turn);
    condition_destroy(&turn->free);
    free(turn);
}

bool write_queue_enter(struct write_queue *queue, uint64_t hash, int64_t deadline, struct error *err)
{
    struct turn *turn;
    mutex_lock(&queue->lock);
    HASH_FIND(hh, queue->turns, &hash, sizeof hash, turn);
    if (!turn) {
        turn = mem_zalloc(sizeof *turn);
        turn->hash = hash;
        condition_init(&turn->free);
        HASH_ADD(hh, queue->turns, hash, sizeof turn->hash, turn);
    }
    turn->users++;
    bool in_time = true;
    while (turn->taken && in_time)
        in_time = condition_wait_until(&turn->free, &queue->lock, deadline);
    bool mine = !turn->taken;
    if (mine)
        turn->taken = true;
    else
        drop_user_locked(queue, turn);
    mutex_unlock(&queue->lock);
    return mine || error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while other writers of the same document were served");
}

void write_queue_leave(struct write_queue *queue, uint64_t hash)
{
    struct turn *turn;
    mutex_lock(&queue->lock);
    HASH_FIND(hh, queue->turns, &hash, sizeof hash, turn);
    turn->taken = false;
    condition_signal(&turn->free);
    drop_user_locked(queue, turn);
    mutex_unlock(&queue->lock);
}
