#include "wal-service/store/segment_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "wal-service/store/segment_pack.h"

enum {
    NICENESS = 10,
    LONGEST_WAIT_SECONDS = 60,
    /* the preparer counts from 1 */
    FIRST_TEMPORARY = 1 << 30,
};

void segment_keeper_init(struct segment_keeper *keeper, struct disk *disk, int directory, struct log_index *index, uint64_t compress_after,
                         void (*failed)(void *ctx, const struct error *err), void *failed_ctx)
{
    *keeper = (struct segment_keeper) {
        .disk = disk,
        .directory = directory,
        .index = index,
        .compress_after = compress_after,
        .failed = failed,
        .failed_ctx = failed_ctx,
    };
    mutex_init(&keeper->lock, 41);
    condition_init(&keeper->changed);
}

/* ---- files ---------------------------------------------------------------------------------------- */

static bool keep_going(void *ctx)
{
    struct segment_keeper *keeper = ctx;
    mutex_lock(&keeper->lock);
    bool going = !keeper->stopping;
    mutex_unlock(&keeper->lock);
    return going;
}

static bool disk_failed(int errnum, const char *what, const char *name, struct error *err)
{
    enum error_code code = disk_is_full(errnum) ? ERROR_RESOURCE_EXHAUSTED : ERROR_UNAVAILABLE;
    return error_set_errno(err, code, errnum, "cannot %s %s", what, name);
}

static int make_temporary(struct segment_keeper *keeper, char name[SEGMENT_NAME_SIZE], struct error *err)
{
    segment_temporary_name(FIRST_TEMPORARY + ++keeper->files, name);
    int fd = keeper->disk->ops->open(keeper->disk, keeper->directory, name, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0)
        disk_failed(errno, "make", name, err);
    return fd;
}

/* The synced file gets its name, for good. */
static bool publish(struct segment_keeper *keeper, const char *temporary, const char *name, struct error *err)
{
    struct disk *disk = keeper->disk;
    if (disk->ops->rename(disk, keeper->directory, temporary, name) != 0) {
        disk_failed(errno, "rename", temporary, err);
        disk->ops->unlink(disk, keeper->directory, temporary);
        return false;
    }
    return disk->ops->sync(disk, keeper->directory) == 0 || disk_failed(errno, "sync the directory for", name, err);
}

/* ---- footers -------------------------------------------------------------------------------------- */

static bool write_footer(struct segment_keeper *keeper, struct bytes footer, const char *name, struct error *err)
{
    char temporary[SEGMENT_NAME_SIZE];
    int fd = make_temporary(keeper, temporary, err);
    if (fd < 0)
        return false;
    int failure = disk_write_all(keeper->disk, fd, footer.data, footer.len, 0);
    if (!failure && keeper->disk->ops->sync(keeper->disk, fd) != 0)
        failure = errno;
    close(fd);
    if (failure) {
        keeper->disk->ops->unlink(keeper->disk, keeper->directory, temporary);
        return disk_failed(failure, "write", temporary, err);
    }
    return publish(keeper, temporary, name, err);
}

static bool make_footer(struct segment_keeper *keeper, struct sealed_segment *sealed, struct error *err)
{
    char name[SEGMENT_NAME_SIZE];
    struct buffer buffer = { 0 };
    struct segment_footer *footer = NULL;
    uint64_t entries;
    uint32_t id = (uint32_t)sealed->end.id;
    bool ok = false;
    segment_footer_name_format(id, name);
    const struct batch_table *table = log_index_sealed_table(keeper->index, id, &entries);
    if (batch_table_projects(table) == 0) {
        sealed->empty = sealed->has_footer = true;
        log_index_take_footer(keeper->index, id, NULL);
        return true;
    }
    segment_footer_encode(&sealed->end, table, entries, &buffer);
    if (buffer.failed)
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for %s", name);
    else if (write_footer(keeper, buffer_bytes(&buffer), name, err) &&
             segment_footer_open(keeper->disk, keeper->directory, id, &footer, err)) {
        ok = bytes_equal(buffer_bytes(&buffer), segment_footer_bytes(footer)) ||
             error_set(err, ERROR_DATA_LOSS, "%s does not hold what was written", name);
        if (ok)
            log_index_take_footer(keeper->index, id, footer);
        else
            segment_footer_close(footer);
    }
    sealed->footer_bytes = ok ? buffer.len : 0;
    sealed->has_footer = ok;
    buffer_destroy(&buffer);
    return ok;
}

