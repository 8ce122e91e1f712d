/* Inserts into MongoDB. What is refused before MongoDB is asked is what a WAL branch refuses: both prepare documents alike.
 *
 * An insert of many that fails as a whole is a transaction where the server has them. Else it is no batch: others see it grow, and one
 * that fails in the middle leaves what came before, and says how much. */
#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>

#include "branch-service/collection/traditional_internal.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/reasons.h"
#include "branch-service/write/write_conflict.h"

/* In one question for documents that are there. */
enum { IDS_AT_ONCE = 1000 };

struct insert {
    struct traditional operation;
    const char *name;
    const struct collection_path *path;
    enum on_duplicate on_duplicate;
    struct new_document *documents;
    size_t n;

    /* Those that can be stored: */
    struct bytes *stored;
    size_t *place; /* in documents */
    size_t n_stored;
    uint8_t *items;            /* enum mongo_item */
    const struct error **whys; /* of the refused ones */
    bool out_of_memory;

    struct arena *arena; /* of the result */
    struct write_counts counts;
};

/* ---- what is there already -------------------------------------------------------------------------- */

static bool refuse_duplicate(const struct insert *insert, struct bytes document, struct error *err)
{
    (void)documents_refuse_duplicate(insert->path->collection, document, err);
    err->outcome = OUTCOME_NOT_APPLIED;
    return false;
}

/* {_id: {$in: [...]}} of documents from `first` on. */
static void append_ids(const struct insert *insert, size_t first, size_t n, bson_t *filter)
{
    bson_t id, in;
    char key[16];
    const char *index;
    bson_append_document_begin(filter, "_id", 3, &id);
    bson_append_array_begin(&id, "$in", 3, &in);
    for (size_t i = 0; i < n; i++) {
        bson_t document;
        bson_iter_t iter;
        struct bytes stored = insert->stored[first + i];
        size_t len = bson_uint32_to_string((uint32_t)i, &index, key, sizeof key);
        if (bson_init_static(&document, stored.data, stored.len) && bson_iter_init_find(&iter, &document, "_id"))
            bson_append_iter(&in, index, (int)len, &iter);
    }
    bson_append_array_end(&id, &in);
    bson_append_document_end(filter, &id);
}

/* A collection without the documents, or the first of them that is there. */
static bool refuse_present(const struct insert *insert, struct error *err)
{
    for (size_t first = 0; first < insert->n_stored; first += IDS_AT_ONCE) {
        size_t n = insert->n_stored - first < IDS_AT_ONCE ? insert->n_stored - first : IDS_AT_ONCE;
        struct buffer document = { 0 };
        bson_t filter = BSON_INITIALIZER;
        bool found;
        append_ids(insert, first, n, &filter);
        bool ok = mongo_find_one(insert->operation.mongo, insert->operation.record.database, insert->name,
                                 bytes_of(bson_get_data(&filter), filter.len), insert->operation.deadline, &found, &document, err);
        if (!ok)
            err->outcome = OUTCOME_NOT_APPLIED;
        else if (found)
            ok = refuse_duplicate(insert, buffer_bytes(&document), err);
        bson_destroy(&filter);
        buffer_destroy(&document);
        if (!ok)
            return false;
    }
    return true;
}

/* Of one that was refused as a duplicate: of its _id, or of another unique index? */
static bool has_this_id(const struct insert *insert, size_t i, bool *found, struct error *err)
{
    struct buffer document = { 0 };
    bson_t filter = BSON_INITIALIZER;
    append_ids(insert, i, 1, &filter);
    bool ok = mongo_find_one(insert->operation.mongo, insert->operation.record.database, insert->name,
                             bytes_of(bson_get_data(&filter), filter.len), insert->operation.deadline, found, &document, err);
    bson_destroy(&filter);
    buffer_destroy(&document);
    return ok;
}

/* ---- the insert ------------------------------------------------------------------------------------- */

static void note_refused(void *ctx, size_t index, const struct error *why)
{
    struct insert *insert = ctx;
    insert->whys[index] = arena_copy(insert->arena, why, sizeof *why);
    insert->out_of_memory = insert->out_of_memory || !insert->whys[index];
}

