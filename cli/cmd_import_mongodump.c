/* Import of a dump: every collection of one of its databases, batch after batch, several at a time.
 *
 * How far it is stands in a mark (import_mark.h), whose documents are found again by their place: a dump has its documents in one order. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/branch_collections.h"
#include "cli/branch_sink.h"
#include "cli/cmd_import.h"
#include "cli/dump/dump.h"
#include "cli/import_mark.h"
#include "cli/name_list.h"
#include "cli/progress.h"
#include "common/base/memory.h"

static struct {
    const char *database;
    const char *collections;
    const char *on_duplicate;
    uint64_t batch_size;
    bool progress;
    bool restart;
} options;

/* Where an earlier run has left a collection. */
struct place {
    uint64_t skip;            /* documents that are in */
    struct buffer done, sent; /* the last of them, and the last that may be in; documents with the one field _id */
    uint64_t seen;
    bool again; /* what comes may be in */
};

struct import {
    struct cli *cli;
    const struct dump_collection *collections;
    size_t n;
    const char **names;
    bool *wanted;
    size_t n_wanted, n_passed_over;
    struct resume_file file;
    struct import_mark mark; /* of the wanted ones; done, imported: under the transfer's lock while it runs */
    struct place *places;    /* a place for each */
    size_t *at;              /* by the dump's number: which of them */
    struct transfer *transfer;
    struct progress progress;
    uint64_t documents;
};

/* MongoDB's own. */
static bool is_internal(const char *database)
{
    return !database[0] || strcmp(database, "admin") == 0 || strcmp(database, "config") == 0 || strcmp(database, "local") == 0;
}

/* The one that is asked for, or the only one. */
static bool choose_database(const struct import *import, const char **database, struct error *err)
{
    char several[160] = "";
    const char *only = NULL;
    bool is_only = true;
    for (size_t i = 0; i < import->n; i++) {
        const char *found = import->collections[i].database;
        if (options.database[0] && strcmp(found, options.database) == 0) {
            *database = found;
            return true;
        }
        if (is_internal(found) || (only && strcmp(only, found) == 0))
            continue;
        is_only = !only;
        only = found;
        if (strlen(several) + strlen(found) + 3 < sizeof several)
            sprintf(several + strlen(several), "%s%s", several[0] ? ", " : "", found);
    }
    if (options.database[0])
        return error_set(err, ERROR_NOT_FOUND, "the dump has no database '%s'; it has: %s", options.database, several);
    if (!only)
        return error_set(err, ERROR_NOT_FOUND, "the dump has no database but MongoDB's own");
    if (!is_only)
        return error_set(err, ERROR_INVALID_ARGUMENT, "which database? Say --database; the dump has: %s", several);
    *database = only;
    return true;
}

static bool choose_collections(struct import *import, const char *database, struct error *err)
{
    struct name_list list;
    if (!name_list_parse("--collections", options.collections, &import->cli->arena, &list, err))
        return false;
    size_t found = 0;
    for (size_t i = 0; i < import->n; i++) {
        const struct dump_collection *collection = &import->collections[i];
        import->names[i] = collection->name;
        if (strcmp(collection->database, database) != 0 || !name_list_has(&list, collection->name))
            continue;
        found++;
        import->wanted[i] = !collection->not_taken;
        import->n_wanted += import->wanted[i];
        import->n_passed_over += !import->wanted[i];
        if (collection->not_taken)
            fprintf(stderr, "argon: passed over: '%s' is %s\n", collection->name, collection->not_taken);
        else if (collection->options[0])
            fprintf(stderr, "argon: of '%s' these options are not kept: %s\n", collection->name, collection->options);
    }
    for (size_t l = 0; found < list.n && l < list.n; l++) {
        bool is_there = false;
        for (size_t i = 0; i < import->n; i++)
            is_there = is_there || (strcmp(import->collections[i].database, database) == 0 && strcmp(import->names[i], list.names[l]) == 0);
        if (!is_there)
            return error_set(err, ERROR_NOT_FOUND, "the dump has no collection '%s' in database '%s'", list.names[l], database);
    }
    return true;
}

/* ---- beginning, or going on ------------------------------------------------------------------------------ */

static bool list_branch(struct import *import, struct branch_collections *branch, struct error *err)
{
    const Argon__Branch__V1__ReadOptions now = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    return branch_collections_list(import->cli, &now, branch, err);
}

