#include "wal-service/wal_metrics.h"

#include <sys/statvfs.h>

#include "wal-service/wal_counters.h"

struct sample {
    struct wal_stats wal;
    uint64_t failed, disk_full, disk_free, disk_total;
    uint64_t batches, conflicts, stale_reads, repeats, queue_refused, disk_refused;
    const struct histogram *group_batches, *group_entries, *sync;
};

#define ROW(name, type, unit, field, help)                                                                                                 \
    {                                                                                                                                      \
        (name), METRIC_##type, METRIC_##unit, (help), offsetof(struct sample, field), NULL, NULL                                           \
    }
static const struct metric rows[] = {
    ROW("argon_wal_commit_lsn", GAUGE, NUMBER, wal.published, "entries that readers see: the commit LSNs of all projects together"),
    ROW("argon_wal_durable_lsn", GAUGE, NUMBER, wal.store.entries,
        "entries on disk: the same, ahead of it while a group is being published"),
    ROW("argon_wal_projects", GAUGE, NUMBER, wal.store.projects, "projects that have entries"),
    ROW("argon_wal_batches_total", COUNTER, NUMBER, batches, "batches committed since the start"),
    ROW("argon_wal_group_batches", HISTOGRAM, NUMBER, group_batches, "batches in a group: what one write and one sync made durable"),
    ROW("argon_wal_group_entries", HISTOGRAM, NUMBER, group_entries, "entries in a group"),
    ROW("argon_wal_fsync_duration_seconds", HISTOGRAM, MICROS, sync, "the sync of a group"),
    ROW("argon_wal_queue_appends", GAUGE, NUMBER, wal.queued, "appends without an answer"),
    ROW("argon_wal_queue_bytes", GAUGE, NUMBER, wal.queued_bytes, "memory of appends without an answer"),
    ROW("argon_wal_queue_bytes_limit", GAUGE, NUMBER, wal.queue_limit, "the budget for it (--queue-bytes)"),
    ROW("argon_wal_queue_refused_total", COUNTER, NUMBER, queue_refused, "appends refused because the queue was full"),
    ROW("argon_wal_conflicts_total", COUNTER, NUMBER, conflicts, "batches refused because what they read was written later"),
    ROW("argon_wal_stale_reads_total", COUNTER, NUMBER, stale_reads,
        "batches refused because their read LSN is older than the conflict window, or of another incarnation"),
    ROW("argon_wal_repeats_total", COUNTER, NUMBER, repeats, "requests recognized by their request_id, in an append or when asked for"),
    ROW("argon_wal_requests_remembered", GAUGE, NUMBER, wal.requests_remembered, "requests that are recognized when they come again"),
    ROW("argon_wal_follow_streams", GAUGE, NUMBER, wal.follow_streams, "streams that follow the log"),
    ROW("argon_wal_follow_streams_limit", GAUGE, NUMBER, wal.follow_limit, "more than these are refused (--max-follows)"),
    ROW("argon_wal_segments", GAUGE, NUMBER, wal.store.segments, "segment files"),
    ROW("argon_wal_segments_sealed", GAUGE, NUMBER, wal.store.sealed_segments,
        "of these, those with a footer instead of an index in memory"),
    ROW("argon_wal_segments_compressed", GAUGE, NUMBER, wal.store.compressed_segments, "of these, the compressed ones"),
    ROW("argon_wal_segment_upkeep_failures_total", COUNTER, NUMBER, wal.store.background_failures,
        "failures of sealing and compressing; each is tried again"),
    ROW("argon_wal_disk_bytes", GAUGE, NUMBER, wal.store.disk_bytes, "bytes of all segments on disk"),
    ROW("argon_wal_disk_free_bytes", GAUGE, NUMBER, disk_free, "free on the file system of the log"),
    ROW("argon_wal_disk_size_bytes", GAUGE, NUMBER, disk_total, "size of the file system of the log"),
    ROW("argon_wal_disk_full", GAUGE, NUMBER, disk_full, "1: appends are refused because the disk is full"),
    ROW("argon_wal_disk_refused_total", COUNTER, NUMBER, disk_refused,
        "groups refused because the disk was full, or too many files were open"),
    ROW("argon_wal_failed", GAUGE, NUMBER, failed, "1: a write or sync has failed; the service is about to exit"),
    ROW("argon_wal_memory_bytes", GAUGE, NUMBER, wal.memory_bytes, "memory of indexes, windows and queue"),
};
const struct metric_table wal_metrics = { rows, ARRAY_LEN(rows) };

void wal_metrics_write(struct wal *wal, const char *directory, struct buffer *out)
{
    struct sample sample = {
        .failed = wal_has_failed(wal),
        .batches = counter_read(&wal_counters.batches),
        .conflicts = counter_read(&wal_counters.conflicts),
        .stale_reads = counter_read(&wal_counters.stale_reads),
        .repeats = counter_read(&wal_counters.repeats),
        .queue_refused = counter_read(&wal_counters.queue_refused),
        .disk_refused = counter_read(&wal_counters.disk_refused),
        .group_batches = &wal_counters.group_batches,
        .group_entries = &wal_counters.group_entries,
        .sync = &wal_counters.sync,
    };
    struct statvfs disk;
    wal_get_stats(wal, &sample.wal);
    sample.disk_full = sample.wal.store.disk_full;
    if (statvfs(directory, &disk) == 0) {
        sample.disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
        sample.disk_total = (uint64_t)disk.f_blocks * disk.f_frsize;
    }
    metrics_write(out, &wal_metrics, &sample);
}
