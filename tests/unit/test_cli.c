/* The program itself, run against a branch service that answers by rote and notes what it was asked. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "argon/branch/v1/branch.pb-c.h"
#include "cli/connect.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/sync.h"
#include "common/bson/ejson.h"
#include "common/rpc/rpc.h"

static struct rpc_server *server;
static char program[512], scratch[] = "/tmp/argon-cli-XXXXXX";

static struct {
    struct mutex lock; /* rank 1; covers all below */
    struct condition changed;
    unsigned project_reads;
    unsigned writes;
    unsigned reads;       /* of what streams */
    unsigned unavailable; /* so many writes are refused before one gets through */
    bool loses_answers;   /* writes fail without a word on their outcome */
    char ids[8][MAX_REQUEST_ID_BYTES + 1];
    uint64_t since[8];
    uint64_t at_lsn, min_lsn, as_of_time;
    bool stale_ok;
    uint64_t documents;
    uint64_t lsn;
    char text[256]; /* what else was asked */
} seen;

/* ---- the service --------------------------------------------------------------------------------------- */

static void fail_with(struct rpc_call *call, enum error_code code, const char *message)
{
    struct error err;
    error_set(&err, code, "%s", message);
    err.outcome = OUTCOME_NOT_APPLIED;
    rpc_fail(call, &err);
}

static void on_get_project(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__GetProjectRequest *request = (const void *)message;
    mutex_lock(&seen.lock);
    seen.project_reads++;
    uint64_t lsn = seen.lsn;
    mutex_unlock(&seen.lock);
    if (strcmp(request->name, "missing") == 0) {
        fail_with(call, ERROR_NOT_FOUND, "project 'missing' does not exist");
        return;
    }
    Argon__Branch__V1__GetProjectResponse response = ARGON__BRANCH__V1__GET_PROJECT_RESPONSE__INIT;
    Argon__Branch__V1__Project project = ARGON__BRANCH__V1__PROJECT__INIT;
    project.id = (char *)"p1";
    project.name = request->name;
    project.created_at = 1700000000000000;
    project.head_lsn = lsn;
    response.project = &project;
    rpc_reply(call, &response.base);
}

/* Notes a write and gives it an LSN; false when it has been failed. */
static bool accept_write(struct rpc_call *call, const Argon__Branch__V1__WriteOptions *write, uint64_t *lsn)
{
    mutex_lock(&seen.lock);
    unsigned n = seen.writes++;
    if (n < ARRAY_LEN(seen.ids)) {
        snprintf(seen.ids[n], sizeof seen.ids[n], "%s", write->request_id);
        seen.since[n] = write->since_lsn;
    }
    bool unavailable = seen.unavailable > 0, lost = seen.loses_answers;
    seen.unavailable -= unavailable;
    if (!unavailable && !lost)
        seen.lsn++;
    *lsn = seen.lsn;
    condition_broadcast(&seen.changed);
    mutex_unlock(&seen.lock);
    struct error err;
    if (unavailable) {
        fail_with(call, ERROR_UNAVAILABLE, "not now");
        return false;
    }
    if (lost) {
        error_set(&err, ERROR_INTERNAL, "lost");
        rpc_fail(call, &err);
        return false;
    }
    return true;
}

static void fill_branch(Argon__Branch__V1__Branch *branch, char *name)
{
    *branch = (Argon__Branch__V1__Branch)ARGON__BRANCH__V1__BRANCH__INIT;
    branch->id = (char *)"b1";
    branch->name = name;
    branch->parent = strcmp(name, "main") == 0 ? (char *)"" : (char *)"main";
    branch->base_lsn = 7;
    branch->cut_lsn = 6;
    branch->head_lsn = 9;
    branch->use_wal = true;
    branch->created_at = 1700000000000000;
}

static void on_get_branch(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__GetBranchRequest *request = (const void *)message;
    if (strcmp(request->name, "x") == 0) {
        fail_with(call, ERROR_NOT_FOUND, "branch 'x' does not exist");
        return;
    }
    Argon__Branch__V1__GetBranchResponse response = ARGON__BRANCH__V1__GET_BRANCH_RESPONSE__INIT;
    Argon__Branch__V1__Branch branch;
    fill_branch(&branch, request->name);
    response.branch = &branch;
    rpc_reply(call, &response.base);
}

static void on_create_branch(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__CreateBranchRequest *request = (const void *)message;
    Argon__Branch__V1__CreateBranchResponse response = ARGON__BRANCH__V1__CREATE_BRANCH_RESPONSE__INIT;
    if (!accept_write(call, request->write, &response.lsn))
        return;
    mutex_lock(&seen.lock);
    snprintf(seen.text, sizeof seen.text, "%s %s %s %s", request->project, request->name, request->from, request->write->actor);
    seen.at_lsn = request->at_lsn;
    seen.as_of_time = request->at_time;
    mutex_unlock(&seen.lock);
    Argon__Branch__V1__Branch branch;
    fill_branch(&branch, request->name);
    response.branch = &branch;
    rpc_reply(call, &response.base);
}

/* Three pages of one branch. */
static void on_list_branches(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    static char *const names[] = { (char *)"main", (char *)"dev", (char *)"test" };
    const Argon__Branch__V1__ListBranchesRequest *request = (const void *)message;
    size_t page = request->page_token[0] ? (size_t)(request->page_token[0] - '0') : 0;
    Argon__Branch__V1__ListBranchesResponse response = ARGON__BRANCH__V1__LIST_BRANCHES_RESPONSE__INIT;
    Argon__Branch__V1__Branch branch, *branches[] = { &branch };
    fill_branch(&branch, names[page]);
    response.n_branches = 1;
    response.branches = branches;
    char next[2] = { (char)('1' + page), '\0' };
    response.next_page_token = page < 2 ? next : (char *)"";
    rpc_reply(call, &response.base);
}

static void on_delete_branch(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__DeleteBranchRequest *request = (const void *)message;
    Argon__Branch__V1__DeleteBranchResponse response = ARGON__BRANCH__V1__DELETE_BRANCH_RESPONSE__INIT;
    if (accept_write(call, request->write, &response.lsn))
        rpc_reply(call, &response.base);
}

/* A document with "dup" is one whose _id exists. */
static void on_insert_many(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__InsertManyRequest *request = (const void *)message;
    Argon__Branch__V1__InsertManyResponse response = ARGON__BRANCH__V1__INSERT_MANY_RESPONSE__INIT;
    bool skip = request->on_duplicate == ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_SKIP;
    for (size_t i = 0; i < request->n_documents; i++) {
        bson_t document;
        bson_iter_t at;
        assert_true(bson_init_static(&document, request->documents[i]->bson.data, request->documents[i]->bson.len));
        bool exists = bson_iter_init_find(&at, &document, "dup");
        response.inserted += !exists;
        response.skipped += exists;
    }
    if (response.skipped && !skip) {
        fail_with(call, ERROR_ALREADY_EXISTS, "_id 5 exists");
        return;
    }
    if (!accept_write(call, request->write, &response.lsn))
        return;
    mutex_lock(&seen.lock);
    seen.documents += request->n_documents;
    mutex_unlock(&seen.lock);
    response.n_inserted_ids = request->n_documents == 1 ? 1 : 0;
    response.inserted_ids = request->documents;
    rpc_reply(call, &response.base);
}

