/* The segment store: a log in a directory of segment files. docs/log-format.md tells the whole format.
 *
 * Append, and what a crash leaves at each step:
 *
 *     group fits? --no--> take the prepared file, write its header, sync, rename, sync the directory
 *        |                    (crash: a segment more, without groups)
 *        v
 *     one write of header and frames     (crash: a torn group, or a whole one: recovery tells)
 *     fdatasync                          (crash: a whole group, nothing vouches for it yet: carried over)
 *     published in the index             (only now do head and scans see it)
 *
 * The states of a store: OPEN, and after a failed write or sync DEAD, for ever. What the failed call wrote may
 * be on disk or not; the kernel may have dropped the pages, so nothing is tried again in this process. The
 * failures that pass are a full disk and too many open files; they can only meet the file of the next segment,
 * which holds no batch.
 */
#include "wal-service/store/segment_store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "wal-service/store/group.h"
#include "wal-service/store/log_index.h"
#include "wal-service/store/segment_directory.h"
#include "wal-service/store/segment_file.h"
#include "wal-service/store/segment_keeper.h"
#include "wal-service/store/segment_preparer.h"
#include "wal-service/store/segment_recovery.h"
#include "wal-service/store/segment_scan.h"
#include "wal-service/wal_counters.h"

/* A buffer that one large group needed is not kept. */
enum { KEPT_BUFFER_BYTES = 16 << 20 };
static const uint64_t MAX_GROUP_BYTES = (uint64_t)1 << 31;

struct segment_store {
    struct log_store base;
    struct disk *disk;
    struct segment_directory directory;
    struct segment_preparer preparer;
    struct segment_keeper keeper;
    struct log_index index;
    uint64_t segment_bytes;

    /* of the commit thread */
    struct segment_header active;
    int fd;            /* of the active segment */
    uint64_t end;      /* where its next group goes */
    uint64_t sequence; /* of the next group */
    uint32_t checksum; /* of the last group's header, through the whole log */
    uint32_t incarnation;
    bool unvouched; /* the last group has frames and nothing follows it */
    bool dead;
    struct error death;
    struct buffer group;

    struct mutex lock; /* rank 43; covers the rest */
    uint64_t segments; /* active and sealed */
    uint64_t active_bytes;
    uint64_t groups; /* with frames */
};

static struct segment_store *segment_store_of(struct log_store *store)
{
    return (struct segment_store *)store;
}

static enum append_outcome die(struct segment_store *store, int errnum, const char *what, struct error *err)
{
    store->dead = true;
    error_set_errno(&store->death, ERROR_UNAVAILABLE, errnum, "%s of segment %llu failed", what, (unsigned long long)store->active.id);
    if (err)
        *err = store->death;
    return APPEND_UNKNOWN;
}

static enum append_outcome refuse_full(struct segment_store *store, int errnum, struct error *err)
{
    segment_preparer_note_full(&store->preparer);
    error_set_errno(err, ERROR_RESOURCE_EXHAUSTED, errnum, "disk full: no room for the next segment");
    return APPEND_REFUSED;
}

/* ---- segments ------------------------------------------------------------------------------------- */

/* The file becomes the active segment; the one before is sealed (NULL: there was none). */
static void activate(struct segment_store *store, int fd, const struct segment_header *header, uint64_t end,
                     const struct sealed_segment *sealed)
{
    store->active = *header;
    store->fd = fd;
    store->end = end;
    mutex_lock(&store->lock);
    store->segments++;
    store->active_bytes = header->length;
    mutex_unlock(&store->lock);
    log_index_begin_segment(&store->index, (uint32_t)header->id);
    if (sealed)
        segment_keeper_add(&store->keeper, sealed);
}

static struct segment_header next_header(const struct segment_header *last, uint64_t length, uint64_t sequence, uint64_t end,
                                         uint32_t checksum)
{
    return (struct segment_header) {
        .id = last->id + 1,
        .length = length,
        .salt = random_u64(),
        .first_sequence = sequence,
        .predecessor = last->id,
        .predecessor_end = last->id ? end : 0,
        .predecessor_checksum = checksum,
    };
}