/* Makes those that are new or have been dropped since, with their index definitions; these begin anew. */
static bool make_collections(struct import *import, struct error *err)
{
    struct branch_collections branch;
    if (import->mark.n > 0 && !list_branch(import, &branch, err))
        return false;
    for (size_t i = 0; i < import->n; i++) {
        if (!import->wanted[i])
            continue;
        struct import_mark_collection *collection = &import->mark.collections[import->at[i]];
        const struct branch_collection *found = branch_collections_find(&branch, import->names[i]);
        if (collection->id && found && strcmp(found->id, collection->id) == 0)
            continue;
        if (collection->id)
            fprintf(stderr, "argon: collection '%s' has been dropped since: it begins anew\n", collection->name);
        buffer_clear(&collection->done);
        buffer_clear(&collection->sent);
        collection->imported = 0;
        collection->name = import->names[i];
        if (!branch_collections_set_indexes(import->cli, import->names[i], import->collections[i].indexes, import->collections[i].n_indexes,
                                            err))
            return false;
    }
    if (import->mark.n > 0 && !list_branch(import, &branch, err))
        return false;
    for (size_t m = 0; m < import->mark.n; m++) {
        const struct branch_collection *found = branch_collections_find(&branch, import->mark.collections[m].name);
        import->mark.collections[m].id = found ? found->id : "";
    }
    return true;
}

static bool check_mark(const struct import *import, const char *settings, struct error *err)
{
    bool same = strcmp(import->mark.settings, settings) == 0 && import->mark.n == import->n_wanted;
    for (size_t i = 0; same && i < import->n; i++)
        same = !import->wanted[i] || strcmp(import->mark.collections[import->at[i]].name, import->names[i]) == 0;
    return same || error_set(err, ERROR_FAILED_PRECONDITION,
                             "an import of this dump was interrupted with '%s'; finish it with that, from the same dump; --restart begins "
                             "anew",
                             import->mark.settings);
}

static bool note_places(struct import *import, struct error *err)
{
    uint64_t in = 0;
    for (size_t m = 0; m < import->mark.n; m++) {
        const struct import_mark_collection *collection = &import->mark.collections[m];
        struct place *place = &import->places[m];
        place->skip = collection->imported;
        buffer_append(&place->done, collection->done.data, collection->done.len);
        buffer_append(&place->sent, collection->sent.data, collection->sent.len);
        if (place->done.failed || place->sent.failed)
            return error_out_of_memory(err);
        place->again = place->sent.len > 0 && !bytes_equal(buffer_bytes(&place->sent), buffer_bytes(&place->done));
        in += collection->imported;
    }
    fprintf(stderr, "argon: goes on where an earlier import stopped, with %" PRIu64 " documents in; --restart begins anew\n", in);
    return true;
}

static bool open_mark(struct import *import, const char *database, struct buffer *text, struct error *err)
{
    struct cli *cli = import->cli;
    const char *project_id, *branch_id;
    if (!cli_find_ids(cli, &project_id, &branch_id, &cli->connection.without_id, err))
        return false;
    char *path = strcmp(cli->args[0], "-") == 0 ? NULL : realpath(cli->args[0], NULL);
    if (!path) /* what comes by a pipe does not come twice */
        return true;
    const char *const parts[] = { "mongodump", path, database, project_id, branch_id };
    bool ok = resume_file_open(&import->file, "import", parts, ARRAY_LEN(parts), "import of this dump into this branch", text, err);
    free(path);
    if (!ok && err->code != ERROR_FAILED_PRECONDITION) { /* no folder to write to is no reason not to import */
        fprintf(stderr, "argon: if it is interrupted, the import cannot go on: %s\n", err->message);
        ok = true;
    }
    return ok;
}

static bool begin(struct import *import, const char *database, struct error *err)
{
    struct arena *arena = &import->cli->arena;
    struct buffer text = { 0 };
    size_t size = strlen(options.collections) + 64;
    char *settings = arena_alloc(arena, size);
    import->at = arena_zalloc(arena, import->n * sizeof *import->at);
    import->places = arena_zalloc(arena, (import->n_wanted + 1) * sizeof *import->places);
    if (!settings || !import->at || !import->places)
        return error_out_of_memory(err);
    snprintf(settings, size, "--collections '%s'", options.collections);
    for (size_t i = 0, m = 0; i < import->n; i++)
        if (import->wanted[i])
            import->at[i] = m++;
    if (!open_mark(import, database, &text, err))
        return false;
    bool found = text.data && !options.restart;
    bool ok = !found || (import_mark_parse(buffer_bytes(&text), arena, &import->mark, err) && check_mark(import, settings, err));
    buffer_destroy(&text);
    if (ok && !found) {
        import->mark.n = import->n_wanted;
        import->mark.collections = arena_zalloc(arena, (import->n_wanted + 1) * sizeof *import->mark.collections);
        ok = import->mark.collections || error_out_of_memory(err);
    }
    if (!ok || !make_collections(import, err) || (found && !note_places(import, err)))
        return false;
    import->mark.settings = settings;
    return import_mark_save(&import->mark, &import->file, err);
}

