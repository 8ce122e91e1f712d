/* One JSON line an event, to stderr.
 *
 *     log_warn("segment.torn_tail", KV_STR("file", name), KV_U64("dropped_bytes", n));
 *
 * Called by main, RPC boundaries and background threads; libraries return errors instead. Document
 * contents are never logged. A line written while a thread works on a call that came with a trace id (trace.h) carries it.
 *
 * Threads    any; a line is written whole.
 */
#ifndef ARGON_BASE_LOG_H
#define ARGON_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_value_kind { LOG_VALUE_STRING, LOG_VALUE_U64, LOG_VALUE_I64, LOG_VALUE_ERROR };

struct log_value {
    const char *key;
    enum log_value_kind kind;
    union {
        const char *string;
        uint64_t u64;
        int64_t i64;
        const struct error *error;
    };
};

#define KV_STR(k, v) ((struct log_value) { .key = (k), .kind = LOG_VALUE_STRING, .string = (v) })
#define KV_U64(k, v) ((struct log_value) { .key = (k), .kind = LOG_VALUE_U64, .u64 = (v) })
#define KV_I64(k, v) ((struct log_value) { .key = (k), .kind = LOG_VALUE_I64, .i64 = (v) })
/* Two members: "code" and "error". */
#define KV_ERR(e) ((struct log_value) { .key = "error", .kind = LOG_VALUE_ERROR, .error = (e) })

/* The first element is a placeholder, so that an event without values is one too. */
#define LOG_VALUES_(...)                                                                                                                   \
    (const struct log_value[])                                                                                                             \
    {                                                                                                                                      \
        { .key = NULL }, ##__VA_ARGS__                                                                                                     \
    }
#define LOG_EVENT_(level, event, ...)                                                                                                      \
    log_write((level), (event), LOG_VALUES_(__VA_ARGS__) + 1, sizeof(LOG_VALUES_(__VA_ARGS__)) / sizeof(struct log_value) - 1)

#define log_debug(event, ...) LOG_EVENT_(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...)  LOG_EVENT_(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...)  LOG_EVENT_(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_EVENT_(LOG_ERROR, event, ##__VA_ARGS__)

void log_set_level(enum log_level level); /* default LOG_INFO; any time */
/* "debug", "info", "warn", "error". */
CHECKED bool log_level_parse(const char *text, enum log_level *level, struct error *err);
void log_set_service(const char *name); /* kept by pointer; "service" in each line */
void log_write(enum log_level level, const char *event, const struct log_value *values, size_t n);

#endif