/* Goes on in a new segment that has room for the payload. COMMITTED here means that it did. */
static enum append_outcome rotate(struct segment_store *store, uint64_t payload_bytes, struct error *err)
{
    uint64_t length = segment_length_for(payload_bytes);
    struct prepared_file file;
    int failure = length <= store->segment_bytes ? segment_preparer_take(&store->preparer, &file)
                                                 : segment_preparer_make(&store->preparer, length, &file);
    if (disk_is_full(failure))
        return refuse_full(store, failure, err);
    if (disk_failure_passes(failure)) {
        error_set_errno(err, ERROR_RESOURCE_EXHAUSTED, failure, "cannot make the next segment");
        return APPEND_REFUSED;
    }
    if (failure)
        return die(store, failure, "preparing the successor", err);

    struct segment_header header = next_header(&store->active, file.length, store->sequence, store->end, store->checksum);
    memcpy(header.incarnation, store->active.incarnation, INCARNATION_BYTES);
    bool visible;
    failure = segment_file_publish(store->disk, store->directory.fd, file.fd, file.name, &header, bytes_of(NULL, 0), &visible);
    if (failure && !visible) {
        segment_preparer_discard(&store->preparer, &file);
        if (disk_is_full(failure))
            return refuse_full(store, failure, err);
        return die(store, failure, "publishing the successor", err);
    }
    if (failure) {
        close(file.fd);
        return die(store, failure, "publishing the successor", err);
    }
    struct sealed_segment sealed = {
        .end = { store->active.id, store->end, store->checksum },
        .bytes = segment_file_trim_tail(store->disk, store->fd, store->end, store->active.length),
    };
    close(store->fd);
    activate(store, file.fd, &header, SEGMENT_HEADER_BYTES, &sealed);
    return APPEND_COMMITTED;
}

/* ---- groups --------------------------------------------------------------------------------------- */

static void fill_group_header(struct segment_store *store, const struct segment_header *segment, struct buffer *group, uint32_t *checksum)
{
    struct group_header header = {
        .salt = segment->salt,
        .segment = segment->id,
        .sequence = store->sequence,
        .payload_length = (uint32_t)(group->len - GROUP_HEADER_BYTES),
        .payload_checksum = crc32c(0, group->data + GROUP_HEADER_BYTES, group->len - GROUP_HEADER_BYTES),
        .previous_checksum = store->checksum,
    };
    group_header_encode(&header, group->data);
    *checksum = header.checksum;
}

/* The group in the buffer, behind a header that is still empty. */
static enum append_outcome write_group(struct segment_store *store, struct error *err)
{
    uint32_t checksum;
    size_t len = store->group.len;
    fill_group_header(store, &store->active, &store->group, &checksum);
    /* to the end of the page, which is zeros anyway: a page that is written as a whole need not be read first */
    size_t rest = (SEGMENT_BLOCK_BYTES - (store->end + len) % SEGMENT_BLOCK_BYTES) % SEGMENT_BLOCK_BYTES;
    if (!buffer_append_zeros(&store->group, rest)) {
        store->group.failed = false;
        rest = 0;
    }
    int failure = disk_write_all(store->disk, store->fd, store->group.data, len + rest, store->end);
    if (failure)
        return die(store, failure, "a write", err);
    int64_t before = clock_monotonic_micros();
    if (store->disk->ops->sync_data(store->disk, store->fd) != 0)
        return die(store, errno, "a sync", err);
    histogram_micros(&wal_counters.sync, clock_monotonic_micros() - before);
    store->end += len;
    store->sequence++;
    store->checksum = checksum;
    return APPEND_COMMITTED;
}

