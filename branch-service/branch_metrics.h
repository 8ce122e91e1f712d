/* The branch service's rows for Prometheus. */
#ifndef ARGON_BRANCH_BRANCH_METRICS_H
#define ARGON_BRANCH_BRANCH_METRICS_H

#include "branch-service/registry/registry.h"
#include "branch-service/wal_watch.h"
#include "common/base/metrics.h"

extern const struct metric_table branch_metrics;

void branch_metrics_write(struct registry *registry, struct wal_watch *wal, uint64_t max_follows, struct buffer *out);

#endif
