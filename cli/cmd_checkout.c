/* Checkout: a branch, as it is at an LSN, becomes a database of a MongoDB; release drops it again.
 *
 * A traditional branch has no LSNs, its mark has LSN 0: it comes as it is when it is read, so nobody goes on with what an earlier checkout
 * left, and a count that differs is no failure.
 *
 * Documents go in the order of _id in batches, several at a time. Who goes on counts what is there: at most TRANSFER_SLOTS batches were
 * under way, so what lies further back is whole, and the rest is inserted again, where what is there is passed over. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/branch_collections.h"
#include "cli/checkout_name.h"
#include "cli/document_digest.h"
#include "cli/find_documents.h"
#include "cli/mongo/mongo_source.h"
#include "cli/mongo/mongo_target.h"
#include "cli/progress.h"
#include "cli/read_state.h"
#include "cli/transfer.h"
#include "common/base/clock.h"

enum { WRITERS = 2, BATCH_DOCUMENTS = 10000, DEFAULT_PATIENCE = 30 * MICROS_PER_SECOND };

static struct {
    const char *into;
    const char *database;
    bool verify;
    bool no_indexes;
    bool show_password;
    bool progress;
} options;

struct checkout {
    struct cli *cli;
    struct mongo_server *servers[WRITERS]; /* of each writer; the first is the caller's too, while no writer runs */
    const char *database;
    struct mongo_mark mark;
    struct branch_collections branch;
    struct transfer *transfer;
    struct progress progress;
    size_t current;
    bool traditional;
    bool went_on; /* from an earlier run */
    int64_t patience;
    uint64_t documents;
};

/* ---- beginning ------------------------------------------------------------------------------------------------ */

static bool choose_state(struct checkout *checkout, struct error *err)
{
    struct cli *cli = checkout->cli;
    Argon__Branch__V1__ReadOptions read;
    if (!read_state_fill(cli, &read, err) || !branch_collections_list(cli, &read, &checkout->branch, err) ||
        !cli_find_ids(cli, &checkout->mark.project_id, &checkout->mark.branch_id, &checkout->traditional, err))
        return false;
    for (size_t i = 0; i < checkout->branch.n; i++)
        if (strcmp(checkout->branch.items[i].name, MONGO_MARK_COLLECTION) == 0)
            return error_set(err, ERROR_FAILED_PRECONDITION,
                             "the branch has a collection '%s', which is the name of the mark of a checkout", MONGO_MARK_COLLECTION);
    checkout->mark.project = cli->options->project;
    checkout->mark.branch = cli->options->branch;
    checkout->mark.lsn = checkout->branch.lsn;
    return true;
}

static bool choose_database(struct checkout *checkout, struct error *err)
{
    checkout->database = options.database;
    if (options.database[0] && strlen(options.database) > MONGO_MAX_DATABASE_NAME)
        return error_set(err, ERROR_INVALID_ARGUMENT, "option --database: a name of a database has at most %d bytes",
                         MONGO_MAX_DATABASE_NAME);
    if (options.database[0])
        return true;
    char *name = arena_alloc(&checkout->cli->arena, CHECKOUT_NAME_SIZE);
    if (!name)
        return error_out_of_memory(err);
    checkout_name(checkout->mark.project, checkout->mark.branch, checkout->mark.lsn, name);
    checkout->database = name;
    return true;
}

static bool is_same(const struct mongo_mark *a, const struct mongo_mark *b)
{
    return strcmp(a->project_id, b->project_id) == 0 && strcmp(a->branch_id, b->branch_id) == 0 && a->lsn == b->lsn;
}

/* Nothing is there, or an unfinished checkout of the same, or (complete) a finished one. */
static bool take_database(struct checkout *checkout, struct error *err)
{
    struct mongo_mark there;
    bool found, empty;
    if (!mongo_target_look(checkout->servers[0], checkout->database, &checkout->cli->arena, &there, &found, &empty, err))
        return false;
    if (!found && !empty)
        return error_set(err, ERROR_FAILED_PRECONDITION, "database '%s' is there, and is no checkout: nothing is written into it",
                         checkout->database);
    char at_lsn[OUTPUT_AT_LSN_SIZE];
    if (found && (checkout->traditional || !is_same(&there, &checkout->mark)))
        return error_set(err, ERROR_FAILED_PRECONDITION,
                         "database '%s' is %s checkout of branch '%s' of project '%s'%s; argon release drops it", checkout->database,
                         there.complete ? "a" : "an unfinished", there.branch, there.project, output_at_lsn(there.lsn, at_lsn));
    checkout->mark.complete = found && there.complete;
    checkout->went_on = found && !there.complete;
    if (checkout->went_on)
        fputs("argon: goes on where an earlier checkout stopped\n", stderr);
    return found || mongo_target_mark(checkout->servers[0], checkout->database, &checkout->mark, err);
}

