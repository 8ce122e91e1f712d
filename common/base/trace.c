#include "common/base/trace.h"

#include <string.h>

static _Thread_local struct trace current;

static bool is_hex(const char *text, size_t len, bool *zero)
{
    *zero = true;
    for (size_t i = 0; i < len; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
        *zero = *zero && text[i] == '0';
    }
    return true;
}

static bool is_valid(const char *text, size_t len)
{
    bool zero, ids_zero[2];
    return len == TRACEPARENT_LEN && memcmp(text, "00-", 3) == 0 && text[35] == '-' && text[52] == '-' &&
           is_hex(text + 3, 32, &ids_zero[0]) && !ids_zero[0] && is_hex(text + 36, 16, &ids_zero[1]) && !ids_zero[1] &&
           is_hex(text + 53, 2, &zero);
}

void trace_parse(struct trace *trace, const char *text, size_t len)
{
    *trace = (struct trace) { "" };
    if (is_valid(text, len))
        memcpy(trace->parent, text, len);
}

const struct trace *trace_current(void)
{
    return &current;
}

void trace_set(const struct trace *trace)
{
    if (trace)
        current = *trace;
    else
        current.parent[0] = '\0';
}

bool trace_id(const struct trace *trace, char id[TRACE_ID_SIZE])
{
    if (!trace->parent[0])
        return false;
    memcpy(id, trace->parent + 3, TRACE_ID_SIZE - 1);
    id[TRACE_ID_SIZE - 1] = '\0';
    return true;
}
