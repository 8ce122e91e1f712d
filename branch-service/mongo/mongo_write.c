#include <stdlib.h>

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/mongo/mongo_internal.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

#define BATCH_DOCUMENTS 1000
#define BATCH_BYTES     ((size_t)16 << 20)

/* In which all of an insert is written. */
struct transaction {
    mongoc_client_t *client;
    mongoc_client_session_t *session;
};

/* A write on its way: one client, one collection handle. */
struct write {
    const struct transaction *transaction; /* whose client it is; NULL: none */
    struct mongo *mongo;
    mongoc_client_t *client;
    mongoc_collection_t *collection;
    int64_t deadline;
    bson_t opts;
    bson_t reply;
    bson_error_t failure;
};

static bool write_begin_in(struct write *write, struct mongo *mongo, const struct transaction *transaction, const char *database,
                           const char *collection, int64_t deadline, struct error *err)
{
    write->transaction = transaction;
    write->mongo = mongo;
    write->deadline = deadline;
    write->client = transaction ? transaction->client : mongo_begin(mongo, deadline, err);
    if (!write->client)
        return false;
    write->collection = mongoc_client_get_collection(write->client, database, collection);
    bson_init(&write->opts);
    /* what the server accepts is its affair: the driver's own check refuses empty keys, which MongoDB takes */
    BSON_APPEND_BOOL(&write->opts, "validate", false);
    bson_error_t failure;
    if (transaction && !mongoc_client_session_append(transaction->session, &write->opts, &failure))
        abort(); /* the session is of this client */
    return true;
}

static bool write_begin(struct write *write, struct mongo *mongo, const char *database, const char *collection, int64_t deadline,
                        struct error *err)
{
    return write_begin_in(write, mongo, NULL, database, collection, deadline, err);
}

static bool write_end(struct write *write, bool ok, enum mongo_change change, struct error *err)
{
    if (!ok) {
        struct error why;
        mongo_error_set(&why, &write->failure, &write->reply, write->deadline, change);
        mongo_note_failure(write->mongo, &why);
        if (err)
            *err = why;
    }
    bson_destroy(&write->reply);
    bson_destroy(&write->opts);
    mongoc_collection_destroy(write->collection);
    if (!write->transaction)
        mongo_end(write->mongo, write->client);
    return ok;
}

/* Nothing was sent, err says why. False. */
static bool write_abandon(struct write *write)
{
    bson_destroy(&write->opts);
    mongoc_collection_destroy(write->collection);
    mongo_end(write->mongo, write->client);
    return false;
}

bool mongo_insert_one(struct mongo *mongo, const char *database, const char *collection, struct bytes document, int64_t deadline,
                      struct error *err)
{
    bson_t view;
    struct write write;
    if (!mongo_view(document, "document", &view, err) || !write_begin(&write, mongo, database, collection, deadline, err))
        return false;
    mongo_append_max_time(&write.opts, deadline);
    bool ok = mongoc_collection_insert_one(write.collection, &view, &write.opts, &write.reply, &write.failure);
    return write_end(&write, ok, MONGO_CHANGES_ONE, err);
}

static int code_of(const bson_iter_t *document, const char **message)
{
    bson_iter_t fields, at;
    int code = 0;
    *message = "";
    if (bson_iter_recurse(document, &fields) && bson_iter_find_descendant(&fields, "code", &at))
        code = (int)bson_iter_as_int64(&at);
    if (bson_iter_recurse(document, &fields) && bson_iter_find_descendant(&fields, "errmsg", &at) && BSON_ITER_HOLDS_UTF8(&at))
        *message = bson_iter_utf8(&at, NULL);
    return code;
}

/* What the server said of each document of a batch. */
static void note_refused(const struct mongo_insert *insert, const struct transaction *transaction, size_t first, size_t n,
                         const bson_t *reply)
{
    bson_iter_t at, errors, fields, field;
    for (size_t i = 0; i < n; i++)
        insert->items[first + i] = MONGO_ITEM_INSERTED;
    if (!bson_iter_init_find(&at, reply, "writeErrors") || !bson_iter_recurse(&at, &errors))
        return;
    while (bson_iter_next(&errors)) {
        if (!bson_iter_recurse(&errors, &fields) || !bson_iter_find_descendant(&fields, "index", &field))
            continue;
        size_t index = (size_t)bson_iter_as_int64(&field);
        if (index >= n)
            continue;
        insert->items[first + index] = MONGO_ITEM_REFUSED;
        if (insert->refused) {
            const char *message;
            struct error why;
            int code = code_of(&errors, &message);
            mongo_error_set_refused(&why, code, message);
            if (transaction)
                why.outcome = OUTCOME_NOT_APPLIED; /* which is not committed now */
            insert->refused(insert->ctx, first + index, &why);
        }
        if (!insert->unordered)
            for (size_t i = index + 1; i < n; i++)
                insert->items[first + i] = MONGO_ITEM_NOT_TRIED;
    }
}