/* ---- documents ------------------------------------------------------------------------------------------------ */

static bool take_document(void *ctx, struct bytes document, struct error *err)
{
    struct checkout *checkout = ctx;
    checkout->documents++;
    progress_show(&checkout->progress, checkout->branch.items[checkout->current].name, checkout->documents);
    return transfer_add(checkout->transfer, checkout->current, false, document, err);
}

static bool write_batch(void *ctx, size_t writer, const struct transfer_batch *batch, struct error *err)
{
    struct checkout *checkout = ctx;
    const char *collection = checkout->branch.items[batch->collection].name;
    return mongo_target_insert(checkout->servers[writer], checkout->database, collection, buffer_bytes(&batch->documents), batch->n,
                               checkout->patience, err) ||
           error_wrap(err, "collection '%s'", collection);
}

static struct mongo_source as_source(const struct checkout *checkout)
{
    return (struct mongo_source) { .server = checkout->servers[0], .database = checkout->database, .patience = checkout->patience };
}

static bool check_out_collection(struct checkout *checkout, const struct branch_collection *collection, struct error *err)
{
    const uint64_t under_way = TRANSFER_SLOTS(WRITERS) * (uint64_t)BATCH_DOCUMENTS;
    struct mongo_source target = as_source(checkout);
    uint64_t there = 0;
    if (!mongo_target_create(checkout->servers[0], checkout->database, collection->name, err) ||
        (checkout->went_on && !mongo_source_count(&target, collection->name, true, &there, err)))
        return error_wrap(err, "collection '%s'", collection->name);
    uint64_t skip = there > under_way ? there - under_way : 0;
    checkout->documents += skip;
    const struct transfer_options transfer = {
        .writers = WRITERS, .max_documents = BATCH_DOCUMENTS, .write = write_batch, .write_ctx = checkout
    };
    checkout->transfer = transfer_new(&transfer);
    bool ok = find_documents(checkout->cli, collection->name, checkout->mark.lsn, skip, take_document, checkout, err) &&
              transfer_flush(checkout->transfer, err);
    transfer_free(checkout->transfer);
    for (size_t i = 0; ok && !options.no_indexes && i < collection->n_indexes; i++)
        ok = mongo_target_index(checkout->servers[0], checkout->database, collection->name,
                                bytes_of(collection->indexes[i]->bson.data, collection->indexes[i]->bson.len), err);
    return ok;
}

/* ---- verification --------------------------------------------------------------------------------------------- */

static bool digest_document(void *ctx, struct bytes document, struct error *err)
{
    (void)err;
    document_digest_add(ctx, document);
    return true;
}

static bool verify(struct checkout *checkout, const struct branch_collection *collection, struct error *err)
{
    struct document_digest target_digest = { 0 }, branch_digest = { 0 };
    struct mongo_source target = as_source(checkout);
    char text[DOCUMENT_DIGEST_TEXT];
    uint64_t branch, there;
    if (!branch_collections_count(checkout->cli, collection->name, checkout->mark.lsn, &branch, err) ||
        !mongo_source_count(&target, collection->name, true, &there, err))
        return false;
    if (branch != there && checkout->traditional && !options.verify)
        fprintf(stderr, "argon: '%s' has changed meanwhile: the branch has %" PRIu64 " documents now, the database %" PRIu64 "\n",
                collection->name, branch, there);
    else if (branch != there)
        return error_set(err, ERROR_FAILED_PRECONDITION, "collection '%s': the branch has %" PRIu64 " documents, the database %" PRIu64,
                         collection->name, branch, there);
    if (!options.verify)
        return true;
    if (!mongo_source_read(&target, collection->name, (struct bytes) { 0 }, (struct bytes) { 0 }, digest_document, &target_digest, err) ||
        !find_documents(checkout->cli, collection->name, checkout->mark.lsn, 0, digest_document, &branch_digest, err))
        return false;
    if (!document_digest_equal(&target_digest, &branch_digest))
        return error_set(err, ERROR_FAILED_PRECONDITION, "collection '%s': the documents of branch and database differ", collection->name);
    document_digest_format(&branch_digest, text);
    fprintf(stderr, "argon: verified '%s': %" PRIu64 " documents, digest %s\n", collection->name, branch, text);
    return true;
}

