#include "cli/transfer.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "common/base/sync.h"

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_QUEUED, SLOT_WRITING, SLOT_WRITTEN };

struct slot {
    struct transfer_batch batch;
    enum slot_state state;
};

struct writer {
    struct transfer *transfer;
    size_t number;
    pthread_t thread;
};

struct transfer {
    struct transfer_options options;
    struct mutex lock; /* rank 10 */
    struct condition moved;
    /* under lock */
    struct slot slots[TRANSFER_SLOTS(TRANSFER_MAX_WRITERS)]; /* a ring: batch b is in slot b mod n */
    size_t n_slots;
    uint64_t next_number;  /* of the batch that is filled, or filled next */
    uint64_t next_queued;  /* the oldest that no writer has */
    uint64_t acknowledged; /* all before it are in */
    struct error failure;
    bool failed, stopping;
    /* the caller's own */
    struct slot *filling;
    struct writer writers[TRANSFER_MAX_WRITERS];
};

struct bytes transfer_batch_last(const struct transfer_batch *batch)
{
    const uint8_t *at = batch->documents.data;
    for (size_t i = 0; i + 1 < batch->n; i++)
        at += get_u32(at); /* BSON begins with its length */
    return bytes_of(at, get_u32(at));
}

static struct slot *slot_of(struct transfer *transfer, uint64_t number)
{
    return &transfer->slots[number % transfer->n_slots];
}

static void acknowledge_locked(struct transfer *transfer)
{
    struct slot *slot;
    while ((slot = slot_of(transfer, transfer->acknowledged))->state == SLOT_WRITTEN) {
        if (transfer->options.acknowledged)
            transfer->options.acknowledged(transfer->options.ctx, &slot->batch);
        buffer_clear(&slot->batch.documents);
        slot->state = SLOT_FREE;
        transfer->acknowledged++;
    }
}

static void *run_writer(void *ctx)
{
    struct writer *writer = ctx;
    struct transfer *transfer = writer->transfer;
    mutex_lock(&transfer->lock);
    for (;;) {
        struct slot *slot = slot_of(transfer, transfer->next_queued);
        if (transfer->stopping || transfer->failed)
            break;
        if (slot->state != SLOT_QUEUED) {
            condition_wait(&transfer->moved, &transfer->lock);
            continue;
        }
        slot->state = SLOT_WRITING;
        transfer->next_queued++;
        mutex_unlock(&transfer->lock);
        struct error err = { 0 };
        bool ok = transfer->options.write(transfer->options.write_ctx, writer->number, &slot->batch, &err);
        mutex_lock(&transfer->lock);
        if (ok) {
            slot->state = SLOT_WRITTEN;
            acknowledge_locked(transfer);
        } else if (!transfer->failed) {
            transfer->failed = true;
            transfer->failure = err;
        }
        condition_broadcast(&transfer->moved);
    }
    mutex_unlock(&transfer->lock);
    return NULL;
}

struct transfer *transfer_new(const struct transfer_options *options)
{
    struct transfer *transfer = mem_zalloc(sizeof *transfer);
    transfer->options = *options;
    transfer->n_slots = TRANSFER_SLOTS(options->writers);
    mutex_init(&transfer->lock, 10);
    condition_init(&transfer->moved);
    for (size_t i = 0; i < options->writers; i++) {
        transfer->writers[i] = (struct writer) { .transfer = transfer, .number = i };
        transfer->writers[i].thread = thread_start("transfer", run_writer, &transfer->writers[i]);
    }
    return transfer;
}

static bool hand_over(struct transfer *transfer, struct error *err)
{
    struct slot *slot = transfer->filling;
    if (!slot)
        return true;
    if (transfer->options.handing && !transfer->options.handing(transfer->options.ctx, &slot->batch, err))
        return false;
    transfer->filling = NULL;
    mutex_lock(&transfer->lock);
    slot->state = SLOT_QUEUED;
    transfer->next_number++;
    condition_broadcast(&transfer->moved);
    mutex_unlock(&transfer->lock);
    return true;
}

static bool begin_batch(struct transfer *transfer, size_t collection, bool again, struct error *err)
{
    mutex_lock(&transfer->lock);
    struct slot *slot = slot_of(transfer, transfer->next_number);
    while (slot->state != SLOT_FREE && !transfer->failed)
        condition_wait(&transfer->moved, &transfer->lock);
    bool ok = !transfer->failed;
    if (ok) {
        slot->state = SLOT_FILLING;
        slot->batch.number = transfer->next_number;
        slot->batch.collection = collection;
        slot->batch.again = again;
        slot->batch.n = 0;
        transfer->filling = slot;
    } else {
        *err = transfer->failure;
    }
    mutex_unlock(&transfer->lock);
    return ok;
}

bool transfer_add(struct transfer *transfer, size_t collection, bool again, struct bytes bson, struct error *err)
{
    struct slot *slot = transfer->filling;
    if (slot &&
        (slot->batch.collection != collection || slot->batch.again != again ||
         slot->batch.documents.len + bson.len > TRANSFER_BATCH_BYTES) &&
        !hand_over(transfer, err))
        return false;
    if (!transfer->filling && !begin_batch(transfer, collection, again, err))
        return false;
    struct transfer_batch *batch = &transfer->filling->batch;
    buffer_append(&batch->documents, bson.data, bson.len);
    if (batch->documents.failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the documents of a batch");
    batch->n++;
    return batch->n < transfer->options.max_documents || hand_over(transfer, err);
}

bool transfer_flush(struct transfer *transfer, struct error *err)
{
    if (!hand_over(transfer, err))
        return false;
    mutex_lock(&transfer->lock);
    while (transfer->acknowledged < transfer->next_number && !transfer->failed)
        condition_wait(&transfer->moved, &transfer->lock);
    bool ok = !transfer->failed;
    if (!ok)
        *err = transfer->failure;
    mutex_unlock(&transfer->lock);
    return ok;
}

void transfer_lock(struct transfer *transfer)
{
    mutex_lock(&transfer->lock);
}

void transfer_unlock(struct transfer *transfer)
{
    mutex_unlock(&transfer->lock);
}

void transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return;
    mutex_lock(&transfer->lock);
    transfer->stopping = true;
    condition_broadcast(&transfer->moved);
    mutex_unlock(&transfer->lock);
    for (size_t i = 0; i < transfer->options.writers; i++)
        pthread_join(transfer->writers[i].thread, NULL);
    for (size_t i = 0; i < transfer->n_slots; i++)
        buffer_destroy(&transfer->slots[i].batch.documents);
    condition_destroy(&transfer->moved);
    mutex_destroy(&transfer->lock);
    free(transfer);
}
