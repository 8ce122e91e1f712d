/* The WAL service's rows for Prometheus. */
#ifndef ARGON_WAL_WAL_METRICS_H
#define ARGON_WAL_WAL_METRICS_H

#include "common/base/metrics.h"
#include "wal-service/wal.h"

extern const struct metric_table wal_metrics;

/* directory: whose disk is looked at. */
void wal_metrics_write(struct wal *wal, const char *directory, struct buffer *out);

#endif
