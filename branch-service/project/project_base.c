/* The state of a base whose copy on the log is not complete: read from where it is copied from. Its catalog is on the log from
 * the beginning, so only documents come from there. */
#include <stdio.h>

#include "branch-service/project/project_internal.h"
#include "branch-service/reasons.h"
#include "common/bson/key_encoding.h"

enum { OBSERVED_ENTRIES = 1024 };

/* The name under which the base's catalog has a collection id, in the arena; NULL: it has none. */
static bool find_name(const struct base_root *root, struct arena *arena, const char **name, struct error *err)
{
    const struct project *project = root->project;
    const struct lineage catalog = { .segments = root->segment, .n = 1, .from_base = true };
    struct tree *collections;
    struct tree_cursor cursor;
    struct tree_item item;
    uint64_t changed;
    bool ok = true;
    *name = NULL;
    if (!materialize(project->log, project->cache, false, project->id, root->incarnation, COLLECTIONS_COLLECTION, &catalog, NULL,
                     root->deadline, root->observer, &collections, &changed, err))
        return false;
    tree_cursor_first(&cursor, collections);
    while (ok && !*name && tree_cursor_next(&cursor, &item)) {
        struct collection_record record;
        ok = catalog_decode_collection(item.document, &record, err);
        if (ok && strcmp(record.id, root->collection) == 0)
            ok = (*name = arena_strdup(arena, record.name)) || error_out_of_memory(err);
    }
    tree_unref(collections);
    return ok;
}

struct reading {
    struct replay replay;
    struct replay_observer *observer;
};

static bool add_document(void *ctx, struct bytes document, struct error *err)
{
    struct reading *reading = ctx;
    struct replay_observer *observer = reading->observer;
    struct buffer key = { 0 };
    if (++observer->entries % OBSERVED_ENTRIES == 0 && !observer->observe(observer->ctx, observer->entries))
        return error_set(err, ERROR_CANCELLED, "the view is not wanted any more");
    bool ok = key_encode_document_id(document, &key, err);
    if (ok) {
        const struct log_entry entry = { .operation = LOG_INSERT, .document_id = buffer_bytes(&key), .document = document };
        ok = replay_entry(&reading->replay, &entry, 0, err);
    }
    buffer_destroy(&key);
    return ok;
}

static bool read_documents(const struct base_root *root, const struct branch_record *base, const char *collection, struct reading *reading,
                           struct error *err)
{
    const struct base_source *source = root->project->source;
    bool there;
    if (!source) {
        error_set(err, ERROR_FAILED_PRECONDITION, "the branch is not all on the log yet: start branch-service with --mongodb URI");
        error_set_reason(err, REASON_NEEDS_MONGODB);
        return false;
    }
    if (!source->read(source, base->database, collection, root->deadline, add_document, reading, &there, err))
        return false;
    /* by now it is all on the log, or about to be: whoever hears this looks again at a fresh catalog */
    return there || error_set(err, ERROR_ABORTED, "collection '%s' is no longer there to be read", collection);
}

bool base_root_build(void *ctx, bool patient, struct tree **tree, struct error *err)
{
    const struct base_root *root = ctx;
    struct project *project = root->project;
    struct branch_record base;
    struct reading reading = { .observer = root->observer };
    struct tree *empty;
    struct arena arena;
    const char *name;
    if (!lineage_find_record(root->branches, root->segment->branch_id, &base, err) ||
        !tree_new(view_cache_budget(project->cache), &empty, err))
        return false;
    bool ok = replay_begin(&reading.replay, project->cache, empty, 0, err);
    tree_unref(empty);
    if (!ok)
        return false;
    reading.replay.patient = patient;
    arena_init(&arena, 0);
    ok = find_name(root, &arena, &name, err);
    if (ok && name) {
        size_t len = strlen(base.prefix) + strlen(name) + 1;
        char *collection = arena_alloc(&arena, len);
        ok = collection || error_out_of_memory(err);
        if (ok) {
            snprintf(collection, len, "%s%s", base.prefix, name);
            ok = read_documents(root, &base, collection, &reading, err);
        }
    }
    arena_destroy(&arena);
    if (ok)
        *tree = replay_end(&reading.replay);
    else
        replay_abandon(&reading.replay);
    return ok;
}
