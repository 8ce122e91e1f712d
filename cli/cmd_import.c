/* Import: batch after batch, each a write of its own that is sent until it is known to have taken effect
 * once. The ids of the batches follow from one base id, so that the same command on the same file with that
 * id goes through the batches that are in without inserting anything twice. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/input.h"
#include "cli/insert_batch.h"
#include "common/base/clock.h"

enum { BATCH_BYTES = 4 * 1024 * 1024, PROGRESS_MICROS = MICROS_PER_SECOND / 10, BAR_WIDTH = 30 };

static struct {
    const char *collection;
    const char *on_duplicate;
    uint64_t batch_size;
} options;

struct import {
    struct cli *cli;
    struct input *input;
    struct insert_batch batch;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__OnDuplicate on_duplicate;
    uint64_t batches; /* that are in */
    uint64_t lsn;     /* of the last one */
    uint64_t read, inserted, skipped;
    struct input_place batch_begin; /* of the first document of the batch at hand */
    struct input_place batch_end;   /* behind its last one */
    struct input_place done;        /* all before it is in */
    bool shows_progress;
    int64_t started, shown;
};

/* ---- progress ---------------------------------------------------------------------------------------- */

static void show_progress(struct import *import)
{
    int64_t now = clock_monotonic_micros();
    if (!import->shows_progress || now - import->shown < PROGRESS_MICROS)
        return;
    import->shown = now;
    double seconds = (double)(now - import->started) / MICROS_PER_SECOND;
    uint64_t size = input_size(import->input), documents = import->inserted + import->skipped;
    fputs("\r\033[K", stderr);
    if (size > 0) {
        uint64_t at = import->done.offset < size ? import->done.offset : size;
        int filled = (int)(at * BAR_WIDTH / size);
        fputc('[', stderr);
        for (int i = 0; i < BAR_WIDTH; i++)
            fputc(i < filled ? '#' : '.', stderr);
        fprintf(stderr, "] %3d%%  ", (int)(at * 100 / size));
    }
    fprintf(stderr, "%" PRIu64 " documents, %.0f/s", documents, seconds > 0 ? (double)documents / seconds : 0);
    fflush(stderr);
}

static void end_progress(const struct import *import)
{
    if (import->shows_progress && import->shown)
        fputs("\r\033[K", stderr);
}

/* ---- Ctrl-C ------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* The first one lets the batch on its way arrive, so that it can be said how far it got; the second kills. */
static void watch_interrupt(void)
{
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }, old;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(SIGINT, &action, NULL);
}

/* ---- batches ------------------------------------------------------------------------------------------ */

static bool send_batch(struct import *import, struct error *err)
{
    struct connection *connection = &import->cli->connection;
    Argon__Branch__V1__WriteOptions write;
    const Argon__Branch__V1__InsertManyResponse *response;
    struct arena arena;
    if (interrupted)
        return error_set(err, ERROR_CANCELLED, "interrupted");
    arena_init(&arena, 0);
    bool ok = connection_next_write(connection, import->batches, import->lsn, &write, err) &&
              insert_batch_send(&import->batch, connection, &import->target, import->on_duplicate, &write, &arena, &response, err);
    if (ok) {
        import->inserted += response->inserted;
        import->skipped += response->skipped;
        import->lsn = response->lsn;
        import->batches++;
        import->done = import->batch_end;
        insert_batch_clear(&import->batch);
        show_progress(import);
    } else {
        ok = error_wrap(err, "documents of lines %" PRIu64 " to %" PRIu64, import->batch_begin.line, import->batch_end.line);
    }
    arena_destroy(&arena);
    return ok;
}

static bool add_document(struct import *import, struct bytes text, struct input_place place, struct error *err)
{
    bson_t bson;
    if (!ejson_parse(text, &bson, err))
        return error_wrap(err, "line %" PRIu64, place.line);
    bool ok = true;
    if (import->batch.n > 0 && import->batch.documents.len + bson.len > BATCH_BYTES)
        ok = send_batch(import, err);
    if (ok && import->batch.n == 0)
        import->batch_begin = place;
    ok = ok && insert_batch_add(&import->batch, bytes_of(bson_get_data(&bson), bson.len), err);
    bson_destroy(&bson);
    import->batch_end = input_place(import->input);
    if (ok && import->batch.n == options.batch_size)
        ok = send_batch(import, err);
    return ok;
}