/* Two documents, each in a message of its own. */
static void on_find(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__FindRequest *request = (const void *)message;
    mutex_lock(&seen.lock);
    seen.at_lsn = request->read->as_of_lsn;
    seen.as_of_time = request->read->as_of_time;
    seen.stale_ok = request->read->stale_ok;
    seen.min_lsn = request->read->min_lsn;
    snprintf(seen.text, sizeof seen.text, "%s/%s/%s skip %u limit %u", request->target->project, request->target->branch,
             request->target->collection, (unsigned)request->skip, (unsigned)request->limit);
    mutex_unlock(&seen.lock);
    for (int i = 1; i <= 2; i++) {
        bson_t *bson = BCON_NEW("_id", BCON_INT32(i));
        Argon__Branch__V1__Document document = ARGON__BRANCH__V1__DOCUMENT__INIT, *documents[] = { &document };
        document.bson.data = (uint8_t *)bson_get_data(bson);
        document.bson.len = bson->len;
        Argon__Branch__V1__FindResponse response = ARGON__BRANCH__V1__FIND_RESPONSE__INIT;
        response.n_documents = 1;
        response.documents = documents;
        response.lsn = 77;
        bool sent = rpc_stream_send(call, &response.base);
        bson_destroy(bson);
        if (!sent)
            break;
        if (strcmp(request->target->collection, "broken") == 0) {
            fail_with(call, ERROR_DATA_LOSS, "a checksum failed");
            return;
        }
    }
    rpc_finish(call);
}

static void on_update(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__UpdateRequest *request = (const void *)message;
    Argon__Branch__V1__UpdateResponse response = ARGON__BRANCH__V1__UPDATE_RESPONSE__INIT;
    response.matched = response.modified = 1;
    if (accept_write(call, request->write, &response.lsn))
        rpc_reply(call, &response.base);
}

static void on_count(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    Argon__Branch__V1__CountResponse response = ARGON__BRANCH__V1__COUNT_RESPONSE__INIT;
    response.count = 3;
    response.lsn = 9;
    rpc_reply(call, &response.base);
}

static bool send_changes(struct rpc_call *call, uint64_t first, uint64_t last, Argon__Branch__V1__WatchEnd end)
{
    enum { MAX = 1000 };
    static Argon__Branch__V1__Change changes[MAX], *pointers[MAX];
    Argon__Branch__V1__WatchResponse response = ARGON__BRANCH__V1__WATCH_RESPONSE__INIT;
    bson_t *id = BCON_NEW("_id", BCON_INT32(5));
    Argon__Branch__V1__Document document = ARGON__BRANCH__V1__DOCUMENT__INIT;
    document.bson.data = (uint8_t *)bson_get_data(id);
    document.bson.len = id->len;
    for (uint64_t lsn = first; lsn <= last; lsn++) {
        Argon__Branch__V1__Change *change = &changes[response.n_changes];
        *change = (Argon__Branch__V1__Change)ARGON__BRANCH__V1__CHANGE__INIT;
        change->kind = ARGON__BRANCH__V1__CHANGE_KIND__CHANGE_INSERT;
        change->lsn = lsn;
        change->timestamp = 1700000000000000 + lsn;
        change->collection = (char *)"users";
        change->actor = (char *)"ada";
        change->branch_id = (char *)"b1";
        change->document_id = &document;
        pointers[response.n_changes++] = change;
    }
    response.changes = pointers;
    response.through_lsn = last;
    response.end = end;
    bool sent = rpc_stream_send(call, &response.base);
    bson_destroy(id);
    return sent;
}

/* Holds the stream open until the reader has gone. */
static void wait_for_the_end(struct rpc_call *call)
{
    mutex_lock(&seen.lock);
    while (!rpc_call_cancelled(call))
        (void)condition_wait_until(&seen.changed, &seen.lock, clock_monotonic_micros() + 5000);
    mutex_unlock(&seen.lock);
}

/* On branch quiet one change, and then none. Else: with stop_at_head a change at each LSN up to the head. Else one, and then the connection
 * is lost; behind LSN 3 the branch is deleted. */
static void on_watch(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__WatchRequest *request = (const void *)message;
    mutex_lock(&seen.lock);
    uint64_t head = seen.lsn;
    seen.at_lsn = request->after_lsn;
    seen.reads++;
    snprintf(seen.text, sizeof seen.text, "%s/%s/%s%s", request->project, request->branch, request->collection,
             request->omit_documents ? " without documents" : "");
    mutex_unlock(&seen.lock);
    if (strcmp(request->branch, "quiet") == 0) {
        if (send_changes(call, request->after_lsn + 1, request->after_lsn + 1, ARGON__BRANCH__V1__WATCH_END__WATCH_END_UNSPECIFIED))
            wait_for_the_end(call);
    } else if (request->stop_at_head)
        (void)send_changes(call, request->after_lsn + 1, head, ARGON__BRANCH__V1__WATCH_END__WATCH_END_AT_HEAD);
    else if (request->after_lsn >= 3)
        (void)send_changes(call, 4, 3, ARGON__BRANCH__V1__WATCH_END__WATCH_END_BRANCH_DELETED);
    else if (send_changes(call, request->after_lsn + 1, request->after_lsn + 1, ARGON__BRANCH__V1__WATCH_END__WATCH_END_UNSPECIFIED)) {
        fail_with(call, ERROR_UNAVAILABLE, "gone for a while");
        return;
    }
    rpc_finish(call);
}

static void on_materialize(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    for (int i = 0; i < 2; i++) {
        Argon__Branch__V1__MaterializeResponse response = ARGON__BRANCH__V1__MATERIALIZE_RESPONSE__INIT;
        Argon__Branch__V1__MaterializeProgress progress = ARGON__BRANCH__V1__MATERIALIZE_PROGRESS__INIT, *all[] = { &progress };
        progress.collection = (char *)"users";
        progress.entries = 10 + (uint64_t)i;
        progress.done = i == 1;
        progress.documents = progress.done ? 3 : 0;
        progress.bytes = progress.done ? 99 : 0;
        response.progress = all;
        response.n_progress = 1;
        response.lsn = 12;
        if (!rpc_stream_send(call, &response.base))
            break;
    }
    rpc_finish(call);
}

