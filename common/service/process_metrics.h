/* What every process says of itself: the standard process_* metrics, and which build it is. */
#ifndef ARGON_SERVICE_PROCESS_METRICS_H
#define ARGON_SERVICE_PROCESS_METRICS_H

#include "common/base/metrics.h"

extern const struct metric_table process_metrics;

void process_metrics_write(const char *service, struct buffer *out);

#endif
