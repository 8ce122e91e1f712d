/* Import: batch after batch, each a write of its own that is sent until it is known to have taken effect
 * once. The ids of the batches follow from one base id. How far it has come is kept (import_state.h), so that the
 * same command goes on where an interrupted one stopped, without inserting anything twice. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/branch_collections.h"
#include "cli/cmd_import.h"
#include "cli/command.h"
#include "cli/import_state.h"
#include "cli/input.h"
#include "cli/insert_batch.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/random.h"

enum {
    BATCH_BYTES = 4 * 1024 * 1024,
    BAR_WIDTH = 30,
    BAR_MICROS = MICROS_PER_SECOND / 10, /* between two pictures of the bar */
    LINE_MICROS = MICROS_PER_SECOND,     /* between two lines, where there is no terminal */
    SAVE_MICROS = MICROS_PER_SECOND,     /* what is lost of the state is sent again, no more */
};

static struct {
    const char *collection;
    const char *on_duplicate;
    uint64_t batch_size;
    uint64_t max_errors;
    bool progress;
    bool restart;
} options;

struct import {
    struct cli *cli;
    struct input *input;
    const char *file;
    Argon__Branch__V1__Target target;
    struct insert_rules rules;
    struct import_state state;
    int64_t saved;
    bool again;   /* the next batch may be in, from an earlier run */
    bool refused; /* the last batch, by a service that looked at it: nothing has taken effect under its id */
    /* the batch at hand */
    struct insert_batch batch;
    uint64_t *lines; /* of its documents */
    struct input_place batch_end;
    uint64_t batch_read, batch_failed;
    /* of this run */
    uint64_t failed;
    enum error_code failed_code; /* of the last one */
    uint64_t resumed_at;         /* documents */
    bool on_terminal, shows_progress;
    int64_t started, shown;
};

/* ---- progress ---------------------------------------------------------------------------------------- */

static void draw_bar(uint64_t percent)
{
    fputc('[', stderr);
    for (uint64_t i = 0; i < BAR_WIDTH; i++)
        fputc(i < percent * BAR_WIDTH / 100 ? '#' : '.', stderr);
    fputs("] ", stderr);
}

static void show_progress(struct import *import)
{
    int64_t now = clock_monotonic_micros();
    if (!import->shows_progress || now - import->shown < (import->on_terminal ? BAR_MICROS : LINE_MICROS))
        return;
    import->shown = now;
    double seconds = (double)(now - import->started) / MICROS_PER_SECOND;
    uint64_t size = input_size(import->input), at = import->state.done.offset, read = import->state.read;
    uint64_t percent = size == 0 ? 0 : at < size ? at * 100 / size : 100;
    fputs(import->on_terminal ? "\r\033[K" : "argon: ", stderr);
    if (size > 0 && import->on_terminal)
        draw_bar(percent);
    if (size > 0)
        fprintf(stderr, "%3" PRIu64 "%%  ", percent);
    fprintf(stderr, "%" PRIu64 " documents, %.0f/s%s", read, seconds > 0 ? (double)(read - import->resumed_at) / seconds : 0,
            import->on_terminal ? "" : "\n");
    fflush(stderr);
}

/* Before something else is said there. */
static void clear_progress(const struct import *import)
{
    if (import->on_terminal && import->shown)
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

/* ---- documents that cannot go in ------------------------------------------------------------------------ */

/* One that --max-errors allows for; false when they are too many. */
static bool count_failure(struct import *import, uint64_t line, enum error_code code, const char *message, struct error *err)
{
    clear_progress(import);
    fprintf(stderr, "argon: line %" PRIu64 ": %s: %s\n", line, error_code_name(code), message);
    import->failed++;
    import->failed_code = code;
    if (import->failed > options.max_errors)
        return error_set(err, code, "more than %" PRIu64 " documents could not be imported", options.max_errors);
    return true;
}

static bool report_failures(struct import *import, const Argon__Branch__V1__InsertManyResponse *response, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < response->n_errors; i++) {
        const Argon__Branch__V1__ItemError *item = response->errors[i];
        if (item->index >= import->batch.n)
            return error_set(err, ERROR_INTERNAL, "the service reports a document that was not sent");
        ok = count_failure(import, import->lines[item->index], (enum error_code)item->code, item->message, err);
    }
    return ok;
}

