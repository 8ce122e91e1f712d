/* The branch service: documents and branches.
 *
 *   bench_docs insert|find|update|mix|branch|query|fill|cold --target HOST:PORT [--documents N] [--in-flight N] [--rate N] [--seconds S]
 *
 * Each makes a project of its own with so many documents of 300 bytes, or of the name that --name says. find and update go
 * by _id; update gives each call in flight documents of its own; mix is all of it, with forks, and leaves as much as it found.
 * branch creates branches one after another, beside the same number of InsertOne. query: a comparison on a field without an
 * index. fill only makes the project and prints its name; cold reads everything of it (--project NAME) from a service
 * that has just started.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/requests.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { INSERT_AT_ONCE = 1000 };

struct bench {
    struct rpc_client *client;
    struct requests requests;
};

static void wrong(const char *what, uint64_t got, uint64_t right)
{
    fprintf(stderr, "%s: %llu documents instead of %llu\n", what, (unsigned long long)got, (unsigned long long)right);
    exit(1);
}

static void make_project(struct bench *bench)
{
    struct arena arena;
    arena_init(&arena, 0);
    Argon__Branch__V1__CreateProjectRequest request = ARGON__BRANCH__V1__CREATE_PROJECT_REQUEST__INIT;
    request.name = bench->requests.project;
    load_call(bench->client, "/argon.branch.v1.Projects/CreateProject", &request, &argon__branch__v1__create_project_response__descriptor,
              &arena);
    arena_destroy(&arena);
    bson_t *documents = mem_alloc(INSERT_AT_ONCE * sizeof *documents);
    Argon__Branch__V1__Document items[INSERT_AT_ONCE], *list[INSERT_AT_ONCE];
    for (uint64_t at = 0; at < bench->requests.documents; at += INSERT_AT_ONCE) {
        size_t n = bench->requests.documents - at < INSERT_AT_ONCE ? (size_t)(bench->requests.documents - at) : INSERT_AT_ONCE;
        for (size_t i = 0; i < n; i++) {
            make_document(&documents[i], (int64_t)(at + i));
            set_document(&items[i], &documents[i]);
            list[i] = &items[i];
        }
        Argon__Branch__V1__InsertManyRequest insert = ARGON__BRANCH__V1__INSERT_MANY_REQUEST__INIT;
        insert.target = &bench->requests.target;
        insert.n_documents = n;
        insert.documents = list;
        arena_init(&arena, 0);
        const Argon__Branch__V1__InsertManyResponse *answer =
            load_call(bench->client, DOCUMENTS "InsertMany", &insert, &argon__branch__v1__insert_many_response__descriptor, &arena);
        if (answer->inserted != n)
            wrong("insert many", answer->inserted, n);
        arena_destroy(&arena);
        for (size_t i = 0; i < n; i++)
            bson_destroy(&documents[i]);
    }
    free(documents);
}

/* All documents that match; returns microseconds. They have to be those with the _id 0, 1, ... `expected` - 1. */
static int64_t find_all(struct bench *bench, const bson_t *filter, uint64_t expected)
{
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    Argon__Branch__V1__Document document;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    struct rpc_client_stream *stream = NULL;
    struct error err = { 0 };
    ProtobufCMessage *message = NULL;
    struct arena arena;
    int64_t began = clock_monotonic_micros();
    request.target = &bench->requests.target;
    if (filter) {
        set_document(&document, filter);
        request.filter = &document;
    }
    uint64_t found = 0;
    bool ok = rpc_client_stream_open(bench->client, DOCUMENTS "Find", &request.base, &argon__branch__v1__find_response__descriptor,
                                     &options, &stream, &err);
    do {
        arena_init(&arena, 0);
        ok = ok && rpc_client_stream_next(stream, &arena, &message, &err);
        const Argon__Branch__V1__FindResponse *part = ok ? (const void *)message : NULL;
        for (size_t i = 0; part && i < part->n_documents; i++, found++)
            if (id_of(part->documents[i]) != (int64_t)found)
                wrong("find, a wrong _id after", found, expected);
        arena_destroy(&arena);
    } while (ok && message);
    if (!ok) {
        fprintf(stderr, "find: %s\n", err.message);
        exit(1);
    }
    int64_t micros = clock_monotonic_micros() - began;
    rpc_client_stream_close(stream);
    if (found != expected)
        wrong("find", found, expected);
    return micros;
}

