#include "branch-service/branch_metrics.h"

#include "branch-service/branch_counters.h"
#include "branch-service/branches/warm.h"
#include "branch-service/view/view_cache.h"

struct sample {
    uint64_t wal_reachable, wal_silence;
    uint64_t writes, conflicts, repeats, appends_waiting;
    uint64_t cache_bytes, cache_limit, views, hits, misses, evictions, building, replayed;
    uint64_t projects, follows, follow_limit, head_checks, log_reads;
    const struct histogram *append, *group_batches, *follow_lag;
};

#define ROW(name, type, unit, field, help)                                                                                                 \
    {                                                                                                                                      \
        (name), METRIC_##type, METRIC_##unit, (help), offsetof(struct sample, field), NULL, NULL                                           \
    }
static const struct metric rows[] = {
    ROW("argon_branch_wal_reachable", GAUGE, NUMBER, wal_reachable, "1: the WAL service answered when it was asked last, once a second"),
    ROW("argon_branch_wal_silence_seconds", GAUGE, MICROS, wal_silence, "time since the WAL service answered that, or since the start"),
    ROW("argon_branch_writes_total", COUNTER, NUMBER, writes, "batches that the log took"),
    ROW("argon_branch_write_conflicts_total", COUNTER, NUMBER, conflicts,
        "batches that the log refused because somebody else was faster, or the read too old; the write looks again"),
    ROW("argon_branch_write_repeats_total", COUNTER, NUMBER, repeats, "requests that the log knew already, by their request_id"),
    ROW("argon_branch_append_duration_seconds", HISTOGRAM, MICROS, append, "a batch on its way into the log, with its wait for others"),
    ROW("argon_branch_append_group_batches", HISTOGRAM, NUMBER, group_batches, "batches that went to the WAL service as one request"),
    ROW("argon_branch_append_queue", GAUGE, NUMBER, appends_waiting, "batches on their way into the log"),
    ROW("argon_branch_cache_bytes", GAUGE, NUMBER, cache_bytes, "memory of materialized collections, and of what queries and writes hold"),
    ROW("argon_branch_cache_bytes_limit", GAUGE, NUMBER, cache_limit, "the budget for it (--memory)"),
    ROW("argon_branch_cache_views", GAUGE, NUMBER, views, "materialized collections"),
    ROW("argon_branch_cache_hits_total", COUNTER, NUMBER, hits, "reads that found their collection materialized"),
    ROW("argon_branch_cache_misses_total", COUNTER, NUMBER, misses, "reads that had to build it"),
    ROW("argon_branch_cache_evictions_total", COUNTER, NUMBER, evictions, "materialized collections dropped for want of memory"),
    ROW("argon_branch_views_building", GAUGE, NUMBER, building, "collections that are being materialized ahead of their readers"),
    ROW("argon_branch_replayed_entries_total", COUNTER, NUMBER, replayed, "entries of the log applied to catalogs and collections"),
    ROW("argon_branch_projects", GAUGE, NUMBER, projects, "projects known here"),
    ROW("argon_branch_follows", GAUGE, NUMBER, follows, "projects whose log is followed"),
    ROW("argon_branch_follows_limit", GAUGE, NUMBER, follow_limit, "the most of these (--max-follows)"),
    ROW("argon_branch_follow_lag_seconds", HISTOGRAM, MICROS, follow_lag,
        "from the commit of what a follow brings until it is seen here, by the clocks of both services"),
    ROW("argon_branch_head_checks_total", COUNTER, NUMBER, head_checks, "questions for the head of a log"),
    ROW("argon_branch_log_reads_total", COUNTER, NUMBER, log_reads, "reads of a log, to catch up"),
};
const struct metric_table branch_metrics = { rows, ARRAY_LEN(rows) };

void branch_metrics_write(struct registry *registry, struct wal_watch *wal, uint64_t max_follows, struct buffer *out)
{
    struct view_cache *cache = registry_cache(registry);
    struct project_stats stats;
    bool reachable;
    struct sample sample = {
        .wal_silence = (uint64_t)wal_watch_silence(wal, &reachable),
        .writes = counter_read(&branch_counters.writes),
        .conflicts = counter_read(&branch_counters.write_conflicts),
        .repeats = counter_read(&branch_counters.write_repeats),
        .append = &branch_counters.append,
        .group_batches = &branch_counters.group_batches,
        .cache_bytes = view_cache_budget(cache)->used,
        .cache_limit = view_cache_budget(cache)->limit,
        .views = view_cache_count(cache),
        .hits = view_cache_hits(cache),
        .misses = view_cache_misses(cache),
        .evictions = counter_read(&branch_counters.views_evicted),
        .building = warmer_building(registry_warmer(registry)),
        .replayed = counter_read(&branch_counters.entries_replayed),
        .projects = registry_project_count(registry),
        .follows = registry_follow_count(registry),
        .follow_limit = max_follows,
        .follow_lag = &branch_counters.follow_lag,
    };
    sample.wal_reachable = reachable;
    /* what has ended is read first: the difference is never below nothing */
    sample.appends_waiting = counter_read(&branch_counters.appends_ended);
    sample.appends_waiting = counter_read(&branch_counters.appends_begun) - sample.appends_waiting;
    registry_stats(registry, &stats);
    sample.head_checks = stats.head_checks;
    sample.log_reads = stats.log_reads;
    metrics_write(out, &branch_metrics, &sample);
}
