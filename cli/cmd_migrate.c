#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"

static const char *state_name(Argon__Branch__V1__MigrationState state)
{
    static const char *const names[] = { "none",     "preparing",  "frozen",    "renamed",      "started",     "copied",
                                         "verified", "confirming", "confirmed", "rolling_back", "handing_back" };
    return (size_t)state < ARRAY_LEN(names) ? names[state] : "unknown";
}

static bool get_migration(struct cli *cli, const Argon__Branch__V1__GetMigrationResponse **status, struct error *err)
{
    Argon__Branch__V1__GetMigrationRequest request = ARGON__BRANCH__V1__GET_MIGRATION_REQUEST__INIT;
    ProtobufCMessage *message;
    if (!cli_project(cli, &request.project, err))
        return false;
    request.branch = (char *)cli->options->branch;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Migrations", "GetMigration"), &request.base,
                         &argon__branch__v1__get_migration_response__descriptor, &cli->arena, &message, err))
        return false;
    *status = (const void *)message;
    return true;
}

enum { STATUS_FIELDS = 11 };

static void status_fields(const Argon__Branch__V1__GetMigrationResponse *status, struct field fields[STATUS_FIELDS])
{
    const struct field made[STATUS_FIELDS] = {
        FIELD_STRING("branch", status->branch),
        FIELD_STRING("state", state_name(status->state)),
        FIELD_OPTIONAL("traditional_id", status->traditional_id),
        FIELD_OPTIONAL("wal_id", status->wal_id),
        FIELD_OPTIONAL("base_id", status->base_id),
        FIELD_OPTIONAL("database", status->database),
        FIELD_OPTIONAL("prefix", status->prefix),
        FIELD_U64("epoch", status->epoch),
        FIELD_TIME("started_at", status->started_at),
        FIELD_U64("collections", status->collections),
        FIELD_U64("copied_collections", status->copied_collections),
    };
    memcpy(fields, made, sizeof made);
}

static bool migrate_status(struct cli *cli, struct error *err)
{
    const Argon__Branch__V1__GetMigrationResponse *status;
    struct field fields[STATUS_FIELDS];
    if (!get_migration(cli, &status, err))
        return false;
    status_fields(status, fields);
    output_object(&cli->out, fields, STATUS_FIELDS);
    return true;
}

/* ---- what takes long -------------------------------------------------------------------------------- */

struct migrate {
    struct cli *cli;
    const char *method;
    const ProtobufCMessage *request;
    Argon__Branch__V1__MigrationState goal;
    const char *done; /* a sentence about the branch */
    bool shows_progress;
};

static void show(const struct migrate *m, const Argon__Branch__V1__MigrationProgress *progress)
{
    struct output *out = &m->cli->out;
    if (out->format == OUTPUT_NDJSON) {
        const struct field fields[] = { FIELD_STRING("state", state_name(progress->state)),
                                        FIELD_OPTIONAL("collection", progress->collection), FIELD_U64("documents", progress->documents),
                                        FIELD_U64("bytes", progress->bytes), FIELD_STRING("message", progress->message) };
        output_list_row(out, fields, ARRAY_LEN(fields));
        output_flush(out);
    }
    if (!m->shows_progress)
        return;
    fprintf(stderr, "\r\033[K%s: %s", state_name(progress->state), progress->message);
    if (progress->collection[0])
        fprintf(stderr, " %s, %" PRIu64 " documents", progress->collection, progress->documents);
}

/* One try. The next one goes on where this one stopped. */
static bool run_stream(const struct migrate *m, struct error *err)
{
    struct rpc_client_stream *stream;
    bool ok =
        connection_stream(&m->cli->connection, m->method, m->request, &argon__branch__v1__migration_progress__descriptor, &stream, err);
    if (!ok)
        return false;
    for (bool more = true; ok && more;) {
        struct arena arena;
        ProtobufCMessage *message;
        arena_init(&arena, 0);
        ok = rpc_client_stream_next(stream, &arena, &message, err);
        more = ok && message;
        if (more)
            show(m, (const void *)message);
        arena_destroy(&arena);
    }
    rpc_client_stream_close(stream);
    return ok;
}

/* The try before may have done it, and its answer was lost. */
static bool has_reached_goal(const struct migrate *m)
{
    const Argon__Branch__V1__GetMigrationResponse *status;
    struct error ignored;
    return get_migration(m->cli, &status, &ignored) && status->state == m->goal;
}