static bool encode_frames(struct segment_store *store, const struct frame *frames, size_t n, struct error *err)
{
    struct buffer *group = &store->group;
    buffer_clear(group);
    uint64_t size = GROUP_HEADER_BYTES;
    for (size_t i = 0; i < n; i++) {
        if (!frame_check(&frames[i], err))
            return false;
        size += frame_encoded_size(&frames[i]);
        if (size > MAX_GROUP_BYTES)
            return error_set(err, ERROR_RESOURCE_EXHAUSTED, "a group of %zu batches is too large to be written at once", n);
    }
    buffer_reserve(group, size + SEGMENT_BLOCK_BYTES);
    buffer_append_zeros(group, GROUP_HEADER_BYTES);
    for (size_t i = 0; i < n; i++)
        frame_encode(&frames[i], group);
    if (group->failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a group of %llu bytes", (unsigned long long)size);
    return true;
}

static enum append_outcome append_frames(struct segment_store *store, const struct frame *frames, size_t n, struct error *err)
{
    if (!encode_frames(store, frames, n, err))
        return APPEND_REFUSED;
    /* room for an empty group stays: vouching never rotates */
    if (store->end + store->group.len + GROUP_HEADER_BYTES > store->active.length) {
        enum append_outcome outcome = rotate(store, store->group.len - GROUP_HEADER_BYTES, err);
        if (outcome != APPEND_COMMITTED)
            return outcome;
    }
    uint64_t place = store->end + GROUP_HEADER_BYTES;
    enum append_outcome outcome = write_group(store, err);
    if (outcome != APPEND_COMMITTED)
        return outcome;
    store->unvouched = true;
    log_index_publish(&store->index, frames, n, (uint32_t)place, store->incarnation);
    mutex_lock(&store->lock);
    store->groups++;
    mutex_unlock(&store->lock);
    /* now rather than at open: a log that is only started, or only read, prepares nothing */
    segment_preparer_want(&store->preparer);
    return APPEND_COMMITTED;
}

static enum append_outcome segment_append(struct log_store *base, const struct frame *frames, size_t n, struct error *err)
{
    struct segment_store *store = segment_store_of(base);
    if (store->dead) {
        error_set(err, ERROR_UNAVAILABLE, "the log has stopped: %s", store->death.message);
        return APPEND_UNKNOWN;
    }
    if (n == 0)
        return APPEND_COMMITTED;
    if (!log_index_claim(&store->index, frames, n))
        return APPEND_HEAD_MOVED;
    enum append_outcome outcome = append_frames(store, frames, n, err);
    if (store->group.capacity > KEPT_BUFFER_BYTES)
        buffer_destroy(&store->group);
    return outcome;
}

static bool segment_vouch(struct log_store *base, struct error *err)
{
    struct segment_store *store = segment_store_of(base);
    if (store->dead)
        return error_set(err, ERROR_UNAVAILABLE, "the log has stopped: %s", store->death.message);
    if (!store->unvouched)
        return true;
    buffer_clear(&store->group);
    if (!buffer_append_zeros(&store->group, GROUP_HEADER_BYTES))
        return true; /* no memory for 48 bytes: later is soon enough */
    if (write_group(store, err) != APPEND_COMMITTED)
        return false;
    store->unvouched = false;
    return true;
}

/* ---- reads ---------------------------------------------------------------------------------------- */

static void segment_head(struct log_store *base, struct bytes project, struct log_head *head)
{
    log_index_head(&segment_store_of(base)->index, project, head);
}

static uint64_t segment_branch_head(struct log_store *base, struct bytes project, struct bytes branch_id)
{
    return log_index_branch_head(&segment_store_of(base)->index, project, branch_id);
}

static uint64_t segment_batch_end(struct log_store *base, struct bytes project, uint64_t lsn)
{
    return log_index_batch_end(&segment_store_of(base)->index, project, lsn);
}

static void segment_find_time(struct log_store *store, struct bytes project, uint64_t micros, struct log_head *found)
{
    log_index_find_time(&segment_store_of(store)->index, project, micros, found);
}

static bool segment_list_branches(struct log_store *store, struct bytes project, struct bytes after, size_t max, struct arena *arena,
                                  struct log_branch *branches, size_t *n, struct error *err)
{
    return log_index_list_branches(&segment_store_of(store)->index, project, after, max, arena, branches, n, err);
}

static bool segment_scan_range(struct log_store *base, const struct log_range *range, frame_visit_fn *visit, void *ctx, struct error *err)
{
    struct segment_store *store = segment_store_of(base);
    return segment_scan(store->disk, store->directory.fd, &store->index, range, visit, ctx, err);
}

static void segment_incarnation(struct log_store *base, uint8_t out[INCARNATION_BYTES])
{
    log_index_incarnation(&segment_store_of(base)->index, out);
}

static uint64_t segment_known_through(struct log_store *base, struct bytes project, const uint8_t incarnation[INCARNATION_BYTES])
{
    return log_index_known_through(&segment_store_of(base)->index, project, incarnation);
}

static void segment_stats(struct log_store *base, struct log_store_stats *stats)
{
    struct segment_store *store = segment_store_of(base);
    struct log_store_stats found = { .disk_full = segment_preparer_disk_full(&store->preparer) };
    mutex_lock(&store->lock);
    found.segments = store->segments;
    found.disk_bytes = store->active_bytes;
    found.groups = store->groups;
    mutex_unlock(&store->lock);
    log_index_stats(&store->index, &found);
    segment_keeper_stats(&store->keeper, &found);
    *stats = found;
}

/* ---- open and close ------------------------------------------------------------------------------- */

static void segment_close(struct log_store *base)
{
    struct segment_store *store = segment_store_of(base);
    /* best effort: an unvouched group is only one that the next start carries over */
    if (store->fd >= 0)
        (void)!segment_vouch(base, NULL);
    segment_keeper_destroy(&store->keeper);
    segment_preparer_destroy(&store->preparer);
    if (store->fd >= 0)
        close(store->fd);
    segment_directory_close(&store->directory);
    log_index_destroy(&store->index);
    mutex_destroy(&store->lock);
    buffer_destroy(&store->group);
    free(store);
}

static const struct log_store_ops segment_ops = {
    .append = segment_append,
    .vouch = segment_vouch,
    .head = segment_head,
    .branch_head = segment_branch_head,
    .batch_end = segment_batch_end,
    .find_time = segment_find_time,
    .list_branches = segment_list_branches,
    .scan = segment_scan_range,
    .incarnation = segment_incarnation,
    .known_through = segment_known_through,
    .stats = segment_stats,
    .close = segment_close,
};

/* A file for the first segment of this run. On a full disk the smallest that will do: what is in the log can
 * then be read, and appends are refused until there is room. */
static bool make_first_file(struct segment_store *store, uint64_t payload_bytes, struct prepared_file *file, struct error *err)
{
    uint64_t least = segment_length_for(payload_bytes);
    uint64_t length = least > store->segment_bytes ? least : store->segment_bytes;
    int failure = segment_preparer_make(&store->preparer, length, file);
    if (disk_is_full(failure) && length > least) {
        failure = segment_preparer_make(&store->preparer, least, file);
        segment_preparer_note_full(&store->preparer);
    }
    if (failure)
        return error_set_errno(err, disk_is_full(failure) ? ERROR_RESOURCE_EXHAUSTED : ERROR_UNAVAILABLE, failure,
                               "cannot make a segment of %llu bytes", (unsigned long long)length);
    return true;
}

/* What recovery sealed gives its unused blocks back, or each start would cost the disk a segment. */
static uint64_t trim_predecessor(struct segment_store *store, const struct log_tail *tail)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name_format(tail->last.id, name);
    int fd = store->disk->ops->open(store->disk, store->directory.fd, name, O_RDWR);
    if (fd < 0)
        return tail->last.length;
    uint64_t left = segment_file_trim_tail(store->disk, fd, tail->end, tail->last.length);
    close(fd);
    return left;
}

