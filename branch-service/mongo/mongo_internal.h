/* What the files of this folder share: a client out of the pool for the time of one operation. */
#ifndef ARGON_BRANCH_MONGO_INTERNAL_H
#define ARGON_BRANCH_MONGO_INTERNAL_H

#include <mongoc/mongoc.h>

#include "branch-service/mongo/mongo_client.h"
#include "branch-service/mongo/mongo_error.h"
#include "common/base/bytes.h"

/* A client for this thread until mongo_end, whose connections keep to the deadline. NULL: err is filled in,
 * and nothing was sent. */
mongoc_client_t *mongo_begin(struct mongo *mongo, int64_t deadline, struct error *err);
void mongo_end(struct mongo *mongo, mongoc_client_t *client);

/* Notes that a server was lost, so that its facts are asked for again; the error goes through. */
void mongo_note_failure(struct mongo *mongo, const struct error *err);

/* A borrowed document as libbson sees it. False: it is none, or too long for libbson. */
CHECKED bool mongo_view(struct bytes document, const char *what, bson_t *out, struct error *err);

/* Fields of a find, or of any query, as its command has them. */
struct mongo_find;
CHECKED bool mongo_append_find(bson_t *opts, const struct mongo_find *find, struct error *err);
CHECKED bool mongo_append_options(bson_t *opts, struct bytes options, struct error *err);

/* maxTimeMS for what is left, at least 1; 0 without a deadline. */
int32_t mongo_milliseconds_left(int64_t deadline);
void mongo_append_max_time(bson_t *command, int64_t deadline);

enum mongo_command_kind {
    MONGO_COMMAND_PLAIN,      /* takes neither concern */
    MONGO_COMMAND_READ,       /* retried by the driver */
    MONGO_COMMAND_WRITE,      /* changes collections; not retried */
    MONGO_COMMAND_READ_WRITE, /* an aggregation that writes */
};

/* maxTimeMS is added. `reply` (NULL is fine) is initialised in any case. */
CHECKED bool mongo_run(struct mongo *mongo, const char *database, enum mongo_command_kind kind, const bson_t *command, int64_t deadline,
                       bson_t *reply, struct error *err);

/* mongo_stream.c: connections of this client keep to the deadline of the thread that uses them. */
void mongo_stream_install(mongoc_client_t *client);
int64_t mongo_stream_set_deadline(int64_t deadline); /* of this thread; the one before */
/* Since then: how often a write that the driver repeats after a lost connection has gone out. What the second attempt fails with
 * says nothing of the first. */
unsigned mongo_stream_writes_sent(void);

#endif
