/* Export as a dump that mongorestore reads: the collections of a branch at one LSN. */
#include <inttypes.h>
#include <string.h>

#include "cli/branch_collections.h"
#include "cli/cmd_export.h"
#include "cli/dump/dump_writer.h"
#include "cli/find_documents.h"
#include "cli/interrupt.h"
#include "cli/name_list.h"
#include "cli/progress.h"
#include "cli/read_state.h"

static struct {
    const char *database;
    const char *collections;
    bool archive;
    bool gzip;
} options;

struct export
{
    struct cli *cli;
    struct branch_collections branch;
    struct dump_collection *collections;
    size_t n;
    struct dump_writer *writer;
    struct progress progress;
    const char *current;
    uint64_t documents;
};

/* ---- Ctrl-C ------------------------------------------------------------------------------------------- */

static struct dump_writer *unfinished;

static void farewell(void *ctx)
{
    (void)ctx;
    dump_writer_unlink(unfinished);
    fputs("argon: interrupted; nothing was exported\n", stderr);
}

static bool open_writer(struct export *export, const struct dump_writer_options *of, struct error *err)
{
    interrupt_begin(farewell, NULL);
    interrupt_hold();
    bool ok = dump_writer_open(of, export->collections, export->n, &export->writer, err);
    unfinished = ok ? export->writer : NULL;
    interrupt_release();
    return ok;
}

static bool begin_collection(struct export *export, size_t i, struct error *err)
{
    interrupt_hold();
    bool ok = dump_writer_begin(export->writer, i, err);
    interrupt_release();
    return ok;
}

static bool end_collection(struct export *export, struct error *err)
{
    interrupt_hold();
    bool ok = dump_writer_end(export->writer, err);
    interrupt_release();
    return ok;
}

/* ---- the collections ---------------------------------------------------------------------------------- */

static bool take_document(void *ctx, struct bytes document, struct error *err)
{
    struct export *export = ctx;
    export->documents++;
    progress_show(&export->progress, export->current, export->documents);
    return dump_writer_document(export->writer, document, err);
}

static bool describe(struct export *export, const struct branch_collection *from, struct error *err)
{
    struct bytes *indexes = arena_alloc(&export->cli->arena, (from->n_indexes + 1) * sizeof *indexes);
    if (!indexes)
        return error_out_of_memory(err);
    for (size_t i = 0; i < from->n_indexes; i++)
        indexes[i] = bytes_of(from->indexes[i]->bson.data, from->indexes[i]->bson.len);
    export->collections[export->n++] = (struct dump_collection) { .name = from->name, .indexes = indexes, .n_indexes = from->n_indexes };
    return true;
}

static bool choose_collections(struct export *export, struct error *err)
{
    struct arena *arena = &export->cli->arena;
    struct name_list list;
    Argon__Branch__V1__ReadOptions read;
    if (!name_list_parse("--collections", options.collections, arena, &list, err) || !read_state_fill(export->cli, &read, err) ||
        !branch_collections_list(export->cli, &read, &export->branch, err))
        return false;
    export->collections = arena_zalloc(arena, (export->branch.n + 1) * sizeof *export->collections);
    if (!export->collections)
        return error_out_of_memory(err);
    for (size_t i = 0; i < list.n; i++)
        if (!branch_collections_find(&export->branch, list.names[i]))
            return error_set(err, ERROR_NOT_FOUND, "collection '%s' does not exist on branch '%s'", list.names[i],
                             export->cli->options->branch);
    for (size_t i = 0; i < export->branch.n; i++)
        if (name_list_has(&list, export->branch.items[i].name) && !describe(export, &export->branch.items[i], err))
            return false;
    return true;
}

/* What MongoDB takes for a name: the project's, without what no database has in its name. */
static const char *database_name(struct cli *cli)
{
    char *name = arena_strdup(&cli->arena, options.database[0] ? options.database : cli->options->project);
    for (char *c = name; name && !options.database[0] && *c; c++)
        if (*c == '/' || *c == '.')
            *c = '_';
    return name;
}

static bool write_all(struct export *export, struct error *err)
{
    for (size_t i = 0; i < export->n; i++) {
        export->current = export->collections[i].name;
        if (!begin_collection(export, i, err) ||
            !find_documents(export->cli, export->current, export->branch.lsn, 0, take_document, export, err) ||
            !end_collection(export, err))
            return false;
    }
    return true;
}

bool export_mongodump_run(struct cli *cli, struct error *err)
{
    struct export export = { .cli = cli };
    const char *path = cli->args[0];
    if (strcmp(path, "-") == 0 && !options.archive)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a directory cannot go to standard output; say --archive");
    if (!choose_collections(&export, err))
        return false;
    const struct dump_writer_options writer = {
        .path = path, .database = database_name(cli), .archive = options.archive, .gzip = options.gzip
    };
    if (!writer.database)
        return error_out_of_memory(err);
    if (!open_writer(&export, &writer, err))
        return false;
    progress_begin(&export.progress, false);
    bool ok = write_all(&export, err);
    progress_end(&export.progress);
    interrupt_hold(); /* and never released: what comes now ends the program by itself */
    if (!ok) {
        dump_writer_abandon(export.writer);
        return false;
    }
    if (!dump_writer_commit(export.writer, err))
        return false;
    char sentence[512], at_lsn[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence, "Exported %" PRIu64 " documents of %zu collections%s to %s.", export.documents, export.n,
             output_at_lsn(export.branch.lsn, at_lsn), path);
    if (strcmp(path, "-") == 0) {
        /* standard output has the archive and nothing else */
        fprintf(stderr, "%s\n", sentence);
        return true;
    }
    const struct field fields[] = { FIELD_STRING("path", path), FIELD_STRING("database", writer.database),
                                    FIELD_U64("collections", export.n), FIELD_U64("documents", export.documents),
                                    FIELD_U64("lsn", export.branch.lsn) };
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

const struct config_option export_mongodump_options[EXPORT_MONGODUMP_OPTIONS] = {
    { "database", 0, CONFIG_STRING, &options.database, NULL, NULL, 0, 0, "DATABASE", "its name in the dump (default: the project's)" },
    { "collections", 0, CONFIG_STRING, &options.collections, NULL, NULL, 0, 0, "NAME,...",
      "only these; a comma in a name has a backslash before it" },
    { "archive", 0, CONFIG_BOOL, &options.archive, NULL, NULL, 0, 0, NULL, "one archive file instead of a directory" },
    { "gzip", 0, CONFIG_BOOL, &options.gzip, NULL, NULL, 0, 0, NULL, "compress" },
};
