/* The branch service: documents and branches.
 *
 *   bench_docs insert|find|update|branch|query|cold --target HOST:PORT [--documents N] [--in-flight N] [--rate N] [--seconds S]
 *
 * Each makes a project of its own with so many documents of 300 bytes. find and update go by _id; update gives each
 * call in flight documents of its own. branch creates branches one after another, beside the same number of InsertOne.
 * query: a comparison on a field without an index. cold: reads everything from a service that has just started, in a
 * project that --project names (prints the name when it makes one).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bson/bson.h>

#include "argon/branch/v1/branch.pb-c.h"
#include "bench/load.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/random.h"

#define DOCUMENTS "/argon.branch.v1.Documents/"
enum { FILLER_BYTES = 240, INSERT_AT_ONCE = 1000 };

struct bench {
    struct rpc_client *client;
    char project[ID_SIZE];
    uint64_t documents;
    unsigned in_flight;
    const char *what;
    Argon__Branch__V1__Target target;
    struct slot_request {
        bson_t filter, update;
        Argon__Branch__V1__Document a, b;
        Argon__Branch__V1__FindOneRequest find;
        Argon__Branch__V1__UpdateRequest change;
        Argon__Branch__V1__InsertOneRequest insert;
    } slots[LOAD_MAX_IN_FLIGHT];
};

static void set_document(Argon__Branch__V1__Document *document, const bson_t *bson)
{
    argon__branch__v1__document__init(document);
    document->bson.data = (uint8_t *)bson_get_data(bson);
    document->bson.len = bson->len;
}

static void make_document(bson_t *out, uint64_t id)
{
    char filler[FILLER_BYTES + 1];
    memset(filler, 'f', FILLER_BYTES);
    filler[FILLER_BYTES] = '\0';
    bson_init(out);
    bson_append_int64(out, "_id", 3, (int64_t)id);
    bson_append_int64(out, "n", 1, 0);
    bson_append_utf8(out, "filler", 6, filler, FILLER_BYTES);
}

static void make_project(struct bench *bench)
{
    struct arena arena;
    arena_init(&arena, 0);
    Argon__Branch__V1__CreateProjectRequest request = ARGON__BRANCH__V1__CREATE_PROJECT_REQUEST__INIT;
    request.name = bench->project;
    load_call(bench->client, "/argon.branch.v1.Projects/CreateProject", &request, &argon__branch__v1__create_project_response__descriptor,
              &arena);
    arena_destroy(&arena);
    bson_t *documents = mem_alloc(INSERT_AT_ONCE * sizeof *documents);
    Argon__Branch__V1__Document items[INSERT_AT_ONCE], *list[INSERT_AT_ONCE];
    for (uint64_t at = 0; at < bench->documents; at += INSERT_AT_ONCE) {
        size_t n = bench->documents - at < INSERT_AT_ONCE ? (size_t)(bench->documents - at) : INSERT_AT_ONCE;
        for (size_t i = 0; i < n; i++) {
            make_document(&documents[i], at + i);
            set_document(&items[i], &documents[i]);
            list[i] = &items[i];
        }
        Argon__Branch__V1__InsertManyRequest insert = ARGON__BRANCH__V1__INSERT_MANY_REQUEST__INIT;
        insert.target = &bench->target;
        insert.n_documents = n;
        insert.documents = list;
        arena_init(&arena, 0);
        load_call(bench->client, DOCUMENTS "InsertMany", &insert, &argon__branch__v1__insert_many_response__descriptor, &arena);
        arena_destroy(&arena);
        for (size_t i = 0; i < n; i++)
            bson_destroy(&documents[i]);
    }
    free(documents);
}

static uint64_t mix(uint64_t n)
{
    return (n + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 17;
}

static const ProtobufCMessage *next_request(void *ctx, unsigned number, uint64_t n)
{
    struct bench *bench = ctx;
    struct slot_request *slot = &bench->slots[number];
    bool update = strcmp(bench->what, "update") == 0;
    if (slot->filter.len)
        bson_destroy(&slot->filter);
    if (strcmp(bench->what, "insert") == 0) {
        make_document(&slot->filter, bench->documents + n);
        set_document(&slot->a, &slot->filter);
        argon__branch__v1__insert_one_request__init(&slot->insert);
        slot->insert.target = &bench->target;
        slot->insert.document = &slot->a;
        return &slot->insert.base;
    }
    uint64_t share = bench->documents / bench->in_flight, id = update ? number * share + mix(n) % share : mix(n) % bench->documents;
    bson_init(&slot->filter);
    bson_append_int64(&slot->filter, "_id", 3, (int64_t)id);
    set_document(&slot->a, &slot->filter);
    if (!update) {
        argon__branch__v1__find_one_request__init(&slot->find);
        slot->find.target = &bench->target;
        slot->find.filter = &slot->a;
        return &slot->find.base;
    }
    if (!slot->update.len) {
        bson_t inc;
        bson_init(&slot->update);
        bson_append_document_begin(&slot->update, "$inc", 4, &inc);
        bson_append_int64(&inc, "n", 1, 1);
        bson_append_document_end(&slot->update, &inc);
    }
    set_document(&slot->b, &slot->update);
    argon__branch__v1__update_request__init(&slot->change);
    slot->change.target = &bench->target;
    slot->change.filter = &slot->a;
    slot->change.update = &slot->b;
    return &slot->change.base;
}

static void check_response(void *ctx, struct bytes response)
{
    struct bench *bench = ctx;
    bool ok = response.len > 0;
    if (strcmp(bench->what, "update") == 0) {
        Argon__Branch__V1__UpdateResponse *answer = argon__branch__v1__update_response__unpack(NULL, response.len, response.data);
        ok = answer && answer->modified == 1;
        argon__branch__v1__update_response__free_unpacked(answer, NULL);
    } else if (strcmp(bench->what, "find") == 0) {
        Argon__Branch__V1__FindOneResponse *answer = argon__branch__v1__find_one_response__unpack(NULL, response.len, response.data);
        ok = answer && answer->document;
        argon__branch__v1__find_one_response__free_unpacked(answer, NULL);
    }
    if (ok)
        return;
    fprintf(stderr, "%s: not the answer that is right\n", bench->what);
    exit(1);
}

/* All documents that match; returns microseconds. */
static int64_t find_all(struct bench *bench, const bson_t *filter, uint64_t *found)
{
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    Argon__Branch__V1__Document document;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    struct rpc_client_stream *stream = NULL;
    struct error err = { 0 };
    ProtobufCMessage *message = NULL;
    struct arena arena;
    int64_t began = clock_monotonic_micros();
    request.target = &bench->target;
    if (filter) {
        set_document(&document, filter);
        request.filter = &document;
    }
    *found = 0;
    bool ok = rpc_client_stream_open(bench->client, DOCUMENTS "Find", &request.base, &argon__branch__v1__find_response__descriptor,
                                     &options, &stream, &err);
    do {
        arena_init(&arena, 0);
        ok = ok && rpc_client_stream_next(stream, &arena, &message, &err);
        if (ok && message)
            *found += ((const Argon__Branch__V1__FindResponse *)(const void *)message)->n_documents;
        arena_destroy(&arena);
    } while (ok && message);
    if (!ok) {
        fprintf(stderr, "find: %s\n", err.message);
        exit(1);
    }
    rpc_client_stream_close(stream);
    return clock_monotonic_micros() - began;
}

