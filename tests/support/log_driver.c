#include "tests/support/log_driver.h"

#include "tests/support/sample_frames.h"
#include "wal-service/store/segment_store_internal.h"

struct follower {
    uint64_t head;
};

static bool follow(void *ctx, const struct frame *frame, struct error *err)
{
    struct follower *follower = ctx;
    if (frame->first_lsn != follower->head + 1)
        return error_set(err, ERROR_INTERNAL, "LSN %llu follows %llu", (unsigned long long)frame->first_lsn,
                         (unsigned long long)follower->head);
    if (!sample_matches(frame))
        return error_set(err, ERROR_INTERNAL, "the batch at LSN %llu is not what was written", (unsigned long long)frame->first_lsn);
    follower->head = frame_last_lsn(frame);
    return true;
}

/* What recovery shows must be what was written, too. */
static bool show(void *ctx, const struct frame *frame, struct error *err)
{
    (void)ctx;
    if (!sample_matches(frame))
        return error_set(err, ERROR_INTERNAL, "recovery shows another batch at LSN %llu", (unsigned long long)frame->first_lsn);
    return true;
}

bool driver_open(struct disk *disk, const char *path, uint64_t compress_after, struct segment_recovery *report, struct log_store **store,
                 struct error *err)
{
    struct segment_store_options options = { .directory = path, .segment_bytes = DRIVER_SEGMENT_BYTES, .compress_after = compress_after };
    return segment_store_open_on(disk, &options, show, NULL, report, store, err);
}

uint64_t driver_head(struct log_store *store, const char *project)
{
    struct log_head head;
    log_store_head(store, bytes_of_string(project), &head);
    return head.lsn;
}

enum append_outcome driver_append(struct log_store *store, const char *const projects[2], size_t size, uint64_t heads[2], struct error *err)
{
    struct sample samples[2];
    struct frame frames[2];
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        if (!projects[i])
            continue;
        sample_init(&samples[n], projects[i], driver_head(store, projects[i]) + 1, size);
        frames[n] = samples[n].frame;
        heads[i] = frame_last_lsn(&frames[n++]);
    }
    enum append_outcome outcome = log_store_append(store, frames, n, err);
    while (n > 0)
        sample_destroy(&samples[--n]);
    return outcome;
}

bool driver_check(struct log_store *store, const char *project, struct error *err)
{
    struct follower follower = { 0 };
    struct log_range range = { .project = bytes_of_string(project), .through = UINT64_MAX };
    if (!log_store_scan(store, &range, follow, &follower, err))
        return false;
    uint64_t head = driver_head(store, project);
    if (follower.head != head)
        return error_set(err, ERROR_INTERNAL, "the scan ends at LSN %llu, the head is %llu", (unsigned long long)follower.head,
                         (unsigned long long)head);
    return true;
}