/* ---- documents ------------------------------------------------------------------------------------------- */

static bool another_dump(const char *name, struct error *err)
{
    return error_set(err, ERROR_FAILED_PRECONDITION,
                     "collection '%s' is not what it was when the import was interrupted; --restart begins anew", name);
}

/* *is_in: an earlier run has brought it in. */
static bool find_place(struct place *place, const char *name, struct bytes document, bool *is_in, bool *again, struct error *err)
{
    struct buffer id = { 0 };
    place->seen++;
    *is_in = place->seen <= place->skip;
    *again = !*is_in && place->again;
    if (!*again && place->seen != place->skip)
        return true;
    bool ok = import_mark_set(&id, document, err);
    if (ok && *is_in && !bytes_equal(buffer_bytes(&id), buffer_bytes(&place->done)))
        ok = another_dump(name, err);
    if (ok && *again && bytes_equal(buffer_bytes(&id), buffer_bytes(&place->sent)))
        place->again = false;
    buffer_destroy(&id);
    return ok;
}

static bool take_document(void *ctx, size_t collection, struct bytes document, struct error *err)
{
    struct import *import = ctx;
    size_t m = import->at[collection];
    bool is_in, again;
    import->documents++;
    progress_show(&import->progress, import->names[collection], import->documents);
    if (!find_place(&import->places[m], import->names[collection], document, &is_in, &again, err))
        return false;
    return is_in || transfer_add(import->transfer, m, again, document, err);
}

static bool handing(void *ctx, const struct transfer_batch *batch, struct error *err)
{
    struct import *import = ctx;
    return import_mark_handing(&import->mark, &import->file, import->transfer, batch, err);
}

static void acknowledged(void *ctx, const struct transfer_batch *batch)
{
    struct import *import = ctx;
    import_mark_acknowledged(&import->mark, batch);
}

/* All that an earlier run has seen has come again. */
static bool check_places(const struct import *import, struct error *err)
{
    for (size_t m = 0; m < import->mark.n; m++)
        if (import->places[m].seen < import->places[m].skip || import->places[m].again)
            return another_dump(import->mark.collections[m].name, err);
    return true;
}

/* ---- the command ----------------------------------------------------------------------------------------- */

static void print_imported(const struct import *import, const char *database, const struct branch_sink *sink)
{
    const struct field fields[] = { FIELD_STRING("database", database),
                                    FIELD_U64("collections", import->n_wanted),
                                    FIELD_U64("read", import->documents),
                                    FIELD_U64("inserted", sink->inserted),
                                    FIELD_U64("replaced", sink->replaced),
                                    FIELD_U64("skipped", sink->skipped),
                                    FIELD_U64("passed_over", import->n_passed_over),
                                    FIELD_U64("lsn", sink->lsn) };
    char sentence[384], at_lsn[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence,
             "Read %" PRIu64 " documents of %zu collections, inserted %" PRIu64 ", replaced %" PRIu64 ", skipped %" PRIu64
             " whose _id exists%s%s.",
             import->documents, import->n_wanted, sink->inserted, sink->replaced, sink->skipped, sink->lsn ? "," : "",
             output_at_lsn(sink->lsn, at_lsn));
    output_result(&import->cli->out, sentence, fields, ARRAY_LEN(fields));
}

static void say_stopped(const struct import *import, const struct branch_sink *sink, const struct error *err)
{
    uint64_t in = 0;
    for (size_t m = 0; m < import->mark.n; m++)
        in += import->mark.collections[m].imported;
    /* what is refused would be sent again and replaced: that is nobody's wish */
    bool goes_on = import->file.path && err->code != ERROR_ALREADY_EXISTS;
    if (goes_on)
        fprintf(stderr,
                "argon: the import stopped with %" PRIu64 " documents in; once the cause is gone, the same command goes on from there\n",
                in);
    else
        fprintf(stderr,
                "argon: the import stopped: %" PRIu64 " documents read, %" PRIu64
                " are in; once the cause is gone, repeat the command with "
                "--on-duplicate skip\n",
                import->documents, sink->inserted + sink->replaced + sink->skipped);
    if (!goes_on)
        resume_file_remove(&import->file);
}

