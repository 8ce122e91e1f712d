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

struct known_project;

struct argon_client {
    struct rpc_client *rpc;
    int64_t timeout_micros;
    char *actor;
    struct mutex lock; /* rank 10; covers the rest */
    struct known_project *projects;
};

/* A request and where its answer goes. */
struct client_call {
    const char *method;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *response_type;
};

int64_t client_deadline(const struct argon_client *client);

/* *response lives in the arena. */
CHECKED bool client_call(struct argon_client *client, const struct client_call *call, struct arena *arena, ProtobufCMessage **response,
                         struct argon_error *error);

/* What a write sends along. since_lsn is what this client has seen of the project, or learns now; project NULL: of
 * the list of projects. */
struct client_write {
    Argon__Branch__V1__WriteOptions options;
    char request_id[ID_SIZE];
};
CHECKED bool client_begin_write(struct argon_client *client, const char *project, struct client_write *write, struct argon_error *error);

/* An answer of the project has shown this LSN. Forget: the project is gone. */
void client_saw_lsn(struct argon_client *client, const char *project, uint64_t lsn);
void client_forget_project(struct argon_client *client, const char *project);
void client_forget_all(struct argon_client *client);

/* Fills in *error from ours. Returns false. */
bool client_fail(struct argon_error *error, const struct error *err);
bool client_refuse(struct argon_error *error, const char *message); /* INVALID_ARGUMENT, not applied */
void client_succeed(struct argon_error *error);

CHECKED bool client_target(const struct argon_target *from, Argon__Branch__V1__Target *to, struct argon_error *error);
CHECKED bool client_document(const struct argon_document *from, struct arena *arena, Argon__Branch__V1__Document *to,
                             struct argon_error *error);
/* data NULL when absent. */
struct argon_document client_shown(const Argon__Branch__V1__Document *document, enum argon_format format);
void client_read(const struct argon_read *from, Argon__Branch__V1__ReadOptions *to);

#endif