static bool carry_out(struct migrate *m, struct error *err)
{
    struct cli *cli = m->cli;
    struct backoff backoff = { 0 };
    uint64_t timeout = cli->options->timeout;
    const int64_t deadline = timeout ? clock_monotonic_micros() + (int64_t)timeout : NO_DEADLINE;
    const Argon__Branch__V1__GetMigrationResponse *status;
    struct field fields[STATUS_FIELDS];
    char sentence[512];
    bool ok, again = false;
    m->shows_progress = isatty(STDERR_FILENO);
    if (cli->out.format == OUTPUT_NDJSON)
        output_list_begin(&cli->out);
    do {
        ok = run_stream(m, err) || (again && err->code == ERROR_FAILED_PRECONDITION && has_reached_goal(m));
        again = true;
    } while (!ok && err->code == ERROR_UNAVAILABLE && backoff_wait(&backoff, deadline));
    if (m->shows_progress)
        fputs("\r\033[K", stderr);
    if (cli->out.format == OUTPUT_NDJSON)
        output_list_end(&cli->out);
    if (!ok || cli->out.format == OUTPUT_NDJSON)
        return ok;
    if (!get_migration(cli, &status, err))
        return false;
    status_fields(status, fields);
    snprintf(sentence, sizeof sentence, m->done, cli->options->branch);
    output_result(&cli->out, sentence, fields, STATUS_FIELDS);
    return true;
}

static bool migrate_start(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__StartMigrationRequest request = ARGON__BRANCH__V1__START_MIGRATION_REQUEST__INIT;
    struct migrate m = { .cli = cli,
                         .method = BRANCH_METHOD("Migrations", "StartMigration"),
                         .request = &request.base,
                         .goal = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_VERIFIED,
                         .done = "Branch %s is a WAL branch now, and has what it had. Confirm the migration, or roll it back." };
    request.branch = (char *)cli->options->branch;
    return cli_project(cli, &request.project, err) && carry_out(&m, err);
}

static bool migrate_confirm(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ConfirmMigrationRequest request = ARGON__BRANCH__V1__CONFIRM_MIGRATION_REQUEST__INIT;
    struct migrate m = { .cli = cli,
                         .method = BRANCH_METHOD("Migrations", "ConfirmMigration"),
                         .request = &request.base,
                         .goal = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_CONFIRMED,
                         .done = "Branch %s is a WAL branch for good; its collections in MongoDB are gone." };
    request.branch = (char *)cli->options->branch;
    return cli_project(cli, &request.project, err) &&
           cli_confirm(cli, err, "Drop what branch %s of project %s has in MongoDB? There is no way back then.", request.branch,
                       request.project) &&
           carry_out(&m, err);
}

static bool migrate_rollback(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__RollbackMigrationRequest request = ARGON__BRANCH__V1__ROLLBACK_MIGRATION_REQUEST__INIT;
    struct migrate m = { .cli = cli,
                         .method = BRANCH_METHOD("Migrations", "RollbackMigration"),
                         .request = &request.base,
                         .goal = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_NONE,
                         .done = "Branch %s is traditional again, with everything that was written since." };
    request.branch = (char *)cli->options->branch;
    return cli_project(cli, &request.project, err) && carry_out(&m, err);
}

static const struct command commands[] = {
    { "start", "-p PROJECT -b BRANCH",
      "Make a traditional branch a WAL branch, or go on with that; writers wait for about a second, and programs need do nothing",
      "argon migrate start -p shop -b staging", 0, 0, migrate_start, NULL, 0, NULL },
    { "status", "-p PROJECT -b BRANCH", "Show how far the migration of a branch is", "argon migrate status -p shop -b staging -o json", 0,
      0, migrate_status, NULL, 0, NULL },
    { "confirm", "-p PROJECT -b BRANCH [--yes]", "Drop what a migrated branch had in MongoDB; from then on there is no way back",
      "argon migrate confirm -p shop -b staging --yes", 0, 0, migrate_confirm, NULL, 0, NULL },
    { "rollback", "-p PROJECT -b BRANCH", "Make it a traditional branch again, with everything that was written since",
      "argon migrate rollback -p shop -b staging", 0, 0, migrate_rollback, NULL, 0, NULL },
};

const struct command_group migrate_group = { "migrate", "Take traditional branches to the log, and back", commands, ARRAY_LEN(commands),
                                             GROUP_REMOTE };