static bool refused_only(const bson_t *reply, const bson_error_t *failure)
{
    bson_iter_t at, errors;
    return failure->domain == MONGOC_ERROR_SERVER && !bson_iter_init_find(&at, reply, "writeConcernErrors") &&
           bson_iter_init_find(&at, reply, "writeErrors") && bson_iter_recurse(&at, &errors) && bson_iter_next(&errors);
}

static void mark(const struct mongo_insert *insert, size_t first, size_t n, enum mongo_item item)
{
    for (size_t i = 0; i < n; i++)
        insert->items[first + i] = (uint8_t)item;
}

/* One message to the server, so that a lost answer leaves no more than these in doubt. */
static bool insert_batch(struct mongo *mongo, const struct transaction *transaction, const char *database, const char *collection,
                         const struct mongo_insert *insert, size_t first, size_t n, const bson_t **documents, int64_t deadline,
                         struct error *err)
{
    struct write write;
    if (!write_begin_in(&write, mongo, transaction, database, collection, deadline, err))
        return false;
    BSON_APPEND_BOOL(&write.opts, "ordered", !insert->unordered);
    if (insert->bypass_validation)
        BSON_APPEND_BOOL(&write.opts, "bypassDocumentValidation", true);
    mongo_append_max_time(&write.opts, deadline);
    bool ok = mongoc_collection_insert_many(write.collection, documents, n, &write.opts, &write.reply, &write.failure);
    if (!ok && refused_only(&write.reply, &write.failure))
        ok = true;
    if (ok)
        note_refused(insert, transaction, first, n, &write.reply);
    struct error why;
    if (write_end(&write, ok, MONGO_CHANGES_ONE, &why))
        return true;
    mark(insert, first, n, why.outcome == OUTCOME_NOT_APPLIED ? MONGO_ITEM_NOT_TRIED : MONGO_ITEM_UNKNOWN);
    if (err)
        *err = why;
    return false;
}

static bool insert_batches(struct mongo *mongo, const struct transaction *transaction, const char *database, const char *collection,
                           const struct mongo_insert *insert, int64_t deadline, struct error *err)
{
    mark(insert, 0, insert->n, MONGO_ITEM_NOT_TRIED);
    bson_t *views = mem_alloc(BATCH_DOCUMENTS * sizeof *views);
    const bson_t **documents = mem_alloc(BATCH_DOCUMENTS * sizeof *documents);
    bool ok = true, stopped = false;
    for (size_t first = 0; ok && !stopped && first < insert->n;) {
        size_t n = 0, bytes = 0;
        while (first + n < insert->n && n < BATCH_DOCUMENTS) {
            struct bytes document = insert->documents[first + n];
            if (n && bytes + document.len > BATCH_BYTES)
                break;
            if (!mongo_view(document, "document", &views[n], err)) {
                ok = false;
                break;
            }
            documents[n] = &views[n];
            bytes += document.len;
            n++;
        }
        if (!ok)
            break;
        ok = insert_batch(mongo, transaction, database, collection, insert, first, n, documents, deadline, err);
        stopped = ok && !insert->unordered && insert->items[first + n - 1] != MONGO_ITEM_INSERTED;
        first += n;
    }
    /* the whole insert did nothing only if no batch before this one did anything */
    for (size_t i = 0; !ok && err && i < insert->n; i++)
        if (insert->items[i] == MONGO_ITEM_INSERTED)
            err->outcome = OUTCOME_UNKNOWN;
    free(documents);
    free(views);
    return ok;
}