static void on_get_status(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__GetStatusRequest *request = (const void *)message;
    Argon__Branch__V1__GetStatusResponse response = ARGON__BRANCH__V1__GET_STATUS_RESPONSE__INIT;
    response.version = (char *)"1";
    response.wal_endpoint = (char *)"wal:1";
    response.wal_reachable = strcmp(request->project, "unreachable") != 0;
    response.view_hits = 3;
    response.view_misses = 1;
    response.commit_lsn = 41;
    rpc_reply(call, &response.base);
}

/* None, of any branch: but what is asked for them matters. */
static void on_list_collections(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Branch__V1__ListCollectionsRequest *request = (const void *)message;
    Argon__Branch__V1__ListCollectionsResponse response = ARGON__BRANCH__V1__LIST_COLLECTIONS_RESPONSE__INIT;
    if (request->read && (request->read->stale_ok || request->read->min_lsn == 6))
        rpc_reply(call, &response.base);
    else
        fail_with(call, ERROR_UNIMPLEMENTED, "not here");
}

static void on_other(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    fail_with(call, ERROR_UNIMPLEMENTED, "not here");
}

static const struct rpc_method project_methods[] = {
    RPC_UNARY("CreateProject", on_other),
    RPC_UNARY("GetProject", on_get_project),
    RPC_UNARY("ListProjects", on_other),
    RPC_UNARY("DeleteProject", on_other),
};
static void on_copy_base(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__CopyBaseResponse response = ARGON__BRANCH__V1__COPY_BASE_RESPONSE__INIT;
    const Argon__Branch__V1__CopyBaseRequest *request = (const void *)message;
    (void)service;
    response.base_id = "base1";
    response.collection = "users";
    response.documents = 3;
    if (rpc_stream_send(call, &response.base) && strcmp(request->branch, "short") != 0) {
        response.done = true;
        response.isolated = strcmp(request->branch, "quiet") == 0;
        response.why_not_isolated = response.isolated ? "" : "nobody keeps snapshots";
        assert_true(rpc_stream_send(call, &response.base));
    }
    rpc_finish(call);
}

/* A migration that is interrupted once, and done by then or when it goes on. */
static _Atomic unsigned interruptions;

static void on_get_migration(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__GetMigrationResponse response = ARGON__BRANCH__V1__GET_MIGRATION_RESPONSE__INIT;
    const Argon__Branch__V1__GetMigrationRequest *request = (const void *)message;
    (void)service;
    response.branch = request->branch;
    response.state = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_CONFIRMED;
    response.collections = 2;
    rpc_reply(call, &response.base);
}

static void interrupt_or(struct rpc_call *call, enum error_code then)
{
    Argon__Branch__V1__MigrationProgress progress = ARGON__BRANCH__V1__MIGRATION_PROGRESS__INIT;
    struct error err = { 0 };
    progress.state = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_STARTED;
    progress.collection = "users";
    progress.documents = 7;
    progress.message = "copying";
    if (!rpc_stream_send(call, &progress.base) || interruptions++ == 0)
        error_fill(&err, ERROR_UNAVAILABLE, "going down");
    else if (then != ERROR_OK)
        error_fill(&err, then, "not in this state");
    if (err.code == ERROR_OK)
        rpc_finish(call);
    else
        rpc_fail(call, &err);
}

static void on_start_migration(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service, (void)message;
    interrupt_or(call, ERROR_OK);
}

static void on_confirm_migration(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service, (void)message;
    interrupt_or(call, ERROR_FAILED_PRECONDITION);
}

static void on_rollback_migration(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service, (void)message;
    interrupt_or(call, ERROR_FAILED_PRECONDITION);
}

static const struct rpc_method branch_methods[] = {
    RPC_UNARY("CreateBranch", on_create_branch), RPC_UNARY("GetBranch", on_get_branch),
    RPC_UNARY("ListBranches", on_list_branches), RPC_UNARY("RenameBranch", on_other),
    RPC_UNARY("DeleteBranch", on_delete_branch), RPC_STREAM("Watch", on_watch),
    RPC_UNARY("AdoptBranch", on_other),          RPC_STREAM("Materialize", on_materialize),
    RPC_STREAM("CopyBase", on_copy_base),        RPC_UNARY("ListBases", on_other),
    RPC_UNARY("DeleteBase", on_other),
};
static const struct rpc_method migration_methods[] = {
    RPC_STREAM("StartMigration", on_start_migration),
    RPC_UNARY("GetMigration", on_get_migration),
    RPC_STREAM("ConfirmMigration", on_confirm_migration),
    RPC_STREAM("RollbackMigration", on_rollback_migration),
};
static const struct rpc_method collection_methods[] = {
    RPC_UNARY("ListCollections", on_list_collections),
    RPC_UNARY("CreateCollection", on_other),
    RPC_UNARY("RenameCollection", on_other),
    RPC_UNARY("DropCollection", on_other),
    RPC_UNARY("SetIndexes", on_other),
};
static const struct rpc_method admin_methods[] = {
    RPC_UNARY("GetStatus", on_get_status), RPC_UNARY("GetConfig", on_other),   RPC_UNARY("ListConfig", on_other),
    RPC_UNARY("SetConfig", on_other),      RPC_UNARY("UnsetConfig", on_other),
};
static const struct rpc_method document_methods[] = {
    RPC_UNARY("InsertOne", on_other),
    RPC_UNARY("InsertMany", on_insert_many),
    RPC_STREAM("Find", on_find),
    RPC_UNARY("FindOne", on_other),
    RPC_UNARY("UpdateOne", on_update),
    RPC_UNARY("UpdateMany", on_update),
    RPC_UNARY("ReplaceOne", on_other),
    RPC_UNARY("DeleteOne", on_other),
    RPC_UNARY("DeleteMany", on_other),
    RPC_UNARY("Count", on_count),
    RPC_UNARY("EstimatedCount", on_other),
    RPC_UNARY("Distinct", on_other),
    RPC_STREAM("Aggregate", on_find),
    RPC_UNARY("Explain", on_other),
    RPC_UNARY("FindOneAndUpdate", on_other),
    RPC_UNARY("FindOneAndReplace", on_other),
    RPC_UNARY("FindOneAndDelete", on_other),
    RPC_UNARY("BulkWrite", on_other),
};

