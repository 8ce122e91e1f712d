/* Between messages and the structs of the services: what the handlers of all RPC services share. Generated
 * types stop in this folder.
 *
 * Ownership  what is converted borrows from the request or lives in the call's arena.
 */
#ifndef ARGON_BRANCH_RPC_CONVERT_H
#define ARGON_BRANCH_RPC_CONVERT_H

#include <argon/branch/v1/branch.pb-c.h>

#include "branch-service/documents/collections.h"
#include "branch-service/documents/query_options.h"
#include "branch-service/registry/registry.h"
#include "common/rpc/rpc.h"

/* A call without a deadline gets this one. */
#define DEFAULT_DEADLINE_MICROS (30 * (int64_t)1000000)

/* What of a client's time is kept for the answer: one that comes behind its deadline is never seen, and gRPC's "Deadline
 * Exceeded" tells nobody that it is the log that is away. An eighth where there is little. */
#define ANSWER_TIME_MICROS (200 * (int64_t)1000)

/* Until when a call may wait. */
int64_t convert_deadline(const struct rpc_call *call);

/* `whole` is the request as sent and `write` its options: the hash covers the method and everything but them. Borrows the call as the
 * caller. */
void convert_write(struct rpc_call *call, const char *method, const ProtobufCMessage *whole, Argon__Branch__V1__WriteOptions **write,
                   struct arena *arena, struct write_request *request);

/* Borrows the call as the caller: not for longer than it. */
struct read_options convert_read(struct rpc_call *call, const Argon__Branch__V1__ReadOptions *options);

/* NULL: none. */
CHECKED bool convert_query_options(const Argon__Branch__V1__QueryOptions *options, struct arena *arena, struct query_options *out,
                                   struct error *err);

/* INVALID_ARGUMENT: the target is missing. */
CHECKED bool convert_target(const Argon__Branch__V1__Target *target, struct collection_path *path, struct error *err);

/* `what` names the document in errors. An absent document is an empty one when optional. */
CHECKED bool convert_document_in(const char *what, const Argon__Branch__V1__Document *document, bool optional, struct arena *arena,
                                 struct bytes *bson, struct error *err);
CHECKED bool convert_document_out(struct bytes bson, Argon__Branch__V1__Format format, struct arena *arena,
                                  Argon__Branch__V1__Document *document, struct error *err);
/* A document with the one field _id of another. */
CHECKED bool convert_id_out(struct bytes bson, Argon__Branch__V1__Format format, struct arena *arena, Argon__Branch__V1__Document *document,
                            struct error *err);
CHECKED bool convert_format(Argon__Branch__V1__Format format, struct error *err);

/* page_size as sent -> how many; INVALID_ARGUMENT over the limit. */
CHECKED bool convert_page_size(uint32_t page_size, size_t *n, struct error *err);

/* Ends a write that failed before anything was sent to the log. */
void fail_not_applied(struct rpc_call *call, struct error *err);

#endif