/* What is not committed is not there, whatever became of the messages on the way. */
static void abandon(const struct transaction *transaction, const struct mongo_insert *insert)
{
    mongoc_client_session_abort_transaction(transaction->session, NULL); /* or the server does it by itself, later */
    for (size_t i = 0; i < insert->n; i++)
        if (insert->items[i] != MONGO_ITEM_REFUSED)
            insert->items[i] = MONGO_ITEM_NOT_TRIED;
}

static bool commit(struct mongo *mongo, const struct transaction *transaction, const struct mongo_insert *insert, int64_t deadline,
                   struct error *err)
{
    bson_error_t failure = { 0 };
    bson_t reply;
    unsigned sent_before = mongo_stream_writes_sent();
    bool ok = mongoc_client_session_commit_transaction(transaction->session, &reply, &failure);
    if (!ok) {
        mongo_error_set(err, &failure, &reply, deadline, MONGO_CHANGES_MANY);
        mongo_note_failure(mongo, err);
        /* a server that was killed may not know of the first commit when it is asked for the second */
        bool none = mongoc_error_has_label(&reply, "TransientTransactionError") && mongo_stream_writes_sent() - sent_before < 2;
        err->outcome = none ? OUTCOME_NOT_APPLIED : OUTCOME_UNKNOWN;
        if (!none && err->code == ERROR_ABORTED) /* nobody was in the way: what became of the first is not known any more */
            error_set(err, ERROR_UNAVAILABLE, "the connection to MongoDB was lost in the middle of a commit: %s", failure.message);
        mark(insert, 0, insert->n, none ? MONGO_ITEM_NOT_TRIED : MONGO_ITEM_UNKNOWN);
    }
    bson_destroy(&reply);
    return ok;
}

static bool begin_transaction(struct mongo *mongo, int64_t deadline, struct transaction *transaction, struct error *err)
{
    bson_error_t failure = { 0 };
    *transaction = (struct transaction) { .client = mongo_begin(mongo, deadline, err) };
    if (!transaction->client)
        return false;
    transaction->session = mongoc_client_start_session(transaction->client, NULL, &failure);
    if (transaction->session && mongoc_client_session_start_transaction(transaction->session, NULL, &failure))
        return true;
    mongo_error_set(err, &failure, NULL, deadline, MONGO_CHANGES_NOTHING);
    mongo_note_failure(mongo, err);
    err->outcome = OUTCOME_NOT_APPLIED;
    return false;
}

static void end_transaction(struct mongo *mongo, struct transaction *transaction)
{
    if (transaction->session)
        mongoc_client_session_destroy(transaction->session);
    if (transaction->client)
        mongo_end(mongo, transaction->client);
}

static bool insert_in_transaction(struct mongo *mongo, const char *database, const char *collection, const struct mongo_insert *insert,
                                  int64_t deadline, struct error *err)
{
    struct transaction transaction;
    mark(insert, 0, insert->n, MONGO_ITEM_NOT_TRIED);
    bool ok = begin_transaction(mongo, deadline, &transaction, err);
    if (ok) {
        ok = insert_batches(mongo, &transaction, database, collection, insert, deadline, err);
        bool all = ok;
        for (size_t i = 0; all && i < insert->n; i++)
            all = insert->items[i] == MONGO_ITEM_INSERTED;
        if (all)
            ok = commit(mongo, &transaction, insert, deadline, err);
        else
            abandon(&transaction, insert);
        if (!ok && !all)
            err->outcome = OUTCOME_NOT_APPLIED;
    }
    end_transaction(mongo, &transaction);
    return ok;
}

bool mongo_insert_many(struct mongo *mongo, const char *database, const char *collection, const struct mongo_insert *insert,
                       int64_t deadline, struct error *err)
{
    struct backoff backoff = { 0 };
    if (!insert->whole)
        return insert_batches(mongo, NULL, database, collection, insert, deadline, err);
    /* whoever was in the way has committed or has gone: then the answer is another one */
    while (!insert_in_transaction(mongo, database, collection, insert, deadline, err))
        if (err->code != ERROR_ABORTED || err->outcome != OUTCOME_NOT_APPLIED || !backoff_wait(&backoff, deadline))
            return false;
    return true;
}

static int64_t number_of(const bson_t *reply, const char *key)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, reply, key) ? bson_iter_as_int64(&at) : 0;
}

static void set_upserted(struct mongo_update_result *out, const bson_iter_t *id)
{
    bson_t document;
    bson_init(&document);
    if (bson_append_iter(&document, "_id", 3, id)) {
        out->upserted = true;
        buffer_append(&out->upserted_id, bson_get_data(&document), document.len);
    }
    bson_destroy(&document);
}