/* Begins the segment of this run, with the group that was carried over in it. */
static bool begin_segment(struct segment_store *store, const struct log_tail *tail, struct error *err)
{
    struct prepared_file file;
    size_t carried = tail->carried.len;
    if (tail->last.id >= UINT32_MAX)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "the log has used up its segment numbers");
    if (!make_first_file(store, carried, &file, err))
        return false;
    struct segment_header header = next_header(&tail->last, file.length, tail->sequence, tail->end, tail->checksum);
    header.carried = carried > 0;
    random_bytes(header.incarnation, INCARNATION_BYTES);

    store->sequence = tail->sequence;
    store->checksum = tail->checksum;
    buffer_clear(&store->group);
    bool visible = false;
    int failure = 0;
    if (carried) {
        buffer_append_zeros(&store->group, GROUP_HEADER_BYTES);
        buffer_append(&store->group, tail->carried.data, carried);
        if (store->group.failed)
            failure = ENOMEM;
        else
            fill_group_header(store, &header, &store->group, &store->checksum);
    }
    if (!failure)
        failure =
            segment_file_publish(store->disk, store->directory.fd, file.fd, file.name, &header, buffer_bytes(&store->group), &visible);
    if (failure) {
        if (visible)
            close(file.fd);
        else
            segment_preparer_discard(&store->preparer, &file);
        return error_set_errno(err, disk_is_full(failure) || failure == ENOMEM ? ERROR_RESOURCE_EXHAUSTED : ERROR_UNAVAILABLE, failure,
                               "cannot begin segment %llu", (unsigned long long)header.id);
    }
    store->sequence += carried > 0;
    store->incarnation = log_index_begin_incarnation(&store->index, header.incarnation);
    struct sealed_segment sealed = { .end = { tail->last.id, tail->end, tail->checksum } };
    if (tail->last.id)
        sealed.bytes = trim_predecessor(store, tail);
    activate(store, file.fd, &header, SEGMENT_HEADER_BYTES + store->group.len, tail->last.id ? &sealed : NULL);
    return true;
}