/* ---- the commands --------------------------------------------------------------------------------------------- */

static bool check_out(struct checkout *checkout, struct error *err)
{
    struct mongo_source target = as_source(checkout);
    uint64_t counted = 0;
    progress_begin(&checkout->progress, options.progress);
    bool ok = true;
    for (checkout->current = 0; ok && !checkout->mark.complete && checkout->current < checkout->branch.n; checkout->current++)
        ok = check_out_collection(checkout, &checkout->branch.items[checkout->current], err);
    progress_end(&checkout->progress);
    if (!ok && checkout->traditional) {
        fprintf(stderr, "argon: the checkout stopped; argon release %s drops what is there%s\n", checkout->database,
                err->code == ERROR_FAILED_PRECONDITION ? ", --no-indexes leaves the indexes out" : "");
        return false;
    }
    if (!ok) {
        fprintf(stderr, "argon: the checkout stopped; to go on, repeat the command with --at-lsn %" PRIu64 "%s\n", checkout->mark.lsn,
                err->code == ERROR_FAILED_PRECONDITION ? "; --no-indexes leaves the indexes out" : "");
        return false;
    }
    for (size_t i = 0; i < checkout->branch.n; i++) {
        if ((!checkout->mark.complete || options.verify) && !verify(checkout, &checkout->branch.items[i], err))
            return error_wrap(err, "verification");
        uint64_t n;
        if (!mongo_source_count(&target, checkout->branch.items[i].name, true, &n, err))
            return false;
        counted += n;
    }
    checkout->documents = counted;
    if (checkout->mark.complete)
        return true;
    checkout->mark.complete = true;
    return mongo_target_mark(checkout->servers[0], checkout->database, &checkout->mark, err);
}

static bool print_checkout(struct checkout *checkout, struct error *err)
{
    struct cli *cli = checkout->cli;
    bool for_people = cli->out.format == OUTPUT_TABLE;
    char *uri = mongo_server_uri(checkout->servers[0], checkout->database, options.show_password || !for_people, &cli->arena);
    if (!uri)
        return error_out_of_memory(err);
    if (for_people) {
        char at_lsn[OUTPUT_AT_LSN_SIZE];
        fprintf(stderr, "Checked out branch %s%s: %" PRIu64 " documents of %zu collections.\n", checkout->mark.branch,
                output_at_lsn(checkout->mark.lsn, at_lsn), checkout->documents, checkout->branch.n);
        output_result(&cli->out, uri, NULL, 0);
        return true;
    }
    const struct field fields[] = { FIELD_STRING("database", checkout->database), FIELD_STRING("uri", uri),
                                    FIELD_U64("collections", checkout->branch.n), FIELD_U64("documents", checkout->documents),
                                    FIELD_U64("lsn", checkout->mark.lsn) };
    output_result(&cli->out, "", fields, ARRAY_LEN(fields));
    return true;
}