/* {"a": 1} as an update would replace the document, and {"$set": …} as a replacement is a mistake: each verb
 * means one thing. */
static bool check_update(const bson_t *update, bool operators, struct error *err)
{
    bson_iter_t at;
    bool first_is_operator = bson_iter_init(&at, update) && bson_iter_next(&at) && bson_iter_key(&at)[0] == '$';
    if (first_is_operator == operators || (operators && bson_empty(update)))
        return true;
    error_set(err, ERROR_INVALID_ARGUMENT, operators ? "an update consists of operators such as $set" : "a replacement has no $operators");
    if (err)
        err->outcome = OUTCOME_NOT_APPLIED;
    return false;
}

static void read_result(const bson_t *reply, struct mongo_update_result *out)
{
    bson_iter_t at;
    *out = (struct mongo_update_result) { 0 };
    out->matched = number_of(reply, "matchedCount");
    out->modified = number_of(reply, "modifiedCount");
    if (bson_iter_init_find(&at, reply, "upsertedId"))
        set_upserted(out, &at);
}

/* Those of one statement, or of the command around it; the driver wants all in one place. */
enum option_place { OPTIONS_TOGETHER, OPTIONS_OF_STATEMENT, OPTIONS_OF_COMMAND };

static bool append_options(bson_t *out, struct bytes options, enum option_place place, struct error *err)
{
    bson_t view;
    bson_iter_t at;
    if (options.len == 0)
        return true;
    if (!mongo_view(options, "options", &view, err) || !bson_iter_init(&at, &view))
        return false;
    while (bson_iter_next(&at)) {
        const char *name = bson_iter_key(&at);
        bool of_command = strcmp(name, "let") == 0 || strcmp(name, "comment") == 0;
        if (place == OPTIONS_TOGETHER || of_command == (place == OPTIONS_OF_COMMAND))
            bson_append_iter(out, name, -1, &at);
    }
    return true;
}

static bool update_views(const struct mongo_update *update, bson_t *filter, bson_t *change, bson_t *array_filters, struct error *err)
{
    bson_init(array_filters);
    if (!mongo_view(update->filter, "filter", filter, err) || !mongo_view(update->update, "update", change, err))
        return false;
    if (update->array_filters.len && !mongo_view(update->array_filters, "list of array filters", array_filters, err))
        return false;
    return update->pipeline || check_update(change, true, err);
}

bool mongo_update_one(struct mongo *mongo, const char *database, const char *collection, const struct mongo_update *update,
                      int64_t deadline, struct mongo_update_result *out, struct error *err)
{
    bson_t filter, change, array_filters;
    struct write write;
    if (!update_views(update, &filter, &change, &array_filters, err) || !write_begin(&write, mongo, database, collection, deadline, err))
        return false;
    if (update->upsert)
        BSON_APPEND_BOOL(&write.opts, "upsert", true);
    if (update->array_filters.len)
        BSON_APPEND_ARRAY(&write.opts, "arrayFilters", &array_filters);
    if (!append_options(&write.opts, update->options, OPTIONS_TOGETHER, err))
        return write_abandon(&write);
    bool ok = mongoc_collection_update_one(write.collection, &filter, &change, &write.opts, &write.reply, &write.failure);
    if (ok)
        read_result(&write.reply, out);
    return write_end(&write, ok, MONGO_CHANGES_ONE, err);
}

bool mongo_replace_one(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, struct bytes replacement,
                       bool upsert, struct bytes options, int64_t deadline, struct mongo_update_result *out, struct error *err)
{
    bson_t which, document;
    struct write write;
    if (!mongo_view(filter, "filter", &which, err) || !mongo_view(replacement, "replacement", &document, err) ||
        !check_update(&document, false, err) || !write_begin(&write, mongo, database, collection, deadline, err))
        return false;
    if (upsert)
        BSON_APPEND_BOOL(&write.opts, "upsert", true);
    if (!append_options(&write.opts, options, OPTIONS_TOGETHER, err))
        return write_abandon(&write);
    bool ok = mongoc_collection_replace_one(write.collection, &which, &document, &write.opts, &write.reply, &write.failure);
    if (ok)
        read_result(&write.reply, out);
    return write_end(&write, ok, MONGO_CHANGES_ONE, err);
}

