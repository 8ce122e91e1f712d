/* Import of a dump: every collection of one of its databases, batch after batch, several at a time. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/branch_collections.h"
#include "cli/branch_sink.h"
#include "cli/cmd_import.h"
#include "cli/dump/dump.h"
#include "cli/name_list.h"
#include "cli/progress.h"
#include "common/base/memory.h"

static struct {
    const char *database;
    const char *collections;
    const char *on_duplicate;
    uint64_t batch_size;
    bool progress;
} options;

struct import {
    struct cli *cli;
    const struct dump_collection *collections;
    size_t n;
    const char **names;
    bool *wanted;
    size_t n_wanted, n_passed_over;
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

static bool make_collections(struct import *import, struct error *err)
{
    for (size_t i = 0; i < import->n; i++)
        if (import->wanted[i] && !branch_collections_set_indexes(import->cli, import->names[i], import->collections[i].indexes,
                                                                 import->collections[i].n_indexes, err))
            return false;
    return true;
}

static bool take_document(void *ctx, size_t collection, struct bytes document, struct error *err)
{
    struct import *import = ctx;
    import->documents++;
    progress_show(&import->progress, import->names[collection], import->documents);
    return transfer_add(import->transfer, collection, false, document, err);
}

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

static bool import_dump(struct import *import, struct dump *dump, struct error *err)
{
    struct insert_rules rules;
    struct branch_sink sink = { 0 };
    const char *database;
    import->n = dump_collections(dump, &import->collections);
    import->names = arena_zalloc(&import->cli->arena, import->n * sizeof *import->names);
    import->wanted = arena_zalloc(&import->cli->arena, import->n * sizeof *import->wanted);
    if (!import->names || !import->wanted)
        return error_out_of_memory(err);
    if (!insert_rules_parse(options.on_duplicate, &rules, err) || !choose_database(import, &database, err) ||
        !choose_collections(import, database, err) || !make_collections(import, err) ||
        !branch_sink_begin(&sink, import->cli, import->names, &rules, err))
        return false;
    if (dump_has_oplog(dump))
        fputs("argon: the oplog of the dump is not applied: the documents are as each was read\n", stderr);

    const struct transfer_options transfer = {
        .writers = BRANCH_SINK_WRITERS, .max_documents = options.batch_size, .write = branch_sink_write, .write_ctx = &sink
    };
    import->transfer = transfer_new(&transfer);
    progress_begin(&import->progress, options.progress);
    bool ok = dump_read(dump, import->wanted, take_document, import, err) && transfer_flush(import->transfer, err);
    transfer_free(import->transfer);
    progress_end(&import->progress);
    if (ok)
        print_imported(import, database, &sink);
    else
        fprintf(stderr,
                "argon: the import stopped: %" PRIu64 " documents read, %" PRIu64
                " are in; once the cause is gone, repeat the command with "
                "--on-duplicate skip\n",
                import->documents, sink.inserted + sink.replaced + sink.skipped);
    branch_sink_end(&sink);
    return ok;
}

bool import_mongodump_run(struct cli *cli, struct error *err)
{
    struct import import = { .cli = cli };
    struct dump *dump;
    if (!cli_refuse_request_id(cli, err) || !dump_open(cli->args[0], &dump, err))
        return false;
    bool ok = import_dump(&import, dump, err);
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
};
const struct config_table import_mongodump_options = { rows, ARRAY_LEN(rows), false };