static void run_branch(struct bench *bench, unsigned calls)
{
    uint32_t *create = mem_alloc(calls * sizeof *create), *insert = mem_alloc(calls * sizeof *insert);
    struct load_result created = { 0 }, inserted = { 0 };
    struct arena arena;
    bench->what = "insert";
    for (unsigned i = 0; i < calls; i++) {
        char name[32];
        snprintf(name, sizeof name, "b%u", i);
        Argon__Branch__V1__CreateBranchRequest request = ARGON__BRANCH__V1__CREATE_BRANCH_REQUEST__INIT;
        request.project = bench->project;
        request.name = name;
        arena_init(&arena, 0);
        int64_t t0 = clock_monotonic_micros();
        load_call(bench->client, "/argon.branch.v1.Branches/CreateBranch", &request, &argon__branch__v1__create_branch_response__descriptor,
                  &arena);
        int64_t t1 = clock_monotonic_micros();
        load_call(bench->client, DOCUMENTS "InsertOne", next_request(bench, 0, i), &argon__branch__v1__insert_one_response__descriptor,
                  &arena);
        create[i] = (uint32_t)(t1 - t0);
        insert[i] = (uint32_t)(clock_monotonic_micros() - t1);
        arena_destroy(&arena);
    }
    load_percentiles(create, calls, &created);
    load_percentiles(insert, calls, &inserted);
    printf("{\"bench\":\"branch\",\"documents\":%llu,\"calls\":%u,\"create_p50_us\":%.0f,\"create_p99_us\":%.0f,\"insert_p50_us\":%.0f,"
           "\"insert_p99_us\":%.0f,\"create_to_insert\":%.2f}\n",
           (unsigned long long)bench->documents, calls, created.p50, created.p99, inserted.p50, inserted.p99, created.p50 / inserted.p50);
    free(create);
    free(insert);
}

