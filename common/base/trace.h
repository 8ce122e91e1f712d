/* The trace that a thread works for: what came as `traceparent` (W3C Trace Context) with the call. Log lines carry its id,
 * and calls to other services pass it on as it is, since no spans are recorded here.
 *
 * Threads    each has its own; whoever begins to work on a call sets it, and takes it away at the end.
 */
#ifndef ARGON_BASE_TRACE_H
#define ARGON_BASE_TRACE_H

#include <stdbool.h>
#include <stddef.h>

/* "00-" 32 hex digits "-" 16 hex digits "-" 2 hex digits */
enum { TRACEPARENT_LEN = 55, TRACE_ID_SIZE = 33 };

struct trace {
    char parent[TRACEPARENT_LEN + 1]; /* "": none */
};

const struct trace *trace_current(void);   /* of this thread */
void trace_set(const struct trace *trace); /* copied; NULL: none */
/* What a client sends need not be one: then there is no trace. */
void trace_parse(struct trace *trace, const char *text, size_t len);
bool trace_id(const struct trace *trace, char id[TRACE_ID_SIZE]); /* false: there is none */

#endif
