/* What is counted on the way, of the whole process; wal_metrics.c shows it. */
#ifndef ARGON_WAL_WAL_COUNTERS_H
#define ARGON_WAL_WAL_COUNTERS_H

#include "common/base/metrics.h"

struct wal_counters {
    struct metric_counter batches;       /* committed */
    struct metric_counter conflicts;     /* batches refused because a key was written later */
    struct metric_counter stale_reads;   /* batches refused because their read LSN is not known about any more */
    struct metric_counter repeats;       /* requests recognized by their request_id, in an append or when asked for */
    struct metric_counter queue_refused; /* appends refused because the queue is full */
    struct metric_counter disk_refused;  /* groups refused because the disk is full */
    struct histogram group_batches, group_entries;
    struct histogram sync; /* fdatasync, microseconds */
};
extern struct wal_counters wal_counters;

#endif
