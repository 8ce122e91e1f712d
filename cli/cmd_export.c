#include <inttypes.h>
#include <string.h>

#include "cli/cmd_export.h"
#include "cli/command.h"
#include "cli/find_stream.h"
#include "cli/interrupt.h"
#include "cli/read_state.h"
#include "cli/whole_file.h"

static struct {
    const char *collection;
} options;

static bool export_to(struct cli *cli, FILE *file, uint64_t *n, uint64_t *lsn, struct error *err)
{
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__ReadOptions read;
    struct output out;
    if (!cli_target(cli, options.collection, &target, err) || !read_state_fill(cli, &read, err) ||
        !output_init(&out, file, "ndjson", cli->options->canonical, err))
        return false;
    request.target = &target;
    request.read = &read;
    bool ok = find_stream_print(cli, BRANCH_METHOD("Documents", "Find"), &request.base, &target, read.stale_ok, &out, lsn, err) &&
              output_finish(&out, err);
    *n = out.items;
    output_destroy(&out);
    return ok;
}

static struct whole_file file; /* until the end of the program: a signal can come whenever */

static void farewell(void *ctx)
{
    (void)ctx;
    whole_file_unlink(&file);
    fputs("argon: interrupted; nothing was exported\n", stderr);
}

static bool open_file(const char *path, struct error *err)
{
    interrupt_begin(farewell, NULL);
    interrupt_hold();
    bool ok = whole_file_open(&file, path, false, err);
    interrupt_release();
    return ok;
}

static bool run_export(struct cli *cli, struct error *err)
{
    const char *path = cli->n_args > 0 ? cli->args[0] : "-";
    char at_lsn[OUTPUT_AT_LSN_SIZE];
    uint64_t n, lsn;
    if (!options.collection[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "which collection? Say -c COLLECTION");
    if (strcmp(path, "-") == 0) {
        if (!export_to(cli, stdout, &n, &lsn, err))
            return false;
        /* standard output has the documents and nothing else */
        fprintf(stderr, "Exported %" PRIu64 " documents%s.\n", n, output_at_lsn(lsn, at_lsn));
        return true;
    }

    if (!open_file(path, err))
        return false;
    bool ok = export_to(cli, file.stream, &n, &lsn, err);
    interrupt_hold(); /* and never released: what comes now ends the program by itself */
    if (!ok)
        whole_file_abandon(&file);
    if (!ok || !whole_file_commit(&file, err))
        return false;
    const struct field fields[] = { FIELD_STRING("file", path), FIELD_U64("documents", n), FIELD_U64("lsn", lsn) };
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Exported %" PRIu64 " documents%s to %s.", n, output_at_lsn(lsn, at_lsn), path);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static const struct config_option export_options[] = {
    { "collection", 'c', CONFIG_STRING, &options.collection, NULL, NULL, 0, 0, "COLLECTION", "whose documents" },
};

static const struct command commands[] = {
    { NULL, "[FILE|-] -p PROJECT [-b BRANCH] -c COLLECTION",
      "Write the documents of a collection as NDJSON; a FILE is replaced once all is in it",
      "argon export users.ndjson -p shop -b dev -c users --at-lsn 120", 0, 1, run_export, export_options, ARRAY_LEN(export_options),
      &read_state_options },
    { "mongodump", "FILE|DIR|- -p PROJECT [-b BRANCH]",
      "Write the collections of a branch at one LSN as a dump that mongorestore reads, with their index definitions",
      "argon export mongodump shop.archive --archive -p shop -b dev --at-lsn 120", 1, 1, export_mongodump_run, export_mongodump_options,
      EXPORT_MONGODUMP_OPTIONS, &read_state_options },
};

const struct command_group export_group = { "export", "Write documents of a branch to files", commands, ARRAY_LEN(commands), GROUP_REMOTE };
