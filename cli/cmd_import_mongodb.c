/* Import of a MongoDB's database: one thread reads in the order of _id, others insert, and the mark of how far it is goes to disk
 * before each batch (import_mark.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/branch_collections.h"
#include "cli/branch_sink.h"
#include "cli/cmd_import.h"
#include "cli/document_digest.h"
#include "cli/find_documents.h"
#include "cli/import_mark.h"
#include "cli/mongo/mongo_source.h"
#include "cli/name_list.h"
#include "cli/progress.h"
#include "common/base/clock.h"

enum { DEFAULT_PATIENCE = 30 * MICROS_PER_SECOND };

static struct {
    const char *database;
    const char *collections;
    const char *on_duplicate;
    uint64_t batch_size;
    bool verify;
    bool progress;
    bool restart;
} options;

struct import {
    struct cli *cli;
    struct mongo_source source;
    struct dump_collection *listed; /* by the source, now */
    size_t n_listed;
    size_t n_passed_over;
    char why_no_snapshot[200];
    struct resume_file file;
    struct import_mark mark; /* done, imported: under the transfer's lock while it runs */
    const char **names;
    struct branch_sink sink;
    struct transfer *transfer;
    struct progress progress;
    size_t current;
    bool went_on; /* from an earlier run */
    bool again;   /* what is read now may be in already */
    uint64_t read;
};

/* ---- beginning -------------------------------------------------------------------------------------------- */