int main(int argc, char **argv)
{
    struct bench *bench = mem_zalloc(sizeof *bench);
    const char *project = load_option(argc, argv, "--project", NULL);
    bench->what = argc > 1 ? argv[1] : "";
    bench->client = load_connect(load_option(argc, argv, "--target", "127.0.0.1:7800"));
    bench->documents = (uint64_t)load_number(argc, argv, "--documents", 10000);
    bench->in_flight = (unsigned)load_number(argc, argv, "--in-flight", 1);
    random_id(bench->project);
    if (project)
        snprintf(bench->project, sizeof bench->project, "%s", project);
    else
        bench->project[0] = 'p'; /* a name begins with a letter */
    argon__branch__v1__target__init(&bench->target);
    bench->target.project = bench->project;
    bench->target.branch = "main";
    bench->target.collection = "docs";
    if (!project)
        make_project(bench);
    if (strcmp(bench->what, "fill") == 0) {
        printf("%s\n", bench->project);
    } else if (strcmp(bench->what, "branch") == 0) {
        run_branch(bench, (unsigned)load_number(argc, argv, "--calls", 300));
    } else if (strcmp(bench->what, "query") == 0 || strcmp(bench->what, "cold") == 0) {
        uint64_t found;
        bson_t filter;
        bson_init(&filter);
        bson_append_int64(&filter, "n", 1, strcmp(bench->what, "cold") == 0 ? -1 : 0);
        int64_t micros = find_all(bench, &filter, &found);
        printf("{\"bench\":\"%s\",\"documents\":%llu,\"found\":%llu,\"us\":%lld,\"documents_per_second\":%.0f}\n", bench->what,
               (unsigned long long)bench->documents, (unsigned long long)found, (long long)micros,
               (double)bench->documents * MICROS_PER_SECOND / (double)micros);
        bson_destroy(&filter);
    } else if (strcmp(bench->what, "insert") == 0 || strcmp(bench->what, "find") == 0 || strcmp(bench->what, "update") == 0) {
        struct load load = {
            .client = bench->client,
            .method = strcmp(bench->what, "find") == 0     ? DOCUMENTS "FindOne"
                      : strcmp(bench->what, "update") == 0 ? DOCUMENTS "UpdateOne"
                                                           : DOCUMENTS "InsertOne",
            .in_flight = bench->in_flight,
            .rate = load_number(argc, argv, "--rate", 0),
            .seconds = load_number(argc, argv, "--seconds", 5),
            .next = next_request,
            .check = check_response,
            .ctx = bench,
        };
        struct load_result result;
        load_run(&load, &result);
        printf("{\"bench\":\"%s\",\"documents\":%llu,\"in_flight\":%u,\"rate\":%.0f", bench->what, (unsigned long long)bench->documents,
               load.in_flight, load.rate);
        load_print(&result);
        printf("}\n");
    } else {
        return fprintf(stderr, "usage: bench_docs insert|find|update|branch|query|fill|cold --target HOST:PORT [OPTIONS]\n"), 2;
    }
    rpc_client_close(bench->client);
    return 0;
}