/* ---- batches ------------------------------------------------------------------------------------------ */

/* The id by which the collection survives a rename, and does not survive being dropped; "" when it is not there. */
static bool find_collection(struct import *import, char id[IMPORT_COLLECTION_ID_SIZE], struct error *err)
{
    const Argon__Branch__V1__ReadOptions now = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    struct branch_collections list;
    if (!branch_collections_list(import->cli, &now, &list, err))
        return false;
    const struct branch_collection *collection = branch_collections_find(&list, import->target.collection);
    snprintf(id, IMPORT_COLLECTION_ID_SIZE, "%s", collection ? collection->id : "");
    return true;
}

/* What the batch at hand was made from has been dealt with. */
static void finish_batch(struct import *import)
{
    import->state.read += import->batch_read;
    import->state.failed += import->batch_failed;
    import->state.done = import->batch_end;
    import->batch_read = import->batch_failed = 0;
    insert_batch_clear(&import->batch);
}

static bool save(struct import *import, int64_t interval, struct error *err)
{
    int64_t now = clock_monotonic_micros();
    struct import_state *state = &import->state;
    if (!state->file.path || now - import->saved < interval)
        return true;
    if (state->batches > 0 && !state->collection_id[0] && !find_collection(import, state->collection_id, err))
        return false;
    import->saved = now;
    return import_state_save(state, err);
}

/* Under its id a batch that is in already has no effect. Without one, what is there by its _id stays. */
static bool send(struct import *import, Argon__Branch__V1__WriteOptions *write, struct arena *arena,
                 const Argon__Branch__V1__InsertManyResponse **response, struct error *err)
{
    struct connection *connection = &import->cli->connection;
    const struct insert_rules rules = import->again && connection->without_id ? insert_rules_again(&import->rules) : import->rules;
    if (insert_batch_send(&import->batch, connection, &import->target, &rules, write, arena, response, err))
        return true;
    if (!connection->without_id)
        return false;
    bool ok = insert_batch_send_again(&import->batch, connection, &import->target, &rules, write, arena, response, err);
    connection->unresolved = !ok && err->outcome != OUTCOME_NOT_APPLIED;
    return ok;
}

static bool send_batch(struct import *import, struct error *err)
{
    struct connection *connection = &import->cli->connection;
    struct import_state *state = &import->state;
    Argon__Branch__V1__WriteOptions write;
    const Argon__Branch__V1__InsertManyResponse *response;
    struct arena arena;
    if (interrupted)
        return error_set(err, ERROR_CANCELLED, "interrupted");
    arena_init(&arena, 0);
    bool sent = connection_next_write(connection, state->batches, state->lsn, &write, err) && send(import, &write, &arena, &response, err);
    bool ok = sent;
    if (sent) {
        state->inserted += response->inserted;
        state->replaced += response->replaced;
        state->skipped += response->skipped;
        state->lsn = response->lsn;
        state->batches++;
        import->batch_failed += response->n_errors;
        ok = report_failures(import, response, err);
        finish_batch(import);
        import->again = false;
        /* without ids, who goes on must know which batch may be in: the one behind this */
        ok = ok && save(import, connection->without_id ? 0 : SAVE_MICROS, err);
        show_progress(import);
    } else {
        /* INVALID_ARGUMENT may say that other documents went in under this id */
        import->refused = !connection->unresolved && err->code != ERROR_INVALID_ARGUMENT;
        ok = error_wrap(err, "documents of lines %" PRIu64 " to %" PRIu64, import->lines[0], import->batch_end.line);
    }
    arena_destroy(&arena);
    return ok;
}

