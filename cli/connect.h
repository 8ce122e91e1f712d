/* The connection to a branch service: deadlines and exactly-once writes. */
#ifndef ARGON_CLI_CONNECT_H
#define ARGON_CLI_CONNECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "argon/branch/v1/branch.pb-c.h"
#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/rpc/rpc.h"

#define BRANCH_METHOD(service, method) "/argon.branch.v1." service "/" method

struct global_options;

struct connection {
    struct rpc_client *client;
    const struct global_options *options;
    /* the write that was begun last */
    char base_id[MAX_REQUEST_ID_BYTES + 1]; /* what repeats the whole command */
    uint64_t base_since_lsn;
    char request_id[MAX_REQUEST_ID_BYTES + 1];
    bool unresolved; /* sent, and nobody said what became of it */
    bool goes_on;    /* an earlier run of the command may have sent it, too */
    bool remembers;  /* the same command finds the id again */
    bool without_id; /* the branch takes none */
    /* whether anything was asked, and the service answered, if only once: then it is where it is looked for */
    atomic_bool asked, reached;
    Argon__Branch__V1__WriteOptions *write;
};

CHECKED bool connection_open(struct connection *connection, const struct global_options *options, struct error *err);
void connection_close(struct connection *connection);

/* Of a call that begins now, by the monotonic clock: --timeout, or the default. */
int64_t connection_deadline(const struct connection *connection);

/* One call within --timeout; UNAVAILABLE is repeated until then. *response lives in the arena. */
CHECKED bool connection_read(struct connection *connection, const char *method, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *response_type, struct arena *arena, ProtobufCMessage **response,
                             struct error *err);

/* The same, but nothing is repeated: for what has no request_id, and is not known to have no effect a second time. */
CHECKED bool connection_call_once(struct connection *connection, const char *method, const ProtobufCMessage *request,
                                  const ProtobufCMessageDescriptor *response_type, struct arena *arena, ProtobufCMessage **response,
                                  struct error *err);

/* A traditional branch: it was refused for its id alone, and that is how the log has it, so no late copy will be applied. */
bool connection_refuses_id(const struct error *err);

/* Chooses a request_id and learns since_lsn, unless the options give them: from the project or, for what happens to
 * projects themselves (project NULL), from the list of them. The strings of *write belong to the connection and the options. */
CHECKED bool connection_begin_write(struct connection *connection, const char *project, struct arena *arena,
                                    Argon__Branch__V1__WriteOptions *write, struct error *err);
/* Instead of it: goes on with the base id of an earlier run. */
void connection_resume_write(struct connection *connection, const char *base_id, uint64_t since_lsn);
/* For commands of many writes: those of one base id are told apart by a number behind it, so that the whole
 * command can be repeated. since_lsn is the LSN that the write before this one answered. */
CHECKED bool connection_next_write(struct connection *connection, uint64_t number, uint64_t since_lsn,
                                   Argon__Branch__V1__WriteOptions *write, struct error *err);
/* As connection_read, after connection_begin_write; remembers when the outcome is unknown. A branch that takes no request_id
 * gets none, unless the user gave one. */
CHECKED bool connection_write(struct connection *connection, const char *method, const ProtobufCMessage *request,
                              const ProtobufCMessageDescriptor *response_type, struct arena *arena, ProtobufCMessage **response,
                              struct error *err);

/* Only a --timeout that was given limits a stream. */
CHECKED bool connection_stream(struct connection *connection, const char *method, const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *response_type, struct rpc_client_stream **stream, struct error *err);

/* "argon: NOT_FOUND: ..." on stderr, and how to repeat a write of unknown outcome. */
void connection_report(const struct connection *connection, const struct error *err);

#endif