static bool recover(struct segment_store *store, frame_visit_fn *recovered, void *ctx, struct segment_recovery *report, struct error *err)
{
    struct recovery_request request = {
        .disk = store->disk, .directory = store->directory.fd, .index = &store->index, .visit = recovered, .ctx = ctx
    };
    uint64_t *ids = NULL;
    struct sealed_segment *sealed = NULL;
    struct log_tail tail = { .sequence = 1 };
    struct segment_recovery found = { 0 };
    bool ok = false;
    if (!segment_directory_list(&store->directory, store->disk, &ids, &request.n_ids, err))
        goto out;
    request.ids = ids;
    request.sealed = sealed = mem_zalloc((request.n_ids + 1) * sizeof sealed[0]);
    if (request.n_ids > 0 && !segment_log_recover(&request, &found, &tail, err))
        goto out;
    store->segments = found.segments;
    store->groups = found.groups;
    for (size_t i = 0; i + 1 < request.n_ids; i++)
        segment_keeper_add(&store->keeper, &sealed[i]);
    if (!begin_segment(store, &tail, err))
        goto out;
    *report = found;
    ok = true;
out:
    buffer_destroy(&tail.carried);
    free(ids);
    free(sealed);
    return ok;
}

bool segment_store_open_on(struct disk *disk, const struct segment_store_options *options, frame_visit_fn *recovered, void *ctx,
                           struct segment_recovery *report, struct log_store **out, struct error *err)
{
    uint64_t length = options->segment_bytes ? options->segment_bytes : DEFAULT_SEGMENT_BYTES;
    if (length < MIN_SEGMENT_BYTES || length > MAX_SEGMENT_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a segment has %d bytes to %d, not %llu", MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES,
                         (unsigned long long)length);
    struct segment_directory directory;
    if (!segment_directory_open(&directory, options->directory, err))
        return false;
    struct segment_store *store = mem_zalloc(sizeof *store);
    store->base.ops = &segment_ops;
    store->disk = disk;
    store->directory = directory;
    store->segment_bytes = (length + SEGMENT_BLOCK_BYTES - 1) / SEGMENT_BLOCK_BYTES * SEGMENT_BLOCK_BYTES;
    store->fd = -1;
    mutex_init(&store->lock, 43);
    log_index_init(&store->index);
    segment_preparer_init(&store->preparer, disk, directory.fd, store->segment_bytes);
    segment_keeper_init(&store->keeper, disk, directory.fd, &store->index, options->compress_after, options->background_failed,
                        options->ctx);
    if (!recover(store, recovered, ctx, report, err)) {
        segment_close(&store->base);
        return false;
    }
    segment_preparer_start(&store->preparer);
    if (!options->keep_when_settled)
        segment_keeper_start(&store->keeper);
    *out = &store->base;
    return true;
}

bool segment_store_settle(struct log_store *store)
{
    segment_preparer_settle(&segment_store_of(store)->preparer);
    return segment_keeper_settle(&segment_store_of(store)->keeper);
}

bool segment_store_open(const struct segment_store_options *options, frame_visit_fn *recovered, void *ctx, struct segment_recovery *report,
                        struct log_store **store, struct error *err)
{
    return segment_store_open_on(&system_disk, options, recovered, ctx, report, store, err);
}
