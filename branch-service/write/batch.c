#include "branch-service/write/batch.h"

#include <assert.h>

#include "branch-service/catalog/catalog.h"

/* Hidden collections that never have entries: only their keys are used. */
#define REFERENCES_COLLECTION "_references"
#define PREFIXES_COLLECTION   "_prefixes"

static bool read_key(struct batch *batch, const char *branch_id, const char *collection, const char *id, struct error *err)
{
    assert(batch->n_read_keys < ARRAY_LEN(batch->read_keys));
    struct log_key *key = &batch->read_keys[batch->n_read_keys];
    *key = (struct log_key) { .branch_id = arena_strdup(batch->arena, branch_id), .collection = collection };
    if (!key->branch_id)
        return error_out_of_memory(err);
    if (!catalog_key(id, batch->arena, &key->document_id, err))
        return false;
    batch->n_read_keys++;
    return true;
}

bool batch_begin(struct batch *batch, struct arena *arena, const char *branch_id, struct error *err)
{
    *batch = (struct batch) { .arena = arena };
    return read_key(batch, CATALOG_BRANCH, PROJECT_COLLECTION, PROJECT_RECORD, err) && batch_read_branch(batch, branch_id, err);
}

bool batch_begin_on(struct batch *batch, struct arena *arena, const struct target *target, struct error *err)
{
    if (target->held)
        return error_set(err, ERROR_UNAVAILABLE, "the branch is being handed back to MongoDB: its writes wait for that");
    return batch_begin(batch, arena, target->branch_id, err);
}

bool batch_read_branch(struct batch *batch, const char *branch_id, struct error *err)
{
    return read_key(batch, CATALOG_BRANCH, BRANCHES_COLLECTION, branch_id, err);
}

bool batch_read_collection(struct batch *batch, const char *branch_id, const char *collection, struct error *err)
{
    return read_key(batch, branch_id, COLLECTIONS_COLLECTION, collection, err);
}

static bool write_key(struct batch *batch, const char *collection, const char *id, struct error *err)
{
    assert(batch->n_write_keys < ARRAY_LEN(batch->write_keys));
    struct log_key *key = &batch->write_keys[batch->n_write_keys];
    *key = (struct log_key) { .branch_id = CATALOG_BRANCH, .collection = collection };
    if (!catalog_key(id, batch->arena, &key->document_id, err))
        return false;
    batch->n_write_keys++;
    return true;
}

bool batch_write_references(struct batch *batch, const char *branch_id, struct error *err)
{
    return write_key(batch, REFERENCES_COLLECTION, branch_id, err);
}

bool batch_claim_prefixes(struct batch *batch, const char *database, struct error *err)
{
    return read_key(batch, CATALOG_BRANCH, PREFIXES_COLLECTION, database, err) && write_key(batch, PREFIXES_COLLECTION, database, err);
}

bool batch_add_run(struct batch *batch, const char *branch_id, const char *collection, size_t n, struct log_run **run, struct error *err)
{
    assert(batch->n_runs < ARRAY_LEN(batch->runs));
    struct log_run made = {
        .branch_id = arena_strdup(batch->arena, branch_id),
        .collection = arena_strdup(batch->arena, collection),
        .entries = arena_zalloc(batch->arena, n * sizeof *made.entries),
        .n_entries = n,
    };
    if (!made.branch_id || !made.collection || !made.entries)
        return error_out_of_memory(err);
    *run = &batch->runs[batch->n_runs++];
    **run = made;
    return true;
}

bool batch_add_record(struct batch *batch, const char *branch_id, const char *collection, enum log_operation operation, const char *id,
                      struct bytes document, struct error *err)
{
    struct log_run *run;
    if (!batch_add_run(batch, branch_id, collection, 1, &run, err))
        return false;
    run->entries[0] = (struct log_entry) { .operation = operation, .document = document };
    return catalog_key(id, batch->arena, &run->entries[0].document_id, err);
}

bool batch_finish(struct batch *batch, uint64_t read_lsn, const struct log_incarnation *incarnation, struct write_plan *plan,
                  struct error *err)
{
    plan->read_lsn = read_lsn;
    plan->incarnation = *incarnation;
    plan->runs = arena_copy(batch->arena, batch->runs, batch->n_runs * sizeof *batch->runs);
    plan->n_runs = batch->n_runs;
    plan->read_keys = arena_copy(batch->arena, batch->read_keys, batch->n_read_keys * sizeof *batch->read_keys);
    plan->n_read_keys = batch->n_read_keys;
    plan->write_keys = arena_copy(batch->arena, batch->write_keys, batch->n_write_keys * sizeof *batch->write_keys);
    plan->n_write_keys = batch->n_write_keys;
    return (plan->runs && plan->read_keys && plan->write_keys) || error_out_of_memory(err);
}