static bool connect_source(struct import *import, struct error *err)
{
    struct cli *cli = import->cli;
    const char *uri = cli->n_args > 0 ? cli->args[0] : getenv("ARGON_MONGODB");
    char version[32];
    if (!uri || !uri[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "which MongoDB? Give its URI, or set ARGON_MONGODB");
    if (!mongo_server_open(uri, &import->source.server, err))
        return false;
    import->source.database = options.database[0] ? options.database : mongo_server_database(import->source.server, &cli->arena);
    import->source.patience = cli->options->timeout ? (int64_t)cli->options->timeout : DEFAULT_PATIENCE;
    if (!import->source.database)
        return error_out_of_memory(err);
    if (!import->source.database[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "which database? Say --database, or put it into the URI");
    return mongo_server_version(import->source.server, version, err);
}

static const struct dump_collection *find_listed(const struct import *import, const char *name)
{
    for (size_t i = 0; i < import->n_listed; i++)
        if (strcmp(import->listed[i].name, name) == 0)
            return &import->listed[i];
    return NULL;
}

/* The collection on the branch, with the index definitions of the source; empty it is as good as new. */
static bool make_collection(struct import *import, const struct dump_collection *from, struct import_mark_collection *collection,
                            struct error *err)
{
    uint64_t n;
    if (!branch_collections_set_indexes(import->cli, from->name, from->indexes, from->n_indexes, err) ||
        !branch_collections_count(import->cli, from->name, 0, &n, err))
        return false;
    buffer_clear(&collection->done);
    buffer_clear(&collection->sent);
    collection->name = from->name;
    collection->id = "";
    collection->fresh = n == 0;
    collection->complete = false;
    collection->imported = 0;
    return true;
}

static bool list_branch(struct import *import, struct branch_collections *branch, struct error *err)
{
    const Argon__Branch__V1__ReadOptions now = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    return branch_collections_list(import->cli, &now, branch, err);
}

/* By their ids a later run knows that they are the same still. */
static bool learn_ids(struct import *import, struct error *err)
{
    struct branch_collections branch;
    if (!list_branch(import, &branch, err))
        return false;
    for (size_t i = 0; i < import->mark.n; i++) {
        const struct branch_collection *found = branch_collections_find(&branch, import->mark.collections[i].name);
        import->mark.collections[i].id = found ? found->id : "";
    }
    return true;
}

static void say_passed_over(struct import *import, const struct dump_collection *collection)
{
    if (collection->not_taken)
        fprintf(stderr, "argon: passed over: '%s' is %s\n", collection->name, collection->not_taken);
    else if (collection->options[0])
        fprintf(stderr, "argon: of '%s' these options are not kept: %s\n", collection->name, collection->options);
    import->n_passed_over += collection->not_taken != NULL;
}

static bool begin_anew(struct import *import, struct error *err)
{
    struct arena *arena = &import->cli->arena;
    struct name_list list;
    if (!name_list_parse("--collections", options.collections, arena, &list, err) ||
        !mongo_source_begin_snapshot(&import->source, import->why_no_snapshot, err) ||
        !mongo_source_collections(&import->source, arena, &import->listed, &import->n_listed, err))
        return false;
    for (size_t i = 0; i < list.n; i++)
        if (!find_listed(import, list.names[i]))
            return error_set(err, ERROR_NOT_FOUND, "database '%s' has no collection '%s'", import->source.database, list.names[i]);
    if (import->n_listed == 0)
        return error_set(err, ERROR_NOT_FOUND, "database '%s' has no collections", import->source.database);
    import->mark.snapshot = import->source.snapshot;
    import->mark.collections = arena_zalloc(arena, import->n_listed * sizeof *import->mark.collections);
    if (!import->mark.collections)
        return error_out_of_memory(err);
    for (size_t i = 0; i < import->n_listed; i++) {
        const struct dump_collection *from = &import->listed[i];
        if (!name_list_has(&list, from->name))
            continue;
        say_passed_over(import, from);
        if (!from->not_taken && !make_collection(import, from, &import->mark.collections[import->mark.n++], err))
            return false;
    }
    return learn_ids(import, err);
}

static bool go_on(struct import *import, const char *settings, struct error *err)
{
    struct branch_collections branch;
    struct name_list list;
    if (strcmp(import->mark.settings, settings) != 0)
        return error_set(err, ERROR_FAILED_PRECONDITION,
                         "an import of this database was interrupted with '%s'; finish it with these; --restart begins anew",
                         import->mark.settings);
    import->source.snapshot = import->mark.snapshot;
    if (!import->mark.snapshot)
        strcpy(import->why_no_snapshot, "it was begun without a snapshot");
    if (!name_list_parse("--collections", options.collections, &import->cli->arena, &list, err) ||
        !mongo_source_collections(&import->source, &import->cli->arena, &import->listed, &import->n_listed, err) ||
        !list_branch(import, &branch, err))
        return false;
    uint64_t imported = 0;
    for (size_t i = 0; i < import->mark.n; i++) {
        struct import_mark_collection *collection = &import->mark.collections[i];
        const struct branch_collection *found = branch_collections_find(&branch, collection->name);
        const struct dump_collection *from = find_listed(import, collection->name);
        if (!found || strcmp(found->id, collection->id) != 0) {
            fprintf(stderr, "argon: collection '%s' has been dropped since: it begins anew\n", collection->name);
            if (!from)
                return error_set(err, ERROR_NOT_FOUND, "database '%s' has no collection '%s' any more; --restart begins anew",
                                 import->source.database, collection->name);
            if (!make_collection(import, from, collection, err))
                return false;
        }
        imported += collection->imported;
    }
    for (size_t i = 0; i < import->n_listed; i++) {
        bool known = import->listed[i].not_taken || !name_list_has(&list, import->listed[i].name);
        for (size_t k = 0; k < import->mark.n; k++)
            known = known || strcmp(import->mark.collections[k].name, import->listed[i].name) == 0;
        if (!known)
            fprintf(stderr, "argon: collection '%s' is newer than the import, and no part of it\n", import->listed[i].name);
    }
    fprintf(stderr, "argon: goes on where an earlier import stopped, with %" PRIu64 " documents in; --restart begins anew\n", imported);
    import->went_on = true;
    return learn_ids(import, err);
}

static bool begin(struct import *import, struct error *err)
{
    struct cli *cli = import->cli;
    const char *project_id, *branch_id, *hosts = mongo_server_hosts(import->source.server, &cli->arena);
    struct buffer text = { 0 };
    if (!hosts)
        return error_out_of_memory(err);
    if (!cli_find_ids(cli, &project_id, &branch_id, &cli->connection.without_id, err))
        return false;
    const char *const parts[] = { "mongodb", hosts, import->source.database, project_id, branch_id };
    if (!resume_file_open(&import->file, "import", parts, ARRAY_LEN(parts), "import of this database into this branch", &text, err)) {
        if (err->code == ERROR_FAILED_PRECONDITION)
            return false;
        /* no folder to write to is no reason not to import */
        fprintf(stderr, "argon: if it is interrupted, the import cannot go on: %s\n", err->message);
    }
    size_t size = strlen(options.collections) + strlen(options.on_duplicate) + 64;
    char *settings = arena_alloc(&cli->arena, size);
    if (!settings)
        return error_out_of_memory(err);
    snprintf(settings, size, "--collections '%s' --on-duplicate %s", options.collections, options.on_duplicate);
    bool found = text.data && !options.restart;
    bool ok = !found || import_mark_parse(buffer_bytes(&text), &cli->arena, &import->mark, err);
    buffer_destroy(&text);
    if (!ok || !(found ? go_on(import, settings, err) : begin_anew(import, err)))
        return false;
    import->mark.settings = settings;
    import->names = arena_zalloc(&cli->arena, (import->mark.n + 1) * sizeof *import->names);
    if (!import->names)
        return error_out_of_memory(err);
    for (size_t i = 0; i < import->mark.n; i++)
        import->names[i] = import->mark.collections[i].name;
    return import_mark_save(&import->mark, &import->file, err);
}

/* ---- documents --------------------------------------------------------------------------------------------- */

static bool take_document(void *ctx, struct bytes document, struct error *err)
{
    struct import *import = ctx;
    import->read++;
    progress_show(&import->progress, import->names[import->current], import->read);
    return transfer_add(import->transfer, import->current, import->again, document, err);
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

/* What lies behind `done` now, of which what is up to `sent` may be in. */
static bool read_rest(struct import *import, struct error *err)
{
    struct import_mark_collection *collection = &import->mark.collections[import->current];
    struct buffer done = { 0 }, sent = { 0 };
    buffer_append(&done, collection->done.data, collection->done.len);
    buffer_append(&sent, collection->sent.data, collection->sent.len);
    bool ok = !done.failed && !sent.failed ? true : error_out_of_memory(err);
    if (ok && sent.len > 0) {
        import->again = true;
        ok = mongo_source_read(&import->source, collection->name, buffer_bytes(&done), buffer_bytes(&sent), take_document, import, err) &&
             transfer_flush(import->transfer, err);
        import->again = false;
    }
    ok = ok &&
         mongo_source_read(&import->source, collection->name, buffer_bytes(&sent), (struct bytes) { 0 }, take_document, import, err) &&
         transfer_flush(import->transfer, err);
    buffer_destroy(&done);
    buffer_destroy(&sent);
    return ok;
}

static bool import_collection(struct import *import, struct error *err)
{
    struct import_mark_collection *collection = &import->mark.collections[import->current];
    while (!read_rest(import, err)) {
        bool gone = import->source.snapshot && err->reason && strcmp(err->reason, MONGO_SNAPSHOT_GONE) == 0;
        if (!gone || !transfer_flush(import->transfer, err))
            return error_wrap(err, "collection '%s'", collection->name);
        progress_clear(&import->progress);
        fputs("argon: the server has given up the snapshot; what is left is read as it is now\n", stderr);
        snprintf(import->why_no_snapshot, sizeof import->why_no_snapshot, "the server gave up the snapshot on the way");
        import->source.snapshot = import->mark.snapshot = 0;
    }
    collection->complete = true;
    return import_mark_save(&import->mark, &import->file, err);
}

static bool import_all(struct import *import, struct error *err)
{
    struct insert_rules rules;
    if (!insert_rules_parse(options.on_duplicate, &rules, err) ||
        !branch_sink_begin(&import->sink, import->cli, import->names, &rules, err))
        return false;
    const struct transfer_options transfer = { .writers = BRANCH_SINK_WRITERS,
                                               .max_documents = options.batch_size,
                                               .write = branch_sink_write,
                                               .handing = handing,
                                               .acknowledged = acknowledged,
                                               .write_ctx = &import->sink,
                                               .ctx = import };
    import->transfer = transfer_new(&transfer);
    progress_begin(&import->progress, options.progress);
    bool ok = true;
    for (import->current = 0; ok && import->current < import->mark.n; import->current++)
        ok = import->mark.collections[import->current].complete || import_collection(import, err);
    transfer_free(import->transfer);
    progress_end(&import->progress);
    return ok;
}

/* ---- verification ------------------------------------------------------------------------------------------ */

static bool digest_document(void *ctx, struct bytes document, struct error *err)
{
    (void)err;
    document_digest_add(ctx, document);
    return true;
}

static bool differs(const struct import *import, struct error *err, const char *what, uint64_t source, uint64_t branch)
{
    return error_set(err, import->source.snapshot ? ERROR_DATA_LOSS : ERROR_FAILED_PRECONDITION,
                     "%s: the source has %" PRIu64 " documents, %" PRIu64 " %s%s", what, source, branch,
                     source == branch ? "are on the branch, and they differ" : "were imported",
                     import->source.snapshot ? "" : "; it has changed meanwhile");
}

static bool verify_digest(struct import *import, const struct import_mark_collection *collection, struct error *err)
{
    struct document_digest source = { 0 }, branch = { 0 };
    if (!mongo_source_read(&import->source, collection->name, (struct bytes) { 0 }, (struct bytes) { 0 }, digest_document, &source, err) ||
        !find_documents(import->cli, collection->name, import->sink.lsn, 0, digest_document, &branch, err))
        return false;
    char text[DOCUMENT_DIGEST_TEXT];
    document_digest_format(&branch, text);
    if (!document_digest_equal(&source, &branch))
        return differs(import, err, collection->name, source.n, branch.n);
    fprintf(stderr, "argon: verified '%s': %" PRIu64 " documents, digest %s\n", collection->name, branch.n, text);
    return true;
}

/* Read as much as the source has, and as much on the branch as was read. */
static bool verify(struct import *import, const struct import_mark_collection *collection, struct error *err)
{
    uint64_t source, branch;
    if (!mongo_source_count(&import->source, collection->name, options.verify, &source, err) ||
        !branch_collections_count(import->cli, collection->name, import->sink.lsn, &branch, err))
        return false;
    if (source != collection->imported && (import->source.snapshot || options.verify))
        return differs(import, err, collection->name, source, collection->imported);
    if (source != collection->imported)
        fprintf(stderr, "argon: '%s' has changed meanwhile: the source has %" PRIu64 " documents now, %" PRIu64 " were imported\n",
                collection->name, source, collection->imported);
    if (!collection->fresh) {
        fprintf(stderr, "argon: '%s' had documents before: it is not verified\n", collection->name);
        return true;
    }
    /* what was on its way when an earlier run ended, and is gone from the source since, is on the branch too */
    bool may_be_more = import->went_on && !import->source.snapshot && !options.verify;
    if (branch < collection->imported || (branch > collection->imported && !may_be_more))
        return error_set(err, ERROR_FAILED_PRECONDITION,
                         "collection '%s': %" PRIu64 " documents were imported, the branch has %" PRIu64
                         "; has somebody else written there?",
                         collection->name, collection->imported, branch);
    return !options.verify || verify_digest(import, collection, err);
}

static bool verify_all(struct import *import, struct error *err)
{
    for (size_t i = 0; i < import->mark.n; i++)
        if (!verify(import, &import->mark.collections[i], err))
            return error_wrap(err, "verification");
    return true;
}

/* ---- the command ------------------------------------------------------------------------------------------- */

static uint64_t all_imported(const struct import *import)
{
    uint64_t n = 0;
    for (size_t i = 0; i < import->mark.n; i++)
        n += import->mark.collections[i].imported;
    return n;
}

static void print_imported(const struct import *import)
{
    const struct branch_sink *sink = &import->sink;
    const char *why = import->why_no_snapshot;
    const struct field fields[] = { FIELD_STRING("database", import->source.database),
                                    FIELD_U64("collections", import->mark.n),
                                    FIELD_U64("imported", all_imported(import)),
                                    FIELD_U64("inserted", sink->inserted),
                                    FIELD_U64("replaced", sink->replaced),
                                    FIELD_U64("skipped", sink->skipped),
                                    FIELD_U64("passed_over", import->n_passed_over),
                                    FIELD_BOOL("one_point_in_time", !why[0]),
                                    FIELD_OPTIONAL("why_not", why),
                                    FIELD_U64("lsn", sink->lsn) };
    char sentence[768], at_lsn[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence, "Imported %" PRIu64 " documents of %zu collections%s.\n%s%s%s.", all_imported(import),
             import->mark.n, output_at_lsn(sink->lsn, at_lsn), why[0] ? "Not one point in time: " : "All of one point in time", why, "");
    output_result(&import->cli->out, sentence, fields, ARRAY_LEN(fields));
}

static bool run(struct import *import, struct error *err)
{
    struct insert_rules rules;
    if (!cli_refuse_request_id(import->cli, err) || !insert_rules_parse(options.on_duplicate, &rules, err) ||
        !connect_source(import, err) || !begin(import, err))
        return false;
    if (!import_all(import, err)) {
        fprintf(stderr, "argon: the import stopped with %" PRIu64 " documents in; the same command goes on from there\n",
                all_imported(import));
        return false;
    }
    resume_file_remove(&import->file); /* all is in; what verification may find does not come from going on */
    if (!verify_all(import, err))
        return false;
    print_imported(import);
    return true;
}

bool import_mongodb_run(struct cli *cli, struct error *err)
{
    struct import import = { .cli = cli, .file.lock_fd = -1 };
    bool ok = run(&import, err);
    branch_sink_end(&import.sink);
    import_mark_destroy(&import.mark);
    resume_file_close(&import.file);
    mongo_server_close(import.source.server);
    return ok;
}

static const struct config_option rows[] = {
    { "database", 0, CONFIG_STRING, &options.database, NULL, NULL, 0, 0, "DATABASE", "whose collections (default: that of the URI)" },
    { "collections", 0, CONFIG_STRING, &options.collections, NULL, NULL, 0, 0, "NAME,...",
      "only these; a comma in a name has a backslash before it" },
    { "on-duplicate", 0, CONFIG_STRING, &options.on_duplicate, "fail", NULL, 0, 0, "fail|skip|replace", "when an _id exists already" },
    { "batch-size", 0, CONFIG_UINT, &options.batch_size, "10000", NULL, 1, BRANCH_SINK_DOCUMENTS, "N", "documents a batch, at most 4 MiB" },
    { "verify", 0, CONFIG_BOOL, &options.verify, NULL, NULL, 0, 0, NULL, "compare all documents of both sides at the end, by a digest" },
    { "progress", 0, CONFIG_BOOL, &options.progress, NULL, NULL, 0, 0, NULL, "say how far it is also where there is no terminal" },
    { "restart", 0, CONFIG_BOOL, &options.restart, NULL, NULL, 0, 0, NULL,
      "begin anew where an earlier import of the database was interrupted" },
};
const struct config_table import_mongodb_options = { rows, ARRAY_LEN(rows), false };