bool mongo_delete_one(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, struct bytes options,
                      int64_t deadline, int64_t *deleted, struct error *err)
{
    bson_t which;
    struct write write;
    if (!mongo_view(filter, "filter", &which, err) || !write_begin(&write, mongo, database, collection, deadline, err))
        return false;
    if (!append_options(&write.opts, options, OPTIONS_TOGETHER, err))
        return write_abandon(&write);
    mongo_append_max_time(&write.opts, deadline);
    bool ok = mongoc_collection_delete_one(write.collection, &which, &write.opts, &write.reply, &write.failure);
    if (ok)
        *deleted = number_of(&write.reply, "deletedCount");
    return write_end(&write, ok, MONGO_CHANGES_ONE, err);
}

/* Writes to many documents go as plain commands: the driver repeats none of them, and so the server can be
 * told how long they may take. A command that was carried out with a refusal inside is a failure of ours. */
static bool run_many(struct mongo *mongo, const char *database, const bson_t *command, int64_t deadline, bson_t *reply, struct error *err)
{
    if (!mongo_run(mongo, database, MONGO_COMMAND_WRITE, command, deadline, reply, err))
        return false;
    bson_iter_t at, errors;
    if (!bson_iter_init_find(&at, reply, "writeErrors") || !bson_iter_recurse(&at, &errors) || !bson_iter_next(&errors))
        return true;
    const char *message;
    int code = code_of(&errors, &message);
    mongo_error_set_refused(err, code, message);
    if (err)
        err->outcome = OUTCOME_UNKNOWN; /* those before it are changed; n and nModified are 0 all the same */
    return error_wrap(err, "documents may be changed, how many MongoDB does not say");
}

bool mongo_update_many(struct mongo *mongo, const char *database, const char *collection, const struct mongo_update *update,
                       int64_t deadline, struct mongo_update_result *out, struct error *err)
{
    bson_t filter, change, array_filters, command, updates, statement, reply;
    if (!update_views(update, &filter, &change, &array_filters, err))
        return false;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "update", collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "updates", &updates);
    BSON_APPEND_DOCUMENT_BEGIN(&updates, "0", &statement);
    BSON_APPEND_DOCUMENT(&statement, "q", &filter);
    if (update->pipeline)
        BSON_APPEND_ARRAY(&statement, "u", &change);
    else
        BSON_APPEND_DOCUMENT(&statement, "u", &change);
    BSON_APPEND_BOOL(&statement, "multi", true);
    if (update->upsert)
        BSON_APPEND_BOOL(&statement, "upsert", true);
    if (update->array_filters.len)
        BSON_APPEND_ARRAY(&statement, "arrayFilters", &array_filters);
    bool ok = append_options(&statement, update->options, OPTIONS_OF_STATEMENT, err);
    bson_append_document_end(&updates, &statement);
    bson_append_array_end(&command, &updates);
    if (!ok || !append_options(&command, update->options, OPTIONS_OF_COMMAND, err)) {
        bson_destroy(&command);
        return false;
    }
    ok = run_many(mongo, database, &command, deadline, &reply, err);
    if (ok) {
        bson_iter_t at, id;
        *out = (struct mongo_update_result) { 0 };
        out->matched = number_of(&reply, "n");
        out->modified = number_of(&reply, "nModified");
        if (bson_iter_init(&at, &reply) && bson_iter_find_descendant(&at, "upserted.0._id", &id)) {
            set_upserted(out, &id);
            out->matched = 0; /* n counts the new one */
        }
    }
    bson_destroy(&reply);
    bson_destroy(&command);
    return ok;
}

bool mongo_delete_many(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, struct bytes options,
                       int64_t deadline, int64_t *deleted, struct error *err)
{
    bson_t which, command, deletes, statement, reply;
    if (!mongo_view(filter, "filter", &which, err))
        return false;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "delete", collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "deletes", &deletes);
    BSON_APPEND_DOCUMENT_BEGIN(&deletes, "0", &statement);
    BSON_APPEND_DOCUMENT(&statement, "q", &which);
    BSON_APPEND_INT32(&statement, "limit", 0);
    bool ok = append_options(&statement, options, OPTIONS_OF_STATEMENT, err);
    bson_append_document_end(&deletes, &statement);
    bson_append_array_end(&command, &deletes);
    if (!ok || !append_options(&command, options, OPTIONS_OF_COMMAND, err)) {
        bson_destroy(&command);
        return false;
    }
    ok = run_many(mongo, database, &command, deadline, &reply, err);
    if (ok)
        *deleted = number_of(&reply, "n");
    bson_destroy(&reply);
    bson_destroy(&command);
    return ok;
}