static int start_service(void **state)
{
    (void)state;
    mutex_init(&seen.lock, 1);
    condition_init(&seen.changed);
    rpc_init();
    const struct rpc_server_options options = {
        .listen = "127.0.0.1:0",
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .max_calls = 100,
        .max_request_bytes = MIN_REQUEST_MEMORY,
        .worker_threads = 2,
    };
    struct error err;
    assert_true(rpc_server_new(&options, &server, &err));
    assert_true(rpc_server_add(server, &argon__branch__v1__projects__descriptor, project_methods, ARRAY_LEN(project_methods), NULL, &err));
    assert_true(rpc_server_add(server, &argon__branch__v1__branches__descriptor, branch_methods, ARRAY_LEN(branch_methods), NULL, &err));
    assert_true(
        rpc_server_add(server, &argon__branch__v1__migrations__descriptor, migration_methods, ARRAY_LEN(migration_methods), NULL, &err));
    assert_true(
        rpc_server_add(server, &argon__branch__v1__documents__descriptor, document_methods, ARRAY_LEN(document_methods), NULL, &err));
    assert_true(
        rpc_server_add(server, &argon__branch__v1__collections__descriptor, collection_methods, ARRAY_LEN(collection_methods), NULL, &err));
    assert_true(rpc_server_add(server, &argon__branch__v1__admin__descriptor, admin_methods, ARRAY_LEN(admin_methods), NULL, &err));
    assert_true(rpc_server_start(server, &err));
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 16);
    assert_true(n > 0);
    program[n] = '\0';
    for (int i = 0; i < 2; i++)
        *strrchr(program, '/') = '\0';
    strcat(program, "/bin/argon");
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", rpc_server_port(server));
    setenv("ARGON_ENDPOINT", endpoint, 1);
    setenv("ARGON_PROJECT", "shop", 1);
    unsetenv("ARGON_BRANCH");
    assert_non_null(mkdtemp(scratch));
    char folder[64];
    snprintf(folder, sizeof folder, "%s/.xdg", scratch); /* the user's own files stay out of it */
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("XDG_STATE_HOME", folder, 1);
    return chdir(scratch);
}

static int stop_service(void **state)
{
    (void)state;
    rpc_server_drain(server, 0);
    rpc_server_free(server);
    rpc_shutdown();
    condition_destroy(&seen.changed);
    mutex_destroy(&seen.lock);
    return system("rm -rf .xdg") == 0 ? rmdir(scratch) : 1;
}

static int forget(void **state)
{
    (void)state;
    mutex_lock(&seen.lock);
    seen.project_reads = seen.reads = seen.writes = seen.unavailable = 0;
    seen.as_of_time = 0;
    seen.stale_ok = false;
    seen.loses_answers = false;
    seen.at_lsn = seen.min_lsn = seen.documents = 0;
    seen.lsn = 41;
    seen.text[0] = '\0';
    mutex_unlock(&seen.lock);
    return 0;
}

/* ---- running it ------------------------------------------------------------------------------------------ */

static char out[65536], errors[65536];

static void read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, size - 1, file);
    text[n] = '\0';
    fclose(file);
}

/* Runs a shell line in which $A is the program; its exit code. */
static int run(const char *line)
{
    char command[4096];
    snprintf(command, sizeof command, "A='%s'; { %s; } >out 2>err </dev/null", program, line);
    int status = system(command);
    assert_true(WIFEXITED(status));
    read_file("out", out, sizeof out);
    read_file("err", errors, sizeof errors);
    unlink("out");
    unlink("err");
    return WEXITSTATUS(status);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in: %s", part, text);
}

static void assert_runs(const char *line, int expected)
{
    int code = run(line);
    if (code != expected)
        fail_msg("%s: exit code %d, not %d: %s", line, code, expected, errors);
}

/* ---- tests ------------------------------------------------------------------------------------------------- */

static void help_stands_at_every_level(void **state)
{
    (void)state;
    assert_runs("$A --help", 0);
    assert_has(out, "Exit codes:");
    assert_has(out, "Example:");
    assert_has(out, "[ARGON_ENDPOINT]");
    static const char *const groups[] = { "projects", "branches", "collections", "docs",    "log",         "watch",
                                          "import",   "export",   "status",      "context", "materialize", "completion" };
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        char line[64];
        snprintf(line, sizeof line, "$A %s --help", groups[i]);
        assert_runs(line, 0);
        assert_has(out, "Example:\n  argon ");
    }
    assert_runs("$A branches create --help", 0);
    assert_has(out, "--at-lsn LSN");
    assert_runs("$A help branches create", 0);
    assert_has(out, "--at-lsn LSN");
    assert_runs("$A help docs", 0);
    assert_has(out, "Usage: argon docs COMMAND");
    assert_runs("$A --version", 0);
    assert_has(out, "argon " ARGON_VERSION "\n");
}

static void wrong_usage_is_code_2(void **state)
{
    (void)state;
    assert_runs("$A", 2);
    assert_runs("$A nonsense", 2);
    assert_has(errors, "'nonsense'");
    assert_runs("$A branches nonsense -p shop", 2);
    assert_string_equal(errors, "argon: INVALID_ARGUMENT: there is no command 'branches nonsense'\nSee: argon branches --help\n");
    assert_runs("$A docs fnid --help", 2);
    assert_has(errors, "'docs fnid'");
    assert_runs("$A docs", 2);
    assert_has(errors, "which of the docs commands?");
    assert_runs("$A help docs fnid", 2);
    assert_has(errors, "'docs fnid'");
    assert_runs("$A help nonsense", 2);
    assert_has(errors, "'nonsense'");
    assert_runs("$A branches get", 2);
    assert_runs("$A branches get a b", 2);
    assert_runs("$A branches get a --frobnicate", 2);
    assert_has(errors, "--frobnicate");
    assert_runs("$A branches get a -o xml", 2);
    assert_runs("$A docs find users '{'", 2);
    assert_has(errors, "INVALID_ARGUMENT: FILTER: ");
    assert_runs("ARGON_PROJECT= $A branches list", 2);
    assert_has(errors, "-p PROJECT");
    assert_runs("$A import - -c users --on-duplicate other", 2);
    assert_runs("$A import -", 2);
    assert_has(errors, "-c COLLECTION");
}

static void failures_have_codes_and_names(void **state)
{
    (void)state;
    assert_runs("$A branches get x", 3);
    assert_string_equal(errors, "argon: NOT_FOUND: branch 'x' does not exist\n"
                                "argon: project 'shop' is from the environment, ARGON_PROJECT\n");
    assert_string_equal(out, "");
    assert_runs("$A branches delete x -p missing --yes", 3);
    assert_string_equal(errors, "argon: NOT_FOUND: project 'missing' does not exist\n");
    assert_runs("$A docs insert users '{\"dup\":1}'", 4);
    assert_runs("$A docs find broken", 8);
    assert_runs("$A branches get a --endpoint 127.0.0.1:1 --timeout 200ms", 6);
}