static bool add_document(struct import *import, struct bytes text, struct input_place place, struct error *err)
{
    bson_t bson;
    struct error wrong;
    bool is_document = ejson_parse(text, &bson, &wrong);
    bool ok = true;
    if (is_document && import->batch.n > 0 && import->batch.documents.len + bson.len > BATCH_BYTES)
        ok = send_batch(import, err);
    import->batch_read++;
    if (ok && is_document) {
        import->lines[import->batch.n] = place.line;
        ok = insert_batch_add(&import->batch, bytes_of(bson_get_data(&bson), bson.len), err);
    } else if (ok && options.max_errors == 0) {
        *err = wrong;
        ok = error_wrap(err, "line %" PRIu64, place.line);
    } else if (ok) {
        import->batch_failed++;
        ok = count_failure(import, place.line, wrong.code, wrong.message, err);
    }
    if (is_document)
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
        if (!input_next(import->input, &text, &place, err) || (text.data && !add_document(import, text, place, err)))
            return false;
    } while (text.data);
    if (import->batch.n > 0)
        return send_batch(import, err);
    finish_batch(import);
    return true;
}

/* ---- going on ------------------------------------------------------------------------------------------ */

static bool parse_options(const struct cli *cli, struct import *import, struct error *err)
{
    if (!options.collection[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "which collection? Say -c COLLECTION");
    if (!insert_rules_parse(options.on_duplicate, &import->rules, err))
        return false;
    if (options.max_errors > 0) {
        import->rules.skip_invalid = true;
        if (import->rules.on_duplicate == ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_FAIL)
            import->rules.on_duplicate = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPORT;
    }
    return cli_target(cli, options.collection, &import->target, err);
}

/* Everything that the bytes of a batch depend on, beside the file. */
static void describe_settings(const struct import *import, char text[IMPORT_SETTINGS_SIZE])
{
    snprintf(text, IMPORT_SETTINGS_SIZE, "-p %s -b %s -c %s --on-duplicate %s --batch-size %" PRIu64 "%s", import->target.project,
             import->target.branch, import->target.collection, options.on_duplicate, options.batch_size,
             import->rules.skip_invalid ? " --max-errors" : "");
}

/* Forgets how far it came, not where that is kept. */
static void begin_anew(struct import_state *state)
{
    *state = (struct import_state) { .file = state->file, .done = { .line = 1 } };
}

/* The earlier run's documents are gone with the collection that they went into. */
static bool still_holds(struct import *import, bool *holds, struct error *err)
{
    char id[IMPORT_COLLECTION_ID_SIZE];
    *holds = true;
    if (!import->state.collection_id[0])
        return true;
    if (!find_collection(import, id, err))
        return false;
    *holds = strcmp(id, import->state.collection_id) == 0;
    if (!*holds)
        fprintf(stderr, "argon: an import of this file was interrupted, but collection '%s' has been dropped since: it begins anew\n",
                import->target.collection);
    return true;
}

static bool go_on(struct import *import, const char *settings, struct error *err)
{
    struct import_state *state = &import->state;
    static const char hint[] = "; --restart begins anew, and forgets what is in already";
    if (!state->clean && strcmp(state->settings, settings) != 0)
        return error_set(err, ERROR_FAILED_PRECONDITION, "an import of this file was interrupted with %s; finish it with these%s",
                         state->settings, hint);
    if (!input_skip_to(import->input, state->done, err)) {
        char reason[sizeof err->message];
        strcpy(reason, err->message);
        return error_set(err, err->code, "an import of '%s' was interrupted, and %s%s", import->file, reason, hint);
    }
    fprintf(stderr,
            "argon: goes on at line %" PRIu64 ", where an earlier import stopped with %" PRIu64 " documents read; --restart begins anew\n",
            state->done.line, state->read);
    import->resumed_at = state->read;
    import->batch_end = state->done;
    return true;
}

/* Finds what an earlier run left, chooses the id of this one, and has it on disk before anything is sent. */
static bool begin(struct import *import, struct error *err)
{
    struct cli *cli = import->cli;
    struct import_state *state = &import->state;
    char settings[IMPORT_SETTINGS_SIZE];
    bool found = false, keeps = input_size(import->input) > 0 && strcmp(import->file, "-") != 0 && !cli->options->request_id[0] &&
                                !cli->options->since_lsn;
    describe_settings(import, settings);
    if (keeps) {
        const char *project_id, *branch_id;
        if (!cli_find_ids(cli, &project_id, &branch_id, &cli->connection.without_id, err))
            return false;
        if (!import_state_open(state, import->file, project_id, branch_id, import->target.collection, &found, err)) {
            if (err->code == ERROR_FAILED_PRECONDITION)
                return false;
            /* no folder to write to is no reason not to import */
            fprintf(stderr, "argon: if it is interrupted, the import cannot go on: %s\n", err->message);
            found = false;
        }
        if (found && !options.restart && (!still_holds(import, &found, err) || (found && !go_on(import, settings, err))))
            return false;
    }
    if (!found || options.restart) {
        begin_anew(state);
        state->done = input_place(import->input);
    }
    Argon__Branch__V1__WriteOptions write;
    cli->connection.remembers = state->file.path != NULL;
    if (state->request_id[0] && !state->clean) {
        connection_resume_write(&cli->connection, state->request_id, state->lsn);
        import->again = true;
    } else {
        if (!connection_begin_write(&cli->connection, import->target.project, &cli->arena, &write, err))
            return false;
        snprintf(state->request_id, sizeof state->request_id, "%s", cli->connection.base_id);
        state->lsn = write.since_lsn;
    }
    state->clean = false;
    strcpy(state->settings, settings);
    return save(import, 0, err);
}

/* The next run goes on from here: under the same id if the next batch may have been sent, by this run or by the one
 * that it went on from, which sent a batch only when the one before was in. Else it is free to choose another, so that
 * the documents and options that did not work can be changed. */
static void leave_state(struct import *import)
{
    struct error err = { 0 };
    const struct connection *connection = &import->cli->connection;
    import->state.clean = import->refused || (!connection->goes_on && !connection->unresolved);
    if (import->state.clean && import->state.batches == 0)
        import_state_remove(&import->state); /* there is nothing to go on from */
    else if (!save(import, 0, &err))
        fprintf(stderr, "argon: %s: %s\n", error_code_name(err.code), err.message);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static bool print_imported(const struct import *import, struct error *err)
{
    const struct import_state *state = &import->state;
    const struct field fields[] = { FIELD_U64("read", state->read),         FIELD_U64("inserted", state->inserted),
                                    FIELD_U64("replaced", state->replaced), FIELD_U64("skipped", state->skipped),
                                    FIELD_U64("failed", state->failed),     FIELD_U64("lsn", state->lsn) };
    char sentence[256], at_lsn[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence,
             "Read %" PRIu64 " documents, inserted %" PRIu64 ", replaced %" PRIu64 ", skipped %" PRIu64 " whose _id exists%s%s.",
             state->read, state->inserted, state->replaced, state->skipped, state->lsn ? "," : "", output_at_lsn(state->lsn, at_lsn));
    output_result(&import->cli->out, sentence, fields, ARRAY_LEN(fields));
    if (import->failed > 0)
        return error_set(err, import->failed_code, "%" PRIu64 " of %" PRIu64 " documents were not imported", import->failed,
                         state->read - import->resumed_at);
    return true;
}

static void report_how_far(const struct import *import, enum error_code code)
{
    const struct connection *connection = &import->cli->connection;
    const struct import_state *state = &import->state;
    fprintf(stderr,
            "argon: the import stopped: %" PRIu64 " documents read, %" PRIu64 " inserted, %" PRIu64 " skipped; all before line %" PRIu64
            " (byte %" PRIu64 ") are in\n",
            state->read + import->batch_read, state->inserted, state->skipped, state->done.line, state->done.offset);
    if (state->file.path && state->clean && state->batches == 0)
        return;
    if (state->file.path) {
        fputs("argon: the same command goes on from there\n", stderr);
        return;
    }
    /* where nothing is wrong with the documents, the same batches can go on */
    bool can_go_on = code == ERROR_CANCELLED || code == ERROR_UNAVAILABLE || code == ERROR_DEADLINE_EXCEEDED;
    if (can_go_on && !connection->unresolved && state->batches > 0)
        fprintf(stderr, "argon: to go on, repeat the command with --request-id %s --since-lsn %" PRIu64 "\n", connection->base_id,
                connection->base_since_lsn);
}

static bool run_import(struct cli *cli, struct error *err)
{
    struct import import = { .cli = cli, .file = cli->args[0], .on_terminal = isatty(STDERR_FILENO) };
    import.shows_progress = import.on_terminal || options.progress;
    import.state.file.lock_fd = -1;
    if (!parse_options(cli, &import, err) || !input_open(import.file, &import.input, err))
        return false;
    import.lines = mem_alloc(options.batch_size * sizeof *import.lines);
    bool ok = begin(&import, err);
    if (ok) {
        import.started = clock_monotonic_micros();
        watch_interrupt();
        ok = import_all(&import, err);
        clear_progress(&import);
        if (ok) {
            import_state_remove(&import.state);
            ok = print_imported(&import, err);
        } else {
            leave_state(&import);
            report_how_far(&import, err->code);
        }
    }
    import_state_close(&import.state);
    insert_batch_destroy(&import.batch);
    input_close(import.input);
    free(import.lines);
    return ok;
}

static const struct config_option import_options[] = {
    { "collection", 'c', CONFIG_STRING, &options.collection, NULL, NULL, 0, 0, "COLLECTION", "where the documents go" },
    { "on-duplicate", 0, CONFIG_STRING, &options.on_duplicate, "fail", NULL, 0, 0, "fail|skip|replace", "when an _id exists already" },
    { "max-errors", 0, CONFIG_UINT, &options.max_errors, NULL, NULL, 0, 0, "N",
      "go on past so many documents that cannot go in, and report each with its line; 0: the first one stops it" },
    { "batch-size", 0, CONFIG_UINT, &options.batch_size, "1000", NULL, 1, MAX_BATCH_ENTRIES, "N", "documents a batch, at most 4 MiB" },
    { "progress", 0, CONFIG_BOOL, &options.progress, NULL, NULL, 0, 0, NULL, "say how far it is also where there is no terminal" },
    { "restart", 0, CONFIG_BOOL, &options.restart, NULL, NULL, 0, 0, NULL,
      "begin anew where an earlier import of the file was interrupted" },
};

static const struct command commands[] = {
    { NULL, "FILE|- -p PROJECT [-b BRANCH] -c COLLECTION",
      "Insert the documents of a file, NDJSON or a JSON array; after an interruption the same command goes on where it stopped",
      "argon import users.ndjson -p shop -b dev -c users --on-duplicate skip", 1, 1, run_import, import_options, ARRAY_LEN(import_options),
      NULL },
    { "mongodb", "[URI] -p PROJECT [-b BRANCH]",
      "Insert the collections of a MongoDB's database with their index definitions; URI: that of ARGON_MONGODB where it is not given. "
      "After "
      "an interruption the same command goes on where it stopped",
      "argon import mongodb mongodb://localhost/shop -p shop -b dev", 0, 1, import_mongodb_run, NULL, 0, &import_mongodb_options },
    { "mongodump", "FILE|DIR|- -p PROJECT [-b BRANCH]",
      "Insert the collections of a dump that mongodump made, a directory or an archive, gzip or not, with their index definitions",
      "argon import mongodump dump -p shop -b dev", 1, 1, import_mongodump_run, NULL, 0, &import_mongodump_options },
};

const struct command_group import_group = { "import", "Insert documents of a file, a dump or a MongoDB", commands, ARRAY_LEN(commands),
                                            GROUP_REMOTE };