static void run_branch(struct bench *bench, unsigned calls)
{
    uint32_t *create = mem_alloc(calls * sizeof *create), *insert = mem_alloc(calls * sizeof *insert);
    struct load_result created = { 0 }, inserted = { 0 };
    struct arena arena;
    bench->requests.workload = WORKLOAD_INSERT;
    for (unsigned i = 0; i < calls; i++) {
        const char *method;
        char name[32];
        snprintf(name, sizeof name, "b%u", i);
        Argon__Branch__V1__CreateBranchRequest request = ARGON__BRANCH__V1__CREATE_BRANCH_REQUEST__INIT;
        request.project = bench->requests.project;
        request.name = name;
        arena_init(&arena, 0);
        int64_t t0 = clock_monotonic_micros();
        load_call(bench->client, BRANCHES "CreateBranch", &request, &argon__branch__v1__create_branch_response__descriptor, &arena);
        int64_t t1 = clock_monotonic_micros();
        const ProtobufCMessage *document = requests_next(&bench->requests, 0, i, &method);
        const Argon__Branch__V1__InsertOneResponse *answer =
            load_call(bench->client, method, document, &argon__branch__v1__insert_one_response__descriptor, &arena);
        create[i] = (uint32_t)(t1 - t0);
        insert[i] = (uint32_t)(clock_monotonic_micros() - t1);
        if (id_of(answer->inserted_id) != bench->requests.slots[0].id)
            wrong("insert", 0, 1);
        arena_destroy(&arena);
    }
    load_percentiles(create, calls, &created);
    load_percentiles(insert, calls, &inserted);
    printf("{\"bench\":\"branch\",\"documents\":%llu,\"calls\":%u,\"create_p50_us\":%.0f,\"create_p99_us\":%.0f,\"insert_p50_us\":%.0f,"
           "\"insert_p99_us\":%.0f,\"create_to_insert\":%.2f}\n",
           (unsigned long long)bench->requests.documents, calls, created.p50, created.p99, inserted.p50, inserted.p99,
           created.p50 / inserted.p50);
    free(create);
    free(insert);
}

/* Once; the first time a service that has just started is asked, that is reading the log and building the view. */
static void run_scan(struct bench *bench, const char *what)
{
    uint64_t documents = bench->requests.documents;
    bool cold = strcmp(what, "cold") == 0;
    bson_t filter;
    bson_init(&filter);
    bson_append_int64(&filter, "n", 1, cold ? -1 : 0); /* none, or all */
    int64_t micros = find_all(bench, &filter, cold ? 0 : documents);
    if (cold)
        find_all(bench, NULL, documents); /* not measured: whether the view was whole */
    printf("{\"bench\":\"%s\",\"documents\":%llu,\"us\":%lld,\"documents_per_second\":%.0f}\n", what, (unsigned long long)documents,
           (long long)micros, (double)documents * MICROS_PER_SECOND / (double)micros);
    bson_destroy(&filter);
}

static void run_load(struct bench *bench, const char *what, int argc, char **argv)
{
    struct load load = {
        .client = bench->client,
        .in_flight = bench->requests.in_flight,
        .rate = load_number(argc, argv, "--rate", 0),
        .seconds = load_number(argc, argv, "--seconds", 5),
        .next = requests_next,
        .check = requests_check,
        .ctx = &bench->requests,
    };
    struct load_result result;
    load_run(&load, &result);
    printf("{\"bench\":\"%s\",\"documents\":%llu,\"in_flight\":%u,\"rate\":%.0f", what, (unsigned long long)bench->requests.documents,
           load.in_flight, load.rate);
    load_print(&result);
    printf("}\n");
}

int main(int argc, char **argv)
{
    static const char *const workloads[] = { "insert", "find", "update", "mix" };
    struct bench *bench = mem_zalloc(sizeof *bench);
    struct requests *requests = &bench->requests;
    const char *what = argc > 1 ? argv[1] : "", *project = load_option(argc, argv, "--project", NULL);
    int workload = -1;
    for (int i = WORKLOAD_INSERT; i <= WORKLOAD_MIX; i++)
        workload = strcmp(what, workloads[i]) == 0 ? i : workload;
    bool branch = strcmp(what, "branch") == 0, fill = strcmp(what, "fill") == 0;
    if (workload < 0 && !branch && !fill && strcmp(what, "query") != 0 && strcmp(what, "cold") != 0)
        return fprintf(stderr, "usage: bench_docs insert|find|update|mix|branch|query|fill|cold --target HOST:PORT [OPTIONS]\n"), 2;
    bench->client = load_connect(load_option(argc, argv, "--target", "127.0.0.1:7800"));
    requests->documents = (uint64_t)load_number(argc, argv, "--documents", 10000);
    requests->in_flight = (unsigned)load_number(argc, argv, "--in-flight", 1);
    random_id(requests->project);
    requests->project[0] = 'p'; /* a name begins with a letter */
    if (project || load_option(argc, argv, "--name", NULL))
        snprintf(requests->project, sizeof requests->project, "%s", project ? project : load_option(argc, argv, "--name", NULL));
    argon__branch__v1__target__init(&requests->target);
    requests->target.project = requests->project;
    requests->target.branch = "main";
    requests->target.collection = "docs";
    if (!project)
        make_project(bench);
    if (workload >= 0) {
        requests->workload = (enum workload)workload;
        run_load(bench, what, argc, argv);
    } else if (branch) {
        run_branch(bench, (unsigned)load_number(argc, argv, "--calls", 300));
    } else if (fill) {
        printf("%s\n", requests->project);
    } else {
        run_scan(bench, what);
    }
    rpc_client_close(bench->client);
    return 0;
}