/* ---- compression ---------------------------------------------------------------------------------- */

/* Into a temporary file, compared; then under its name. */
static bool pack(struct segment_keeper *keeper, int from, struct sealed_segment *sealed, const char *name, uint64_t *bytes,
                 struct error *err)
{
    char temporary[SEGMENT_NAME_SIZE];
    int to = make_temporary(keeper, temporary, err);
    if (to < 0)
        return false;
    bool ok = segment_pack_write(keeper->disk, from, to, sealed->end.id, sealed->end.end, keep_going, keeper, bytes, err);
    close(to);
    if (!ok) {
        keeper->disk->ops->unlink(keeper->disk, keeper->directory, temporary);
        return false;
    }
    return publish(keeper, temporary, name, err);
}

static bool compress(struct segment_keeper *keeper, struct sealed_segment *sealed, struct error *err)
{
    char name[SEGMENT_NAME_SIZE], original[SEGMENT_NAME_SIZE];
    segment_packed_name_format(sealed->end.id, name);
    segment_name_format(sealed->end.id, original);
    int from = keeper->disk->ops->open(keeper->disk, keeper->directory, original, O_RDONLY);
    if (from < 0)
        return disk_failed(errno, "open", original, err);
    uint64_t bytes;
    bool ok = pack(keeper, from, sealed, name, &bytes, err);
    close(from);
    if (!ok)
        return false;
    /* an unlink that a power cut takes back leaves both, which is fine */
    if (keeper->disk->ops->unlink(keeper->disk, keeper->directory, original) != 0)
        return disk_failed(errno, "remove", original, err);
    sealed->bytes = bytes;
    sealed->packed = true;
    return true;
}

/* ---- the thread ----------------------------------------------------------------------------------- */

enum job { JOB_NONE, JOB_FOOTER, JOB_COMPRESS };

static enum job next_job_locked(struct segment_keeper *keeper, size_t *segment)
{
    while (keeper->with_footer < keeper->n && keeper->segments[keeper->with_footer].has_footer)
        keeper->with_footer++;
    while (keeper->packed < keeper->n && (keeper->segments[keeper->packed].packed || keeper->segments[keeper->packed].empty))
        keeper->packed++;
    if (keeper->with_footer < keeper->n) {
        *segment = keeper->with_footer;
        return JOB_FOOTER;
    }
    if (keeper->compress_after > 0 && keeper->packed + keeper->compress_after < keeper->n) {
        *segment = keeper->packed;
        return JOB_COMPRESS;
    }
    return JOB_NONE;
}

static void count_locked(struct segment_keeper *keeper, const struct sealed_segment *sealed)
{
    keeper->bytes += sealed->bytes + sealed->footer_bytes;
    keeper->n_footers += sealed->has_footer;
    keeper->n_packed += sealed->packed;
    keeper->unpacked_bytes += sealed->packed ? sealed->end.end : 0;
}

static void uncount_locked(struct segment_keeper *keeper, const struct sealed_segment *sealed)
{
    keeper->bytes -= sealed->bytes + sealed->footer_bytes;
    keeper->n_footers -= sealed->has_footer;
    keeper->n_packed -= sealed->packed;
    keeper->unpacked_bytes -= sealed->packed ? sealed->end.end : 0;
}

/* Without the lock. False with err untouched: it was told to stop. */
static bool do_job(struct segment_keeper *keeper, enum job job, struct sealed_segment *sealed, struct error *err)
{
    return job == JOB_FOOTER ? make_footer(keeper, sealed, err) : compress(keeper, sealed, err);
}

static void note_failure(struct segment_keeper *keeper, const struct error *err)
{
    if (keeper->failed)
        keeper->failed(keeper->failed_ctx, err);
    mutex_lock(&keeper->lock);
    keeper->failures++;
    uint64_t seconds = (uint64_t)1 << (keeper->failures_in_a_row < 6 ? keeper->failures_in_a_row : 6);
    keeper->failures_in_a_row++;
    if (seconds > LONGEST_WAIT_SECONDS)
        seconds = LONGEST_WAIT_SECONDS;
    keeper->retry_at = clock_monotonic_micros() + (int64_t)seconds * 1000000;
    mutex_unlock(&keeper->lock);
}

