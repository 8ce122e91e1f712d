/* What the files of the client library share: calls, errors, names of the generated types. */
#ifndef ARGON_CLIENT_INTERNAL_H
#define ARGON_CLIENT_INTERNAL_H

#include <argon/branch/v1/branch.pb-c.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/base/sync.h"
#include "common/rpc/rpc.h"
#include "include/argon/argon.h"

#define BRANCH_METHOD(service, method) "/argon.branch.v1." service "/" method
/* The first two fields of a client_call; `type` begins the names of the generated types. */
#define BRANCH_CALL(service, method, type) BRANCH_METHOD(service, method), &argon__branch__v1__##type##_response__descriptor

struct known_project;

struct argon_client {
    struct rpc_client *rpc;
    int64_t timeout_micros;
    char *actor;
    struct mutex lock; /* rank 10; covers the rest */
    struct known_project *projects;
};

/* What an answer says goes to *out; returns the LSN of a write or a head that it tells, 0: none. */
typedef uint64_t client_show_fn(const ProtobufCMessage *response, void *out);

/* One call of the service, read or write. */
struct client_call {
    const char *method;
    const ProtobufCMessageDescriptor *response_type;
    const ProtobufCMessage *request;
    const char *project;                       /* whose LSNs it sends along and tells; NULL: none, or those of the list of projects */
    Argon__Branch__V1__WriteOptions **options; /* of the request, for this call to fill in; NULL: it is a read */
    client_show_fn *show;                      /* NULL: the answer says nothing */
    void *out;
    struct arena *keep; /* the response lives there; NULL: as long as it is shown */
};
CHECKED bool client_call(struct argon_client *client, const struct client_call *call, struct argon_error *error);

/* A server stream. NULL: it did not begin within the client's timeout, or what the service says. *first and further messages live
 * in the arena; NULL: the end. */
struct client_stream;
struct client_stream *client_stream_open(struct argon_client *client, const struct client_call *call, struct arena *arena,
                                         ProtobufCMessage **first, struct error *err);
CHECKED bool client_stream_next(struct client_stream *stream, struct arena *arena, ProtobufCMessage **message, struct error *err);
void client_stream_close(struct client_stream *stream); /* NULL is fine */

/* The project is gone. */
void client_forget_project(struct argon_client *client, const char *project);

/* Fills in *error from ours. Returns false. */
bool client_fail(struct argon_error *error, const struct error *err);
bool client_refuse(struct argon_error *error, const char *message); /* INVALID_ARGUMENT, not applied */
bool client_no_memory(struct argon_error *error);                   /* RESOURCE_EXHAUSTED, likewise */
void client_succeed(struct argon_error *error);

CHECKED bool client_target(const struct argon_target *from, Argon__Branch__V1__Target *to, struct argon_error *error);
CHECKED bool client_document(const struct argon_document *from, struct arena *arena, Argon__Branch__V1__Document *to,
                             struct argon_error *error);
/* One without data is not there: NULL in the message. */
CHECKED bool client_part(const struct argon_document *from, struct arena *arena, Argon__Branch__V1__Document **place,
                         struct argon_error *error);
/* n documents; *list lives in the arena. */
CHECKED bool client_list(const struct argon_document *from, size_t n, struct arena *arena, Argon__Branch__V1__Document ***list,
                         struct argon_error *error);
Argon__Branch__V1__Format client_format(enum argon_format format);
/* data NULL when absent. */
struct argon_document client_shown(const Argon__Branch__V1__Document *document, enum argon_format format);
struct argon_written client_inserted(const Argon__Branch__V1__InsertManyResponse *response);
/* Makes the answer of a call: sends it, and shows its response. NULL: error says why. */
struct argon_answer *client_answer(struct argon_client *client, struct client_call *call, enum argon_format format,
                                   struct argon_error *error);

void client_read(const struct argon_read *from, Argon__Branch__V1__ReadOptions *to);

#endif