static bool import_documents(struct import *import, struct dump *dump, const char *database, const struct insert_rules *rules,
                             struct error *err)
{
    struct branch_sink sink = { 0 };
    const char **names = arena_zalloc(&import->cli->arena, (import->mark.n + 1) * sizeof *names);
    if (!names)
        return error_out_of_memory(err);
    for (size_t m = 0; m < import->mark.n; m++)
        names[m] = import->mark.collections[m].name;
    if (!branch_sink_begin(&sink, import->cli, names, rules, err))
        return false;
    const struct transfer_options transfer = { .writers = BRANCH_SINK_WRITERS,
                                               .max_documents = options.batch_size,
                                               .write = branch_sink_write,
                                               .handing = handing,
                                               .acknowledged = acknowledged,
                                               .write_ctx = &sink,
                                               .ctx = import };
    import->transfer = transfer_new(&transfer);
    progress_begin(&import->progress, options.progress);
    bool ok =
        dump_read(dump, import->wanted, take_document, import, err) && transfer_flush(import->transfer, err) && check_places(import, err);
    transfer_free(import->transfer);
    progress_end(&import->progress);
    if (ok) {
        resume_file_remove(&import->file);
        print_imported(import, database, &sink);
    } else {
        say_stopped(import, &sink, err);
    }
    branch_sink_end(&sink);
    return ok;
}

static bool import_dump(struct import *import, struct dump *dump, struct error *err)
{
    struct insert_rules rules;
    const char *database;
    import->n = dump_collections(dump, &import->collections);
    import->names = arena_zalloc(&import->cli->arena, (import->n + 1) * sizeof *import->names);
    import->wanted = arena_zalloc(&import->cli->arena, (import->n + 1) * sizeof *import->wanted);
    if (!import->names || !import->wanted)
        return error_out_of_memory(err);
    if (!insert_rules_parse(options.on_duplicate, &rules, err) || !choose_database(import, &database, err) ||
        !choose_collections(import, database, err) || !begin(import, database, err))
        return false;
    if (dump_has_oplog(dump))
        fputs("argon: the oplog of the dump is not applied: the documents are as each was read\n", stderr);
    return import_documents(import, dump, database, &rules, err);
}

bool import_mongodump_run(struct cli *cli, struct error *err)
{
    struct import import = { .cli = cli, .file.lock_fd = -1 };
    struct dump *dump;
    if (!cli_refuse_request_id(cli, err) || !dump_open(cli->args[0], &dump, err))
        return false;
    bool ok = import_dump(&import, dump, err);
    for (size_t m = 0; import.places && m < import.n_wanted; m++) {
        buffer_destroy(&import.places[m].done);
        buffer_destroy(&import.places[m].sent);
    }
    import_mark_destroy(&import.mark);
    resume_file_close(&import.file);
    dump_close(dump);
    return ok;
}

static const struct config_option rows[] = {
    { "database", 0, CONFIG_STRING, &options.database, NULL, NULL, 0, 0, "DATABASE",
      "whose collections; needed when the dump has several" },
    { "collections", 0, CONFIG_STRING, &options.collections, NULL, NULL, 0, 0, "NAME,...",
      "only these; a comma in a name has a backslash before it" },
    { "on-duplicate", 0, CONFIG_STRING, &options.on_duplicate, "fail", NULL, 0, 0, "fail|skip|replace", "when an _id exists already" },
    { "batch-size", 0, CONFIG_UINT, &options.batch_size, "10000", NULL, 1, BRANCH_SINK_DOCUMENTS, "N", "documents a batch, at most 4 MiB" },
    { "progress", 0, CONFIG_BOOL, &options.progress, NULL, NULL, 0, 0, NULL, "say how far it is also where there is no terminal" },
    { "restart", 0, CONFIG_BOOL, &options.restart, NULL, NULL, 0, 0, NULL,
      "begin anew where an earlier import of the dump was interrupted" },
};
const struct config_table import_mongodump_options = { rows, ARRAY_LEN(rows), false };