static bool run(struct checkout *checkout, struct error *err)
{
    char version[32];
    if (!options.into[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "into which MongoDB? Say --into URI, or set ARGON_MONGODB");
    for (size_t i = 0; i < WRITERS; i++)
        if (!mongo_server_open(options.into, &checkout->servers[i], err))
            return false;
    return mongo_server_version(checkout->servers[0], version, err) && choose_state(checkout, err) && choose_database(checkout, err) &&
           take_database(checkout, err) && check_out(checkout, err) && print_checkout(checkout, err);
}

static bool run_checkout(struct cli *cli, struct error *err)
{
    struct checkout checkout = { .cli = cli, .patience = cli->options->timeout ? (int64_t)cli->options->timeout : DEFAULT_PATIENCE };
    bool ok = run(&checkout, err);
    for (size_t i = 0; i < WRITERS; i++)
        mongo_server_close(checkout.servers[i]);
    return ok;
}

static const struct config_option checkout_options[] = {
    { "into", 0, CONFIG_STRING, &options.into, NULL, "ARGON_MONGODB", 0, 0, "URI", "the MongoDB" },
    { "database", 0, CONFIG_STRING, &options.database, NULL, NULL, 0, 0, "NAME",
      "its name (default: argon_checkout_PROJECT_BRANCH_LSN, shortened by a hash when it is too long)" },
    { "verify", 0, CONFIG_BOOL, &options.verify, NULL, NULL, 0, 0, NULL, "compare all documents of both sides at the end, by a digest" },
    { "no-indexes", 0, CONFIG_BOOL, &options.no_indexes, NULL, NULL, 0, 0, NULL, "leave out the indexes" },
    { "show-password", 0, CONFIG_BOOL, &options.show_password, NULL, NULL, 0, 0, NULL,
      "print the URI with its password; with -o json it is always there" },
    { "progress", 0, CONFIG_BOOL, &options.progress, NULL, NULL, 0, 0, NULL, "say how far it is also where there is no terminal" },
};

static const struct command checkout_commands[] = {
    { NULL, "-p PROJECT [-b BRANCH] --into URI",
      "Make a database of a MongoDB from a branch at one LSN, with its indexes, and print its URI; after an interruption the same command "
      "goes on where it stopped",
      "argon checkout -p shop -b dev --at-lsn 120 --into mongodb://localhost", 0, 0, run_checkout, checkout_options,
      ARRAY_LEN(checkout_options), &read_state_options },
};

const struct command_group checkout_group = { "checkout", "Make a database of a MongoDB from a branch", checkout_commands,
                                              ARRAY_LEN(checkout_commands), GROUP_REMOTE };

static struct {
    const char *from;
} release_values;

static bool release(struct cli *cli, struct mongo_server *server, const char *database, struct error *err)
{
    struct mongo_mark mark;
    bool found, empty;
    if (!database[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "the URI names no database");
    if (!mongo_target_look(server, database, &cli->arena, &mark, &found, &empty, err))
        return false;
    if (empty)
        return error_set(err, ERROR_NOT_FOUND, "there is no database '%s'", database);
    if (!found)
        return error_set(err, ERROR_FAILED_PRECONDITION, "database '%s' is no checkout: it is not dropped", database);
    char at_lsn[OUTPUT_AT_LSN_SIZE];
    if (!cli_confirm(cli, err, "Drop database %s, a checkout of branch %s in project %s%s?", database, mark.branch, mark.project,
                     output_at_lsn(mark.lsn, at_lsn)) ||
        !mongo_target_drop(server, database, err))
        return false;
    const struct field fields[] = { FIELD_STRING("database", database), FIELD_BOOL("dropped", true) };
    char sentence[128];
    snprintf(sentence, sizeof sentence, "Dropped database %s.", database);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool run_release(struct cli *cli, struct error *err)
{
    const char *argument = cli->args[0], *uri = mongo_uri_begins(argument) ? argument : release_values.from;
    struct mongo_server *server;
    if (!uri[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "of which MongoDB? Say --from URI, or set ARGON_MONGODB");
    if (!mongo_server_open(uri, &server, err))
        return false;
    const char *database = uri == argument ? mongo_server_database(server, &cli->arena) : argument;
    bool ok = database ? release(cli, server, database, err) : error_out_of_memory(err);
    mongo_server_close(server);
    return ok;
}

static const struct config_option release_options[] = {
    { "from", 0, CONFIG_STRING, &release_values.from, NULL, "ARGON_MONGODB", 0, 0, "URI", "the MongoDB, when DATABASE is only a name" },
};

static const struct command release_commands[] = {
    { NULL, "DATABASE|URI", "Drop a database that checkout made, and no other",
      "argon release argon_checkout_shop_dev_120 --from mongodb://localhost --yes", 1, 1, run_release, release_options,
      ARRAY_LEN(release_options), NULL },
};

const struct command_group release_group = { "release", "Drop a database that checkout made", release_commands, ARRAY_LEN(release_commands),
                                             GROUP_LOCAL };