static void a_failure_names_what_stood_in_the_way(void **state)
{
    (void)state;
    const struct connection connection = { 0 };
    struct error err;
    error_set(&err, ERROR_ABORTED, "two documents were changed");
    error_set_reason(&err, "WRITE_CONFLICT");
    error_add_key(&err, "users/{\"_id\":%d}", 1);
    error_add_key(&err, "users/{\"_id\":%d}", 2);
    fflush(stderr);
    int saved = dup(STDERR_FILENO), file = open("err", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && file >= 0);
    dup2(file, STDERR_FILENO);
    connection_report(&connection, &err);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    read_file("err", errors, sizeof errors);
    unlink("err");
    assert_string_equal(errors, "argon: ABORTED: two documents were changed\n"
                                "argon: reason WRITE_CONFLICT\n"
                                "argon: in the way: users/{\"_id\":1}\n"
                                "argon: in the way: users/{\"_id\":2}\n");
}

static void a_branch_is_shown_in_full(void **state)
{
    (void)state;
    assert_runs("$A branches get dev -o json", 0);
    assert_string_equal(out,
                        "{\"name\":\"dev\",\"id\":\"b1\",\"parent\":\"main\",\"base_lsn\":7,\"cut_lsn\":6,\"head_lsn\":9,\"use_wal\":true,"
                        "\"created_at\":\"2023-11-14T22:13:20.000000Z\"}\n");
}

static void a_migration_goes_on_after_an_interruption(void **state)
{
    (void)state;
    interruptions = 0;
    assert_runs("$A -p shop -b old migrate start -o ndjson", 0);
    assert_string_equal(out, "{\"state\":\"started\",\"collection\":\"users\",\"documents\":7,\"bytes\":0,\"message\":\"copying\"}\n"
                             "{\"state\":\"started\",\"collection\":\"users\",\"documents\":7,\"bytes\":0,\"message\":\"copying\"}\n");
    assert_int_equal(interruptions, 2);
}

static void what_an_interrupted_call_did_is_not_an_error_of_the_next(void **state)
{
    (void)state;
    assert_runs("$A -p shop -b old migrate confirm </dev/null", 2);
    assert_non_null(strstr(errors, "--yes"));
    interruptions = 0;
    assert_runs("$A -p shop -b old migrate confirm --yes", 0);
    assert_string_equal(out, "Branch old is a WAL branch for good; its collections in MongoDB are gone.\n");
    interruptions = 0; /* it is confirmed: the rollback has not been done */
    assert_runs("$A -p shop -b old migrate rollback", 5);
    interruptions = 1; /* and what fails at once is an error in any case */
    assert_runs("$A -p shop -b old migrate confirm --yes", 5);
}

static void a_copy_says_whether_it_is_one_point_in_time(void **state)
{
    (void)state;
    assert_runs("$A -p shop branches copy-base busy", 0);
    assert_string_equal(
        out, "Copied branch busy to base base1; it is not one point in time: what was written meanwhile may be there in part (nobody keeps "
             "snapshots).\n");
    assert_runs("$A -p shop branches copy-base quiet -o json", 0);
    assert_string_equal(out, "{\"base_id\":\"base1\",\"branch\":\"quiet\",\"isolated\":true,\"why_not\":null}\n");
    assert_runs("$A -p shop branches copy-base short", 1);
}

static void a_list_has_all_pages(void **state)
{
    (void)state;
    assert_runs("$A -p shop branches list --show-type", 0);
    assert_string_equal(out, "NAME  PARENT  HEAD_LSN  CREATED_AT                   TYPE\n"
                             "main  -       9         2023-11-14T22:13:20.000000Z  [WAL]\n"
                             "dev   main    9         2023-11-14T22:13:20.000000Z  [WAL]\n"
                             "test  main    9         2023-11-14T22:13:20.000000Z  [WAL]\n");
}

static void a_write_knows_since_when_it_is(void **state)
{
    (void)state;
    assert_runs("$A branches create dev --from base --at-lsn 5 --actor ada -o json", 0);
    assert_has(out, "\"lsn\":42}");
    assert_string_equal(seen.text, "shop dev base ada");
    assert_int_equal(seen.at_lsn, 5);
    assert_int_equal(seen.project_reads, 1);
    assert_int_equal(seen.since[0], 41);
    assert_int_equal(strlen(seen.ids[0]), 24);

    assert_runs("$A branches create dev --request-id again --since-lsn 17", 0);
    assert_has(out, "Created branch dev from main at LSN 6 (write LSN 43).");
    assert_int_equal(seen.project_reads, 1);
    assert_string_equal(seen.ids[1], "again");
    assert_int_equal(seen.since[1], 17);
}

static void an_unavailable_service_gets_the_same_write_again(void **state)
{
    (void)state;
    seen.unavailable = 2;
    assert_runs("$A docs update users '{}' '{\"$set\":{\"a\":1}}' -o json", 0);
    assert_string_equal(out, "{\"matched\":1,\"modified\":1,\"upserted_id\":null,\"lsn\":42}\n");
    assert_int_equal(seen.writes, 3);
    assert_string_equal(seen.ids[0], seen.ids[1]);
    assert_string_equal(seen.ids[0], seen.ids[2]);
}

static void an_unknown_outcome_says_how_to_repeat(void **state)
{
    (void)state;
    seen.loses_answers = true;
    assert_runs("$A docs update users '{}' '{\"$set\":{\"a\":1}}'", 1);
    char expected[128];
    snprintf(expected, sizeof expected, "--request-id %s --since-lsn 41", seen.ids[0]);
    assert_has(errors, "unknown");
    assert_has(errors, expected);
    /* nothing of the kind where the service said no */
    seen.loses_answers = false;
    assert_runs("$A docs insert users '{\"dup\":1}'", 4);
    assert_null(strstr(errors, "unknown"));
}

static void documents_come_in_three_formats(void **state)
{
    (void)state;
    assert_runs("$A docs find users '{\"a\":1}' -b dev --skip 3 --limit 4 --at-lsn 5 --min-lsn 6", 0);
    char table[256];
    strcpy(table, out);
    assert_string_equal(seen.text, "shop/dev/users skip 3 limit 4");
    assert_int_equal(seen.at_lsn, 5);
    assert_int_equal(seen.min_lsn, 6);
    assert_runs("$A docs find users -o ndjson", 0);
    assert_string_equal(out, table);
    assert_string_equal(seen.text, "shop/main/users skip 0 limit 0");
    assert_runs("$A docs find users -o json | tr -d ' \\n'", 0);
    assert_string_equal(out, "[{\"_id\":1},{\"_id\":2}]");
    assert_runs("$A docs find users -o json --canonical | tr -d ' \\n'", 0);
    assert_string_equal(out, "[{\"_id\":{\"$numberInt\":\"1\"}},{\"_id\":{\"$numberInt\":\"2\"}}]");
    assert_runs("$A docs count users", 0);
    assert_string_equal(out, "3\n");
    assert_runs("$A docs count users -o json", 0);
    assert_string_equal(out, "{\"count\":3,\"lsn\":9}\n");
}