/* ---- findAndModify ----------------------------------------------------------------------------------- */

static bool set_find_and_modify(mongoc_find_and_modify_opts_t *opts, const struct mongo_find_and_modify *what, struct error *err)
{
    const struct mongo_update *update = &what->update;
    bson_t change, array_filters, sort, fields, extra;
    bool deletes = update->update.len == 0;
    int flags = deletes ? MONGOC_FIND_AND_MODIFY_REMOVE : MONGOC_FIND_AND_MODIFY_NONE;
    if (update->upsert)
        flags |= MONGOC_FIND_AND_MODIFY_UPSERT;
    if (what->after)
        flags |= MONGOC_FIND_AND_MODIFY_RETURN_NEW;
    mongoc_find_and_modify_opts_set_flags(opts, (mongoc_find_and_modify_flags_t)flags);
    if (!deletes && (!mongo_view(update->update, "update", &change, err) || !mongoc_find_and_modify_opts_set_update(opts, &change)))
        return false;
    if (what->sort.len && (!mongo_view(what->sort, "sort", &sort, err) || !mongoc_find_and_modify_opts_set_sort(opts, &sort)))
        return false;
    if (what->projection.len &&
        (!mongo_view(what->projection, "projection", &fields, err) || !mongoc_find_and_modify_opts_set_fields(opts, &fields)))
        return false;
    bson_init(&extra);
    bool ok = !update->array_filters.len || (mongo_view(update->array_filters, "list of array filters", &array_filters, err) &&
                                             BSON_APPEND_ARRAY(&extra, "arrayFilters", &array_filters));
    ok = ok && append_options(&extra, update->options, OPTIONS_TOGETHER, err) &&
         (bson_empty(&extra) || mongoc_find_and_modify_opts_append(opts, &extra));
    bson_destroy(&extra);
    return ok;
}

static bool read_found(const bson_t *reply, struct mongo_update_result *out, struct buffer *document, struct error *err)
{
    bson_iter_t at, n, upserted;
    const uint8_t *data;
    uint32_t len;
    *out = (struct mongo_update_result) { 0 };
    if (bson_iter_init(&at, reply) && bson_iter_find_descendant(&at, "lastErrorObject.n", &n))
        out->matched = bson_iter_as_int64(&n);
    if (bson_iter_init(&at, reply) && bson_iter_find_descendant(&at, "lastErrorObject.upserted", &upserted)) {
        set_upserted(out, &upserted);
        out->matched = 0; /* n counts the new one */
    }
    if (bson_iter_init_find(&at, reply, "value") && BSON_ITER_HOLDS_DOCUMENT(&at)) {
        bson_iter_document(&at, &len, &data);
        buffer_append(document, data, len);
    }
    return !document->failed || error_out_of_memory(err);
}

bool mongo_find_and_modify(struct mongo *mongo, const char *database, const char *collection, const struct mongo_find_and_modify *what,
                           int64_t deadline, struct mongo_update_result *out, struct buffer *document, struct error *err)
{
    bson_t filter;
    struct write write;
    if (!mongo_view(what->update.filter, "filter", &filter, err) || !write_begin(&write, mongo, database, collection, deadline, err))
        return false;
    mongoc_find_and_modify_opts_t *opts = mongoc_find_and_modify_opts_new();
    error_fill(err, ERROR_INVALID_ARGUMENT, "the driver refuses the update");
    bool ok = set_find_and_modify(opts, what, err);
    if (!ok) {
        mongoc_find_and_modify_opts_destroy(opts);
        return write_abandon(&write);
    }
    ok = mongoc_collection_find_and_modify_with_opts(write.collection, &filter, opts, &write.reply, &write.failure);
    mongoc_find_and_modify_opts_destroy(opts);
    struct error unread = { 0 };
    bool read = !ok || read_found(&write.reply, out, document, &unread);
    ok = write_end(&write, ok, MONGO_CHANGES_ONE, err);
    if (read)
        return ok;
    *err = unread;
    return false;
}
