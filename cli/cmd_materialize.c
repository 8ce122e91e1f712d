#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/read_state.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

struct materialize {
    struct cli *cli;
    struct {
        char *name;
        Argon__Branch__V1__MaterializeProgress state; /* collection: the name above */
    } * collections;
    size_t n;
    uint64_t lsn;
    bool shows_progress;
};

static void take_progress(struct materialize *m, const Argon__Branch__V1__MaterializeProgress *progress)
{
    size_t i = 0;
    while (i < m->n && strcmp(m->collections[i].name, progress->collection) != 0)
        i++;
    if (i == m->n) {
        m->collections = mem_realloc(m->collections, (m->n + 1) * sizeof *m->collections);
        m->collections[m->n++].name = mem_strdup(progress->collection);
    }
    m->collections[i].state = *progress;
    m->collections[i].state.collection = m->collections[i].name;
}

/* Of all collections that have been named. */
static uint64_t count_done(const struct materialize *m, uint64_t *entries)
{
    uint64_t done = 0;
    *entries = 0;
    for (size_t i = 0; i < m->n; i++) {
        *entries += m->collections[i].state.entries;
        done += m->collections[i].state.done;
    }
    return done;
}

/* For people one line that changes, as long as they look. */
static void show_progress(const struct materialize *m)
{
    uint64_t entries, done = count_done(m, &entries);
    if (m->shows_progress)
        fprintf(stderr, "\r\033[K%" PRIu64 " of %zu collections, %" PRIu64 " log entries replayed", done, m->n, entries);
}

/* For programs a line a message: how far the whole is, and what has moved. */
static void print_progress(const struct materialize *m, const Argon__Branch__V1__MaterializeResponse *response)
{
    struct output *out = &m->cli->out;
    struct buffer moved = { 0 };
    uint64_t entries, done = count_done(m, &entries);
    buffer_append_u8(&moved, '[');
    for (size_t i = 0; i < response->n_progress; i++) {
        const Argon__Branch__V1__MaterializeProgress *progress = response->progress[i];
        const struct field fields[] = { FIELD_STRING("collection", progress->collection), FIELD_U64("entries", progress->entries),
                                        FIELD_U64("documents", progress->documents), FIELD_U64("bytes", progress->bytes),
                                        FIELD_BOOL("done", progress->done) };
        if (i > 0)
            buffer_append_u8(&moved, ',');
        output_append_json_object(&moved, fields, ARRAY_LEN(fields));
    }
    buffer_append(&moved, "]", 2);
    const struct field fields[] = { FIELD_U64("lsn", response->lsn), FIELD_U64("collections", m->n), FIELD_U64("done", done),
                                    FIELD_U64("entries", entries), FIELD_JSON("progress", moved.failed ? "[]" : (char *)moved.data) };
    output_list_row(out, fields, ARRAY_LEN(fields));
    output_flush(out);
    buffer_destroy(&moved);
}

/* One try. What has been built stays in memory, so that the next one goes on. */
static bool run_stream(struct materialize *m, const Argon__Branch__V1__MaterializeRequest *request, struct error *err)
{
    struct rpc_client_stream *stream;
    if (!connection_stream(&m->cli->connection, BRANCH_METHOD("Branches", "Materialize"), &request->base,
                           &argon__branch__v1__materialize_response__descriptor, &stream, err))
        return false;
    bool ok = true;
    for (bool more = true; ok && more;) {
        struct arena arena;
        ProtobufCMessage *message;
        arena_init(&arena, 0);
        ok = rpc_client_stream_next(stream, &arena, &message, err);
        more = ok && message;
        if (more) {
            const Argon__Branch__V1__MaterializeResponse *response = (const void *)message;
            m->lsn = response->lsn;
            for (size_t i = 0; i < response->n_progress; i++)
                take_progress(m, response->progress[i]);
            if (m->cli->out.format == OUTPUT_NDJSON)
                print_progress(m, response);
            else
                show_progress(m);
        }
        arena_destroy(&arena);
    }
    rpc_client_stream_close(stream);
    return ok;
}

static bool all_done(const struct materialize *m, struct error *err)
{
    for (size_t i = 0; i < m->n; i++)
        if (!m->collections[i].state.done)
            return error_set(err, ERROR_INTERNAL, "the service ended before collection '%s' was complete", m->collections[i].name);
    return true;
}

static void print_collections(const struct materialize *m)
{
    struct output *out = &m->cli->out;
    for (size_t i = 0; i < m->n; i++) {
        const Argon__Branch__V1__MaterializeProgress *state = &m->collections[i].state;
        const struct field fields[] = { FIELD_STRING("collection", state->collection), FIELD_U64("documents", state->documents),
                                        FIELD_U64("bytes", state->bytes), FIELD_U64("entries", state->entries), FIELD_U64("lsn", m->lsn) };
        output_list_row(out, fields, ARRAY_LEN(fields));
    }
}

static bool materialize(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__MaterializeRequest request = ARGON__BRANCH__V1__MATERIALIZE_REQUEST__INIT;
    Argon__Branch__V1__ReadOptions read;
    struct materialize m = { .cli = cli, .shows_progress = isatty(STDERR_FILENO) };
    if (!cli_project(cli, &request.project, err) || !read_state_fill(cli, &read, err))
        return false;
    request.branch = (char *)cli->options->branch;
    request.read = &read;
    request.n_collections = cli->n_args;
    request.collections = (char **)cli->args;
    bool ok;
    output_list_begin(&cli->out);
    struct backoff backoff = { 0 };
    uint64_t timeout = cli->options->timeout;
    int64_t deadline = timeout ? clock_monotonic_micros() + (int64_t)timeout : NO_DEADLINE;
    do {
        ok = cli_reach_branch(cli, request.project, request.branch, read.stale_ok, err);
        if (!ok)
            break;
        ok = run_stream(&m, &request, err);
    } while (!ok && err->code == ERROR_UNAVAILABLE && backoff_wait(&backoff, deadline));
    if (m.shows_progress && cli->out.format != OUTPUT_NDJSON)
        fputs("\r\033[K", stderr);
    ok = ok && all_done(&m, err);
    if (ok && cli->out.format != OUTPUT_NDJSON)
        print_collections(&m);
    output_list_end(&cli->out);
    for (size_t i = 0; i < m.n; i++)
        free(m.collections[i].name);
    free(m.collections);
    return ok;
}

static const struct command commands[] = {
    { NULL, "[COLLECTION...] -p PROJECT [-b BRANCH]",
      "Have the state of a branch in memory before it is asked for; -o ndjson tells how far it is",
      "argon materialize -p shop -b dev users", 0, ANY_NUMBER_OF_ARGS, materialize, NULL, 0, &read_state_options },
};

const struct command_group materialize_group = { "materialize", "Build the state of a branch in memory", commands, ARRAY_LEN(commands),
                                                 GROUP_REMOTE };