static bool import_all(struct import *import, struct error *err)
{
    struct bytes text;
    do {
        struct input_place place;
        if (!input_next(import->input, &text, &place, err))
            return false;
        if (text.data) {
            import->read++;
            if (!add_document(import, text, place, err))
                return false;
        }
    } while (text.data);
    return import->batch.n == 0 || send_batch(import, err);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static bool parse_options(const struct cli *cli, struct import *import, struct error *err)
{
    if (!options.collection[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "which collection? Say -c COLLECTION");
    if (strcmp(options.on_duplicate, "skip") == 0)
        import->on_duplicate = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_SKIP;
    else if (strcmp(options.on_duplicate, "fail") != 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "option --on-duplicate: '%s' is neither fail nor skip", options.on_duplicate);
    return cli_target(cli, options.collection, &import->target, err);
}

static void print_imported(const struct import *import)
{
    const struct field fields[] = { FIELD_U64("read", import->read), FIELD_U64("inserted", import->inserted),
                                    FIELD_U64("skipped", import->skipped), FIELD_U64("lsn", import->lsn) };
    char sentence[160];
    snprintf(sentence, sizeof sentence,
             "Read %" PRIu64 " documents, inserted %" PRIu64 ", skipped %" PRIu64 " whose _id exists, at LSN %" PRIu64 ".", import->read,
             import->inserted, import->skipped, import->lsn);
    output_result(&import->cli->out, sentence, fields, ARRAY_LEN(fields));
}

static void report_how_far(const struct import *import, enum error_code code)
{
    const struct connection *connection = &import->cli->connection;
    fprintf(stderr,
            "argon: the import stopped: %" PRIu64 " documents read, %" PRIu64 " inserted, %" PRIu64 " skipped; all before line %" PRIu64
            " (byte %" PRIu64 ") are in\n",
            import->read, import->inserted, import->skipped, import->done.line, import->done.offset);
    /* where nothing is wrong with the documents, the same batches can go on */
    bool can_go_on = code == ERROR_CANCELLED || code == ERROR_UNAVAILABLE || code == ERROR_DEADLINE_EXCEEDED;
    if (can_go_on && !connection->unresolved && import->batches > 0)
        fprintf(stderr, "argon: to go on, repeat the command with --request-id %s --since-lsn %" PRIu64 "\n", connection->base_id,
                connection->base_since_lsn);
}

static bool run_import(struct cli *cli, struct error *err)
{
    struct import import = { .cli = cli, .shows_progress = isatty(STDERR_FILENO), .done = { .line = 1 } };
    Argon__Branch__V1__WriteOptions write;
    if (!parse_options(cli, &import, err) || !input_open(cli->args[0], &import.input, err))
        return false;
    bool ok = connection_begin_write(&cli->connection, import.target.project, &cli->arena, &write, err);
    if (ok) {
        import.lsn = write.since_lsn;
        import.started = clock_monotonic_micros();
        watch_interrupt();
        ok = import_all(&import, err);
        end_progress(&import);
        if (ok)
            print_imported(&import);
        else
            report_how_far(&import, err->code);
    }
    insert_batch_destroy(&import.batch);
    input_close(import.input);
    return ok;
}

static const struct config_option import_options[] = {
    { "collection", 'c', CONFIG_STRING, &options.collection, NULL, NULL, 0, 0, "COLLECTION", "where the documents go" },
    { "on-duplicate", 0, CONFIG_STRING, &options.on_duplicate, "fail", NULL, 0, 0, "fail|skip", "when an _id exists already" },
    { "batch-size", 0, CONFIG_UINT, &options.batch_size, "1000", NULL, 1, MAX_BATCH_ENTRIES, "N", "documents a batch, at most 4 MiB" },
};

static const struct command commands[] = {
    { NULL, "FILE|- -p PROJECT [-b BRANCH] -c COLLECTION", "Insert the documents of a file: NDJSON or a JSON array",
      "argon import users.ndjson -p shop -b dev -c users --on-duplicate skip", 1, 1, run_import, import_options, ARRAY_LEN(import_options),
      NULL },
};

const struct command_group import_group = { "import", "Insert the documents of a file", commands, ARRAY_LEN(commands), GROUP_REMOTE };