static void inserts_answer_with_ids(void **state)
{
    (void)state;
    assert_runs("$A docs insert users '{\"_id\":5}' -o json | tr -d ' '", 0);
    assert_string_equal(out, "{\"inserted\":1,\"replaced\":0,\"skipped\":0,\"inserted_ids\":[{\"_id\":5}],\"errors\":[],\"lsn\":42}\n");
    assert_runs("printf '{}\\n{}\\n{}' | $A docs insert users - ", 0);
    assert_string_equal(out, "Inserted 3 documents at LSN 43.\n");
    assert_runs("$A docs insert users - </dev/null", 2);
}

static void an_import_goes_in_batches(void **state)
{
    (void)state;
    assert_runs("for i in 1 2 3 4 5 6 7; do echo '{\"a\":'$i'}'; done > in;"
                "$A import in -c users --batch-size 3 -o json --request-id base; r=$?; rm in; exit $r",
                0);
    assert_string_equal(out, "{\"read\":7,\"inserted\":7,\"replaced\":0,\"skipped\":0,\"failed\":0,\"lsn\":44}\n");
    assert_int_equal(seen.writes, 3);
    assert_int_equal(seen.documents, 7);
    assert_string_equal(seen.ids[0], "base-0");
    assert_string_equal(seen.ids[2], "base-2");
    /* each is sent with the newest LSN known, so that none is too old to be remembered; an id that was given may
     * have been sent before, and what is learned now would come too late for it */
    assert_int_equal(seen.since[0], 0);
    assert_int_equal(seen.since[1], 42);
    assert_int_equal(seen.since[2], 43);
    assert_runs("echo '{}' | $A import - -c users", 0);
    assert_int_equal(seen.since[3], 44);
}

static void an_import_needs_no_folder_of_its_own(void **state)
{
    (void)state;
    assert_runs("echo '{}' > in; touch flat; XDG_STATE_HOME=$PWD/flat $A import in -c users; r=$?; rm in flat; exit $r", 0);
    assert_has(errors, "the import cannot go on: cannot make the folder '/tmp/argon-cli-");
    assert_int_equal(seen.documents, 1);
    assert_runs("echo '{}' > in; env -u XDG_STATE_HOME -u HOME $A import in -c users; r=$?; rm in; exit $r", 0);
    assert_int_equal(seen.documents, 2);
}

/* The files of the state are cut off as a full disk or a crash of the machine might do it. */
static void a_damaged_state_is_named(void **state)
{
    (void)state;
    assert_runs("printf '{}\\n{' > in; $A import in -c users --batch-size 1", 2);
    assert_int_equal(seen.documents, 1);
    assert_has(errors, "the same command goes on from there");
    assert_runs("f=$(ls .xdg/argon/import-*); head -c 60 $f > cut; mv cut $f; $A import in -c users", 5);
    assert_has(errors, "the state of an interrupted import, '/tmp/argon-cli-");
    assert_int_equal(seen.documents, 1);
    assert_runs("rm .xdg/argon/import-* in", 0);
}

static void an_import_says_how_far_it_got(void **state)
{
    (void)state;
    assert_runs("printf '{}\\n{}\\n{}\\n{\"dup\":1}\\n{}' | $A import - -c users --batch-size 2", 4);
    assert_has(errors, "4 documents read, 2 inserted, 0 skipped; all before line 2 (byte 5) are in\n");
    assert_has(errors, "ALREADY_EXISTS: documents of lines 3 to 4: _id 5 exists\n");
    assert_runs("printf '{}\\n{}\\n{}\\n{\"dup\":1}\\n{}' | $A import - -c users --batch-size 2 --on-duplicate skip -o json", 0);
    assert_has(out, "{\"read\":5,\"inserted\":4,\"replaced\":0,\"skipped\":1,");
    assert_runs("printf '[{},\\n{\"a\":}]' | $A import - -c users", 2);
    assert_has(errors, "INVALID_ARGUMENT: line 2: ");
    assert_has(errors, "2 documents read, 0 inserted");
}

