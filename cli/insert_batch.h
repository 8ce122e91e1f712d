/* The documents of one InsertMany. */
#ifndef ARGON_CLI_INSERT_BATCH_H
#define ARGON_CLI_INSERT_BATCH_H

#include <bson/bson.h>

#include "cli/connect.h"
#include "common/base/bytes.h"

struct insert_batch {
    struct buffer documents; /* BSON, one behind the other */
    size_t n;
};

/* What becomes of documents that cannot go in as they are. */
struct insert_rules {
    Argon__Branch__V1__OnDuplicate on_duplicate;
    bool skip_invalid; /* the service reports them, and writes the others */
};

/* fail, skip or replace. */
CHECKED bool insert_rules_parse(const char *on_duplicate, struct insert_rules *rules, struct error *err);

void insert_batch_destroy(struct insert_batch *batch);
void insert_batch_clear(struct insert_batch *batch);
CHECKED bool insert_batch_add(struct insert_batch *batch, struct bytes bson, struct error *err);

/* For documents that may be in already: what is there stays, unless it was to be replaced anyhow. */
struct insert_rules insert_rules_again(const struct insert_rules *rules);

/* connection_write, connection_read for what has a request_id, connection_call_once for what has none. */
typedef bool insert_batch_call_fn(struct connection *, const char *method, const ProtobufCMessage *request,
                                  const ProtobufCMessageDescriptor *response_type, struct arena *, ProtobufCMessage **response,
                                  struct error *);
/* *response lives in the arena. */
CHECKED bool insert_batch_call(const struct insert_batch *batch, struct connection *connection, insert_batch_call_fn *call,
                               Argon__Branch__V1__Target *target, const struct insert_rules *rules, Argon__Branch__V1__WriteOptions *write,
                               struct arena *arena, const Argon__Branch__V1__InsertManyResponse **response, struct error *err);

/* Sends it as the write that was begun; *response lives in the arena. */
CHECKED bool insert_batch_send(const struct insert_batch *batch, struct connection *connection, Argon__Branch__V1__Target *target,
                               const struct insert_rules *rules, Argon__Branch__V1__WriteOptions *write, struct arena *arena,
                               const Argon__Branch__V1__InsertManyResponse **response, struct error *err);

/* After a failure without a request_id, where nobody answered: sends it again. What is known not to be in goes as before; what may be
 * in goes only when every document has an _id, without which it would be in twice. Else it is false, and err is the last failure. */
CHECKED bool insert_batch_send_again(const struct insert_batch *batch, struct connection *connection, Argon__Branch__V1__Target *target,
                                     const struct insert_rules *rules, Argon__Branch__V1__WriteOptions *write, struct arena *arena,
                                     const Argon__Branch__V1__InsertManyResponse **response, struct error *err);

#endif