/* Under the lock, which it leaves meanwhile. */
static bool work_locked(struct segment_keeper *keeper, enum job job, size_t segment)
{
    struct sealed_segment sealed = keeper->segments[segment];
    struct error err = { 0 };
    keeper->working = true;
    mutex_unlock(&keeper->lock);
    bool ok = do_job(keeper, job, &sealed, &err);
    if (err.code != ERROR_OK)
        note_failure(keeper, &err);
    mutex_lock(&keeper->lock);
    keeper->working = false;
    if (ok) {
        keeper->failures_in_a_row = 0;
        uncount_locked(keeper, &keeper->segments[segment]);
        keeper->segments[segment] = sealed;
        count_locked(keeper, &sealed);
    }
    condition_broadcast(&keeper->changed);
    return ok;
}

static void *run(void *ctx)
{
    struct segment_keeper *keeper = ctx;
    /* of this thread alone: appends and reads go first */
    (void)!setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICENESS);
    mutex_lock(&keeper->lock);
    while (!keeper->stopping) {
        size_t segment = 0;
        enum job job = next_job_locked(keeper, &segment);
        if (job == JOB_NONE) {
            condition_wait(&keeper->changed, &keeper->lock);
            continue;
        }
        if (keeper->retry_at != 0) {
            if (!condition_wait_until(&keeper->changed, &keeper->lock, keeper->retry_at))
                keeper->retry_at = 0;
            continue;
        }
        (void)work_locked(keeper, job, segment);
    }
    mutex_unlock(&keeper->lock);
    return NULL;
}

void segment_keeper_start(struct segment_keeper *keeper)
{
    keeper->thread = thread_start("wal-keep", run, keeper);
    keeper->started = true;
}

void segment_keeper_destroy(struct segment_keeper *keeper)
{
    mutex_lock(&keeper->lock);
    keeper->stopping = true;
    condition_broadcast(&keeper->changed);
    mutex_unlock(&keeper->lock);
    if (keeper->started)
        pthread_join(keeper->thread, NULL);
    free(keeper->segments);
    condition_destroy(&keeper->changed);
    mutex_destroy(&keeper->lock);
}

void segment_keeper_add(struct segment_keeper *keeper, const struct sealed_segment *sealed)
{
    mutex_lock(&keeper->lock);
    if (keeper->n == keeper->capacity) {
        keeper->capacity = keeper->capacity ? keeper->capacity + keeper->capacity / 2 : 8;
        keeper->segments = mem_realloc(keeper->segments, keeper->capacity * sizeof keeper->segments[0]);
    }
    keeper->segments[keeper->n++] = *sealed;
    count_locked(keeper, sealed);
    keeper->retry_at = 0;
    condition_broadcast(&keeper->changed);
    mutex_unlock(&keeper->lock);
}

void segment_keeper_stats(struct segment_keeper *keeper, struct log_store_stats *stats)
{
    mutex_lock(&keeper->lock);
    stats->disk_bytes += keeper->bytes;
    stats->sealed_segments = keeper->n_footers;
    stats->compressed_segments = keeper->n_packed;
    stats->uncompressed_bytes = keeper->unpacked_bytes;
    stats->background_failures = keeper->failures;
    stats->memory_bytes += keeper->capacity * sizeof keeper->segments[0];
    mutex_unlock(&keeper->lock);
}

bool segment_keeper_settle(struct segment_keeper *keeper)
{
    size_t segment;
    mutex_lock(&keeper->lock);
    if (!keeper->started) {
        enum job job;
        bool ok = true;
        while (ok && (job = next_job_locked(keeper, &segment)) != JOB_NONE)
            ok = work_locked(keeper, job, segment);
        mutex_unlock(&keeper->lock);
        return ok;
    }
    while (keeper->working || (next_job_locked(keeper, &segment) != JOB_NONE && keeper->retry_at == 0))
        condition_wait(&keeper->changed, &keeper->lock);
    bool done = next_job_locked(keeper, &segment) == JOB_NONE;
    mutex_unlock(&keeper->lock);
    return done;
}