/* Interrupted while it waits for more to read, with one batch sent and a part of another at hand. */
static void an_interrupted_import_says_how_to_go_on(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        int err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (err < 0 || dup2(fds[0], STDIN_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
            _exit(99);
        execl(program, program, "import", "-", "-c", "users", "--batch-size", "2", (char *)NULL);
        _exit(99);
    }
    close(fds[0]);
    assert_int_equal(write(fds[1], "{}{}{}", 6), 6);
    mutex_lock(&seen.lock);
    while (seen.writes == 0)
        condition_wait(&seen.changed, &seen.lock);
    mutex_unlock(&seen.lock);
    assert_int_equal(kill(child, SIGINT), 0);
    close(fds[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    read_file("err", errors, sizeof errors);
    unlink("err");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_int_equal(seen.writes, 1);
    assert_has(errors, "3 documents read, 2 inserted, 0 skipped; all before line 1 (byte 4) are in\n");
    char expected[128], base[MAX_REQUEST_ID_BYTES + 1];
    strcpy(base, seen.ids[0]);
    *strrchr(base, '-') = '\0';
    snprintf(expected, sizeof expected, "to go on, repeat the command with --request-id %s --since-lsn 41\n", base);
    assert_has(errors, expected);
    assert_has(errors, "argon: CANCELLED: interrupted\n");
}

static void an_export_is_whole_or_not_there(void **state)
{
    (void)state;
    assert_runs("$A export users.ndjson -c users --at-lsn 70 -o json; r=$?; cat users.ndjson >&2; rm users.ndjson; exit $r", 0);
    assert_string_equal(out, "{\"file\":\"users.ndjson\",\"documents\":2,\"lsn\":77}\n");
    assert_int_equal(seen.at_lsn, 70);
    char file[256];
    strcpy(file, errors);
    assert_runs("$A export -c users", 0);
    assert_string_equal(out, file);
    assert_has(errors, "Exported 2 documents at LSN 77.");
    assert_runs("$A export broken.ndjson -c broken; r=$?; ls; exit $r", 8);
    assert_string_equal(out, "err\nout\n");
    assert_runs("$A export -c users >/dev/full", 7);
    assert_has(errors, "cannot write the output");
    assert_runs("$A docs find users >/dev/full", 7);
}

static void a_state_is_named_by_lsn_time_or_staleness(void **state)
{
    (void)state;
    assert_runs("$A docs find users --at-time 2023-11-14T22:13:20.000005Z", 0);
    assert_int_equal(seen.as_of_time, 1700000000000005);
    assert_int_equal(seen.at_lsn, 0);
    assert_runs("$A export -c users --stale-ok", 0);
    assert_true(seen.stale_ok);
    assert_runs("$A branches create dev --at-time 2023-11-14T23:13:20+01:00", 0);
    assert_int_equal(seen.as_of_time, 1700000000000000);
    assert_runs("$A docs count users --at-time 2023-11-14T22:13:20Z --at-lsn 5", 2);
    assert_has(errors, "--at-lsn and --at-time exclude each other");
    assert_runs("$A branches create dev --at-time 2023-11-14T22:13:20Z --at-lsn 5", 2);
    assert_int_equal(seen.writes, 1);
    assert_runs("$A collections list --stale-ok --at-lsn 5", 2);
    assert_has(errors, "--stale-ok and --at-lsn exclude each other");
    assert_runs("$A docs find users --at-time yesterday", 2);
    assert_has(errors, "option --at-time: 'yesterday' is no time");
}

static void a_watch_goes_on_by_itself(void **state)
{
    (void)state;
    assert_runs("$A watch --after-lsn 0 -c users -o ndjson | sed 's/,\"time.*//'", 0);
    assert_string_equal(out, "{\"lsn\":1\n{\"lsn\":2\n{\"lsn\":3\n");
    assert_string_equal(seen.text, "shop/main/users");
    assert_has(errors, "(gone for a while); going on behind LSN 1\nargon: connected again\n");
    assert_has(errors, "NOT_FOUND: branch 'main' has been deleted, after LSN 3\n");
    assert_runs("$A watch --after-lsn 2 --no-documents", 3);
    assert_string_equal(out, "       3  2023-11-14T22:13:20.000003Z  insert  users  5  by ada\n");
    assert_string_equal(seen.text, "shop/main/ without documents");
    assert_runs("$A watch --after-lsn 1 -o json | tr -d '\n' | sed 's/,\"time[^}]*//g'", 0);
    assert_string_equal(out, "[{\"lsn\":2},{\"lsn\":3}]");
    assert_runs("$A watch --after-lsn 0 >/dev/full", 7);
    assert_runs("$A watch --after-lsn no", 2);
    assert_has(errors, "option --after-lsn: 'no' is not a whole number");
    assert_runs("$A watch --after-lsn 0 --since 10m", 2);
    assert_runs("$A watch -b x", 3);
}

/* Interrupted while it waits, after one change. */
static void an_interrupted_watch_says_how_to_go_on(void **state)
{
    (void)state;
    static const struct {
        int signal_number, code;
        const char *output;
    } cases[] = { { SIGINT, 130, "ndjson" }, { SIGTERM, 143, "json" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            signal(SIGINT, SIG_DFL);
            int err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
            if (err < 0 || dup2(fds[1], STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
                _exit(99);
            execl(program, program, "watch", "-b", "quiet", "-o", cases[i].output, (char *)NULL);
            _exit(99);
        }
        close(fds[1]);
        size_t n = 0;
        for (ssize_t got = 1; got > 0 && !memchr(out, '}', n); n += (size_t)got)
            got = read(fds[0], out + n, sizeof out - 1 - n);
        assert_int_equal(kill(child, cases[i].signal_number), 0);
        for (ssize_t got = 1; got > 0; n += (size_t)got)
            got = read(fds[0], out + n, sizeof out - 1 - n);
        out[n] = '\0';
        close(fds[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        read_file("err", errors, sizeof errors);
        unlink("err");
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), cases[i].code);
        assert_has(out, "\"lsn\":42,"); /* behind the head, which was asked for first */
        assert_has(out, i == 0 ? "}\n" : "}\n]\n");
        assert_string_equal(errors, "argon: to go on, repeat the command with --after-lsn 42\n");
    }
}

static void a_log_shows_the_newest_first(void **state)
{
    (void)state;
    assert_runs("$A log -n 3 -o ndjson | sed 's/,\"time.*//'", 0);
    assert_string_equal(out, "{\"lsn\":41\n{\"lsn\":40\n{\"lsn\":39\n");
    assert_string_equal(seen.text, "shop/main/ without documents");
    assert_runs("$A log -n 2 --reverse --documents -o ndjson | sed 's/,\"time.*//'", 0);
    assert_string_equal(out, "{\"lsn\":40\n{\"lsn\":41\n");
    assert_string_equal(seen.text, "shop/main/");
    assert_runs("$A log --after-lsn 39 -o ndjson | sed 's/,\"time.*//'", 0);
    assert_string_equal(out, "{\"lsn\":41\n{\"lsn\":40\n");
    assert_runs("$A log --reverse --after-lsn 39 -o ndjson | sed 's/,\"time.*//'", 0);
    assert_string_equal(out, "{\"lsn\":40\n{\"lsn\":41\n");
    assert_runs("$A log | wc -l", 0);
    assert_string_equal(out, "20\n");
    assert_runs("$A log -n 1", 0);
    assert_string_equal(out, "      41  2023-11-14T22:13:20.000041Z  insert  users  5  by ada\n");
    assert_runs("$A log -n 1 -o json | tr -d '\n'", 0);
    assert_string_equal(out, "[{\"lsn\":41,\"time\":\"2023-11-14T22:13:20.000041Z\",\"kind\":\"insert\",\"collection\":\"users\","
                             "\"new_collection\":null,\"id\":5,\"actor\":\"ada\",\"branch_id\":\"b1\"}]");
    assert_runs("$A log --document-id 5.0 -n 1 -o ndjson | wc -l", 0);
    assert_string_equal(out, "1\n");
    assert_runs("$A log --document-id '\"5\"' --after-lsn 0", 0);
    assert_string_equal(out, "");
    assert_runs("$A log --document-id ada", 2);
    assert_has(errors, "option --document-id: ada is not the JSON of an _id");
    assert_runs("$A log -n 0", 2);
}

static void the_newest_are_found_without_reading_all(void **state)
{
    (void)state;
    seen.lsn = 1000;
    assert_runs("$A log -n 3 | wc -l", 0);
    assert_string_equal(out, "3\n");
    assert_int_equal(seen.at_lsn, 1000 - 64);
    assert_int_equal(seen.reads, 1);
    /* none matches: farther back, down to the beginning */
    assert_runs("$A log -n 3 --document-id 6", 0);
    assert_int_equal(seen.at_lsn, 0);
    assert_int_equal(seen.reads, 1 + 3);
}

static void a_context_is_remembered(void **state)
{
    (void)state;
    assert_runs("$A context set branch=dev actor=ada", 0);
    assert_runs("stat -c %a .xdg/argon/config; cat .xdg/argon/config", 0);
    assert_string_equal(out, "600\nbranch = dev\nactor = ada\n");
    assert_runs("$A docs find users", 0);
    assert_string_equal(seen.text, "shop/dev/users skip 0 limit 0");
    assert_runs("ARGON_BRANCH=env $A docs find users", 0);
    assert_string_equal(seen.text, "shop/env/users skip 0 limit 0");
    assert_runs("ARGON_BRANCH=env $A docs find users -b flag", 0);
    assert_string_equal(seen.text, "shop/flag/users skip 0 limit 0");
    assert_runs("$A context show -p given | grep -v endpoint", 0);
    assert_string_equal(out, "KEY       VALUE            SOURCE\n"
                             "project   given            flag\n"
                             "branch    dev              context\n"
                             "actor     ada              context\n"
                             "output    table            default\n");
    assert_runs("$A context set branch=x && $A docs find users", 3);
    assert_has(errors, "branch 'x' is from the context, /tmp/argon-cli-");
    assert_runs("$A context unset branch actor && cat .xdg/argon/config", 0);
    assert_has(out, "branch    -\n");

    assert_runs("$A context set colour=red", 2);
    assert_has(errors, "'colour' is none of endpoint, project, branch, actor, output");
    assert_runs("$A context set branch", 2);
    assert_has(errors, "'branch' is not of the form KEY=VALUE");
    assert_runs("$A context set output=xml", 2);
    assert_runs("printf '# mine\nbranch = a\nbranch = b\n' > .xdg/argon/config; $A branches list", 2);
    assert_has(errors, "/.xdg/argon/config, line 3: 'branch' is there twice");
    assert_runs("echo nonsense > .xdg/argon/config; $A context set branch=a", 2);
    assert_has(errors, "line 1: 'nonsense' is not of the form key = value");
    assert_runs("rm .xdg/argon/config; $A docs find users", 0);
}

static void a_status_without_wal_service_is_a_failure(void **state)
{
    (void)state;
    assert_runs("$A status -o json", 0);
    assert_has(out, "\"view_hits_permille\":750,");
    assert_has(out, "\"project\":\"shop\",\"commit_lsn\":41,");
    assert_runs("$A status -p unreachable -o json", 6);
    assert_has(out, "\"wal_reachable\":false}");
    assert_has(errors, "UNAVAILABLE: the branch service does not reach its WAL service, wal:1\n");
}

static void a_branch_is_materialized(void **state)
{
    (void)state;
    assert_runs("$A materialize -o ndjson", 0);
    assert_string_equal(out,
                        "{\"lsn\":12,\"collections\":1,\"done\":0,\"entries\":10,\"progress\":[{\"collection\":\"users\",\"entries\":10,"
                        "\"documents\":0,\"bytes\":0,\"done\":false}]}\n"
                        "{\"lsn\":12,\"collections\":1,\"done\":1,\"entries\":11,\"progress\":[{\"collection\":\"users\",\"entries\":11,"
                        "\"documents\":3,\"bytes\":99,\"done\":true}]}\n");
    assert_runs("$A materialize -o json | tr -d '\n'", 0);
    assert_string_equal(out, "[{\"collection\":\"users\",\"documents\":3,\"bytes\":99,\"entries\":11,\"lsn\":12}]");
    assert_runs("script -qec \"$A materialize\" /dev/null", 0);
    assert_has(out, "0 of 1 collections, 10 log entries replayed\r\033[K1 of 1 collections, 11 log entries replayed\r\033[KCOLLECTION");
    assert_runs("$A materialize -b x", 3);
}

static void documentation_is_up_to_date(void **state)
{
    (void)state;
    assert_runs("$A help --markdown | diff " ARGON_SOURCE_DIR "/docs/cli.md - >&2", 0);
}

static void a_closed_pipe_ends_it_quietly(void **state)
{
    (void)state;
    /* the reader is gone before there is anything to write */
    assert_runs("mkfifo gone; { : <gone & }; exec 3>gone; wait; $A docs find users >&3; r=$?; rm gone; exit $r", 141);
    assert_string_equal(errors, "");
}

static void deleting_without_a_terminal_needs_yes(void **state)
{
    (void)state;
    assert_runs("$A branches delete dev </dev/null", 2);
    assert_has(errors, "say --yes");
    assert_has(errors, "Delete branch dev of project shop?");
    assert_runs("$A branches delete dev -o json --yes", 0);
    assert_string_equal(out, "{\"name\":\"dev\",\"deleted\":true,\"lsn\":42}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(help_stands_at_every_level, forget),
        cmocka_unit_test_setup(wrong_usage_is_code_2, forget),
        cmocka_unit_test_setup(failures_have_codes_and_names, forget),
        cmocka_unit_test_setup(a_failure_names_what_stood_in_the_way, forget),
        cmocka_unit_test_setup(a_branch_is_shown_in_full, forget),
        cmocka_unit_test_setup(a_migration_goes_on_after_an_interruption, forget),
        cmocka_unit_test_setup(what_an_interrupted_call_did_is_not_an_error_of_the_next, forget),
        cmocka_unit_test_setup(a_copy_says_whether_it_is_one_point_in_time, forget),
        cmocka_unit_test_setup(a_list_has_all_pages, forget),
        cmocka_unit_test_setup(a_write_knows_since_when_it_is, forget),
        cmocka_unit_test_setup(an_unavailable_service_gets_the_same_write_again, forget),
        cmocka_unit_test_setup(an_unknown_outcome_says_how_to_repeat, forget),
        cmocka_unit_test_setup(documents_come_in_three_formats, forget),
        cmocka_unit_test_setup(inserts_answer_with_ids, forget),
        cmocka_unit_test_setup(an_import_goes_in_batches, forget),
        cmocka_unit_test_setup(an_import_needs_no_folder_of_its_own, forget),
        cmocka_unit_test_setup(a_damaged_state_is_named, forget),
        cmocka_unit_test_setup(an_import_says_how_far_it_got, forget),
        cmocka_unit_test_setup(an_interrupted_import_says_how_to_go_on, forget),
        cmocka_unit_test_setup(an_export_is_whole_or_not_there, forget),
        cmocka_unit_test_setup(a_state_is_named_by_lsn_time_or_staleness, forget),
        cmocka_unit_test_setup(a_watch_goes_on_by_itself, forget),
        cmocka_unit_test_setup(an_interrupted_watch_says_how_to_go_on, forget),
        cmocka_unit_test_setup(a_log_shows_the_newest_first, forget),
        cmocka_unit_test_setup(the_newest_are_found_without_reading_all, forget),
        cmocka_unit_test_setup(a_context_is_remembered, forget),
        cmocka_unit_test_setup(a_status_without_wal_service_is_a_failure, forget),
        cmocka_unit_test_setup(a_branch_is_materialized, forget),
        cmocka_unit_test_setup(documentation_is_up_to_date, forget),
        cmocka_unit_test_setup(a_closed_pipe_ends_it_quietly, forget),
        cmocka_unit_test_setup(deleting_without_a_terminal_needs_yes, forget),
    };
    return cmocka_run_group_tests(tests, start_service, stop_service);
}