/* What an error says of the whole, when some documents were stored before it. */
static bool stop(const struct insert *insert, struct error *err)
{
    uint64_t done = insert->counts.inserted + insert->counts.replaced, unknown = 0;
    for (size_t i = 0; i < insert->n_stored; i++)
        unknown += insert->items[i] == MONGO_ITEM_UNKNOWN;
    if (done == 0)
        return false;
    if (unknown)
        error_wrap(err, "stopped after %llu documents, and it is unknown whether up to %llu more are in", (unsigned long long)done,
                   (unsigned long long)unknown);
    else
        error_wrap(err, "stopped after %llu documents", (unsigned long long)done);
    error_set_reason(err, REASON_PARTIALLY_APPLIED);
    err->outcome = OUTCOME_UNKNOWN;
    return false;
}

static bool send(struct insert *insert, struct error *err)
{
    struct mongo_server_facts facts = { .transactions = false };
    const bool many = insert->on_duplicate == ON_DUPLICATE_FAIL && insert->n_stored > 1;
    if (many && !mongo_server_facts(insert->operation.mongo, insert->operation.deadline, &facts, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    const struct mongo_insert asked = {
        .whole = facts.transactions,
        .documents = insert->stored,
        .n = insert->n_stored,
        .unordered = insert->on_duplicate != ON_DUPLICATE_FAIL && insert->on_duplicate != ON_DUPLICATE_STOP,
        .items = insert->items,
        .refused = note_refused,
        .ctx = insert,
    };
    bool ok = insert->n_stored == 0 || mongo_insert_many(insert->operation.mongo, insert->operation.record.database, insert->name, &asked,
                                                         insert->operation.deadline, err);
    for (size_t i = 0; i < insert->n_stored; i++)
        insert->counts.inserted += insert->items[i] == MONGO_ITEM_INSERTED;
    if (ok && insert->out_of_memory)
        ok = error_out_of_memory(err);
    return ok || stop(insert, err);
}

static bool replace(struct insert *insert, size_t i, struct error *err)
{
    struct mongo_update_result replaced = { 0 };
    bson_t filter = BSON_INITIALIZER;
    append_ids(insert, i, 1, &filter);
    bool ok = mongo_replace_one(insert->operation.mongo, insert->operation.record.database, insert->name,
                                bytes_of(bson_get_data(&filter), filter.len), insert->stored[i], true, (struct bytes) { 0 },
                                insert->operation.deadline, &replaced, err);
    bson_destroy(&filter);
    if (!ok)
        return stop(insert, err);
    if (replaced.upserted) { /* it went away in between */
        insert->items[i] = MONGO_ITEM_INSERTED;
        insert->counts.inserted++;
        buffer_destroy(&replaced.upserted_id);
    } else if (replaced.modified) {
        insert->counts.replaced++;
    } else {
        insert->counts.skipped++;
    }
    return true;
}

/* A refused document, as on_duplicate says. REPORT and STOP leave it to the list of errors. */
static bool settle_refused(struct insert *insert, size_t i, struct error *err)
{
    bool known;
    if (insert->whys[i]->code == ERROR_ALREADY_EXISTS && insert->on_duplicate == ON_DUPLICATE_REPLACE)
        return replace(insert, i, err);
    if (insert->on_duplicate == ON_DUPLICATE_REPORT || insert->on_duplicate == ON_DUPLICATE_STOP)
        return true;
    if (insert->whys[i]->code == ERROR_ALREADY_EXISTS) {
        if (!has_this_id(insert, i, &known, err))
            return stop(insert, err);
        if (known && insert->on_duplicate == ON_DUPLICATE_SKIP) {
            insert->counts.skipped++;
            return true;
        }
        if (known) {
            refuse_duplicate(insert, insert->stored[i], err);
            err->outcome = insert->whys[i]->outcome;
            return stop(insert, err);
        }
    }
    *err = *insert->whys[i];
    return stop(insert, err);
}

/* One document after another in the order of the request. */
static bool run(struct insert *insert, struct error *err)
{
    if (insert->on_duplicate == ON_DUPLICATE_FAIL) {
        for (size_t i = 0; i < insert->n_stored; i++) {
            const struct new_document *document = &insert->documents[insert->place[i]];
            if (document->first != document)
                return refuse_duplicate(insert, document->document, err);
        }
        /* so that nothing is written where one is in the way; a race leaves a part, and is told */
        if (insert->n_stored > 1 && !refuse_present(insert, err))
            return false;
    }
    if (!send(insert, err))
        return false;
    for (size_t i = 0; i < insert->n_stored; i++)
        if (insert->items[i] == MONGO_ITEM_REFUSED && !settle_refused(insert, i, err))
            return false;
    return true;
}

/* ---- the answer ------------------------------------------------------------------------------------- */

static bool fill_error(const struct insert *insert, size_t i, size_t stored, struct item_error *item, struct error *err)
{
    const struct new_document *document = &insert->documents[i];
    if (document->invalid) {
        *item = (struct item_error) { (uint32_t)i, ERROR_INVALID_ARGUMENT, document->invalid_code, document->invalid };
        return true;
    }
    char id[SHOWN_ID_SIZE], text[SHOWN_ID_SIZE + 64];
    const struct error *why = insert->whys[stored];
    documents_format_id(document->document, id);
    snprintf(text, sizeof text, "a document %s exists", id);
    *item = (struct item_error) { (uint32_t)i, why->code, why->mongo_code,
                                  arena_strdup(insert->arena, why->code == ERROR_ALREADY_EXISTS ? text : why->message) };
    return item->message || error_out_of_memory(err);
}

static bool list_errors(const struct insert *insert, struct item_errors *errors, struct error *err)
{
    const bool stops = insert->on_duplicate == ON_DUPLICATE_STOP, reports = stops || insert->on_duplicate == ON_DUPLICATE_REPORT;
    size_t stored = 0;
    errors->n = 0;
    errors->items = arena_alloc(insert->arena, insert->n * sizeof *errors->items);
    if (!errors->items)
        return error_out_of_memory(err);
    for (size_t i = 0; i < insert->n && !(stops && errors->n); i++) {
        bool invalid = insert->documents[i].invalid;
        if (invalid || (insert->items[stored] == MONGO_ITEM_REFUSED && reports)) {
            if (!fill_error(insert, i, stored, &errors->items[errors->n], err))
                return false;
            errors->n++;
        }
        stored += !invalid;
    }
    return true;
}

/* As a batch would have it: the new documents, in the order of the request. */
static bool fill_result(const struct insert *insert, struct write_result *result, struct error *err)
{
    struct log_run *written = arena_zalloc(insert->arena, sizeof *written);
    struct log_entry *entries = arena_zalloc(insert->arena, (insert->n_stored + 1) * sizeof *entries);
    if (!written || !entries)
        return error_out_of_memory(err);
    *written = (struct log_run) { .branch_id = "", .collection = insert->path->collection, .entries = entries };
    for (size_t i = 0; i < insert->n_stored; i++)
        if (insert->items[i] == MONGO_ITEM_INSERTED)
            entries[written->n_entries++] = (struct log_entry) { .operation = LOG_INSERT, .document = insert->stored[i] };
    result->counts = insert->counts;
    result->runs = written;
    result->n_runs = 1;
    return true;
}

static bool prepare(struct insert *insert, const struct insert_spec *spec, struct error *err)
{
    if (!documents_prepare(spec, insert->arena, &insert->documents, err))
        return false;
    insert->n = spec->n;
    insert->stored = arena_alloc(insert->arena, spec->n * sizeof *insert->stored);
    insert->place = arena_alloc(insert->arena, spec->n * sizeof *insert->place);
    insert->items = arena_zalloc(insert->arena, spec->n);
    insert->whys = arena_zalloc(insert->arena, spec->n * sizeof *insert->whys);
    if (!insert->stored || !insert->place || !insert->items || !insert->whys)
        return error_out_of_memory(err);
    for (size_t i = 0; i < spec->n; i++) {
        if (insert->documents[i].invalid && insert->on_duplicate == ON_DUPLICATE_STOP)
            break;
        if (insert->documents[i].invalid)
            continue;
        insert->place[insert->n_stored] = i;
        insert->stored[insert->n_stored++] = insert->documents[i].document;
    }
    return true;
}

bool traditional_insert(struct registry *registry, const struct collection_path *path, const struct insert_spec *spec,
                        const struct write_request *request, struct write_result *result, struct item_errors *errors, struct error *err)
{
    struct insert insert = { .path = path, .on_duplicate = spec->on_duplicate, .arena = &result->arena };
    *result = (struct write_result) { 0 };
    arena_init(&result->arena, 0);
    bool ok = documents_check_path(path, err) && prepare(&insert, spec, err);
    if (!ok)
        err->outcome = OUTCOME_NOT_APPLIED;
    if (ok && traditional_begin_write(&insert.operation, registry, path, request, &insert.name, err)) {
        ok = traditional_settle(&insert.operation, run(&insert, err), err) &&
             ((fill_result(&insert, result, err) && list_errors(&insert, errors, err)) || write_keep_unknown(err));
        traditional_end(&insert.operation);
    } else {
        ok = false;
    }
    if (!ok)
        write_result_destroy(result);
    return ok;
}
