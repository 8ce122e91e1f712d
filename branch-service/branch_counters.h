/* What is counted on the way, of the whole process; branch_metrics.c shows it. */
#ifndef ARGON_BRANCH_BRANCH_COUNTERS_H
#define ARGON_BRANCH_BRANCH_COUNTERS_H

#include "common/base/metrics.h"

struct branch_counters {
    struct metric_counter writes;          /* batches appended */
    struct metric_counter write_conflicts; /* appends refused as ABORTED: the write looks again */
    struct metric_counter write_repeats;   /* requests that the log knew already */
    struct metric_counter appends_begun, appends_ended;
    struct histogram append;        /* a writer's append, with its wait for others: microseconds */
    struct histogram group_batches; /* batches that went to the log as one request */
    struct metric_counter views_evicted;
    struct metric_counter entries_replayed;
    struct histogram follow_lag; /* from the commit of what a follow brings to its being seen here: microseconds */
};
extern struct branch_counters branch_counters;

#endif
