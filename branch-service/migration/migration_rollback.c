/* Rolling back.
 *
 * Before the log counts the branch stays what it is: its collections get names of this executor's epoch, unless they still
 * have their own, and its record gets that prefix. The old names do not come back: a straggler that goes for them shall
 * find nothing of value.
 *
 * After that the renamed collections stay as they are until all is done, and everything is made of copies with names of this
 * executor's epoch. So nothing need be resumed, or be kept apart from a straggler: another executor makes copies of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include <bson/bson.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/collection/traditional_indexes.h"
#include "branch-service/migration/migration_internal.h"
#include "branch-service/reasons.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bson/builder.h"
#include "common/bson/key_encoding.h"

enum {
    PART_DOCUMENTS = 1000,
    PART_BYTES = 8 * 1024 * 1024,
    SMALL_ROUND = 500, /* changes that may be applied while writers wait */
    MAX_ROUNDS = 20,
};

/* The server copies a collection in one go, and makes an index likewise. */
#define COPY_MICROS (3600 * (int64_t)MICROS_PER_SECOND)

/* A collection of the WAL branch, and its copy. */
struct twin {
    const char *id;
    const char *name;
    struct bytes indexes; /* that the collection is to have */
    bool other_indexes;   /* than what the copy has, as far as is known */
};

struct twins {
    struct twin *items;
    size_t n;
};

struct rollback {
    struct migration_run *run;
    const char *prefix; /* of the copies */
    char moving[MIGRATION_PREFIX_SIZE + 1];
    struct twins twins;
    uint64_t applied; /* changes of the WAL branch up to this LSN are in the copies */
};

static int64_t copy_deadline(const struct migration_run *run)
{
    int64_t limit = clock_monotonic_micros() + COPY_MICROS;
    return limit < run->call->deadline ? limit : run->call->deadline;
}

static const struct twin *find_twin(const struct twins *twins, const char *id)
{
    for (size_t i = 0; i < twins->n; i++)
        if (strcmp(twins->items[i].id, id) == 0)
            return &twins->items[i];
    return NULL;
}

static bool read_twins(struct rollback *rollback, uint64_t lsn, struct twins *twins, struct error *err)
{
    struct migration_run *run = rollback->run;
    struct tree *collections;
    struct tree_cursor cursor;
    struct tree_item item;
    if (!project_view(run->project, run->migration.branch, COLLECTIONS_COLLECTION, lsn, base_step_deadline(run->call->deadline),
                      &collections, err))
        return false;
    struct twins made = { .items = arena_alloc(&run->arena, (tree_count(collections) + 1) * sizeof *made.items) };
    bool ok = made.items || error_out_of_memory(err);
    tree_cursor_first(&cursor, collections);
    while (ok && tree_cursor_next(&cursor, &item)) {
        struct collection_record record;
        ok = catalog_decode_collection(item.document, &record, err);
        if (!ok)
            break;
        struct twin *twin = &made.items[made.n++];
        *twin = (struct twin) { .id = arena_strdup(&run->arena, record.id), .name = arena_strdup(&run->arena, record.name) };
        twin->indexes = bytes_of(arena_copy(&run->arena, record.indexes.data, record.indexes.len), record.indexes.len);
        ok = (twin->id && twin->name && (twin->indexes.data || !record.indexes.len)) || error_out_of_memory(err);
    }
    tree_unref(collections);
    if (ok)
        *twins = made;
    return ok;
}

/* ---- copies ----------------------------------------------------------------------------------------- */

static bool create_copy(struct rollback *rollback, const struct twin *twin, struct error *err)
{
    struct migration_run *run = rollback->run;
    const char *to;
    return migration_join(run, rollback->prefix, twin->name, &to, err) &&
           mongo_create_collection(run->mongo, run->record.database, to, (struct bytes) { 0 }, base_step_deadline(run->call->deadline),
                                   err);
}

static bool make_copy(struct rollback *rollback, struct twin *twin, struct error *err)
{
    struct migration_run *run = rollback->run;
    const struct migration_collection *original = NULL;
    struct mongo_copy_result copied;
    const char *from, *to;
    for (size_t i = 0; i < run->migration.n && !original; i++)
        if (strcmp(run->migration.collections[i].id, twin->id) == 0)
            original = &run->migration.collections[i];
    if (!migration_check_mine(run, err)) /* copies are dropped by a later executor, if they are there by then */
        return false;
    twin->other_indexes = !bytes_equal(twin->indexes, original ? original->indexes : (struct bytes) { 0 });
    if (!original)
        return create_copy(rollback, twin, err);
    if (!migration_join(run, run->migration.frozen, original->name, &from, err) ||
        !migration_join(run, rollback->prefix, twin->name, &to, err) ||
        !mongo_copy_collection(run->mongo, run->record.database, from, to, copy_deadline(run), &copied, err))
        return error_wrap(err, "collection '%s'", twin->name);
    const struct migration_progress progress = {
        .state = run->record.state, .collection = twin->name, .documents = (uint64_t)copied.documents, .message = "copied by the server"
    };
    return run->call->tell(run->call->ctx, &progress) || error_set(err, ERROR_CANCELLED, "nobody listens any more");
}

static bool rename_copy(struct rollback *rollback, const char *from_prefix, const char *from, const char *to_prefix, const char *to,
                        struct error *err)
{
    struct migration_run *run = rollback->run;
    const char *old_name, *new_name;
    return migration_join(run, from_prefix, from, &old_name, err) && migration_join(run, to_prefix, to, &new_name, err) &&
           mongo_rename_collection(run->mongo, run->record.database, old_name, new_name, base_step_deadline(run->call->deadline), err);
}

/* What was made, dropped or renamed on the WAL branch. Two may have changed names with each other. */
static bool follow_collections(struct rollback *rollback, struct twins *now, struct error *err)
{
    struct migration_run *run = rollback->run;
    for (size_t i = 0; i < rollback->twins.n; i++) {
        const struct twin *was = &rollback->twins.items[i], *is = find_twin(now, was->id);
        const char *name;
        if (!is && (!migration_join(run, rollback->prefix, was->name, &name, err) ||
                    !mongo_drop_collection(run->mongo, run->record.database, name, base_step_deadline(run->call->deadline), err)))
            return false;
        if (is && strcmp(is->name, was->name) != 0 && !rename_copy(rollback, rollback->prefix, was->name, rollback->moving, was->id, err))
            return false;
    }
    for (size_t i = 0; i < now->n; i++) {
        struct twin *is = &now->items[i];
        const struct twin *was = find_twin(&rollback->twins, is->id);
        if (was && strcmp(is->name, was->name) != 0 && !rename_copy(rollback, rollback->moving, is->id, rollback->prefix, is->name, err))
            return false;
        if (!was && !create_copy(rollback, is, err))
            return false;
        is->other_indexes = was ? was->other_indexes || !bytes_equal(was->indexes, is->indexes) : is->indexes.len > 0;
    }
    rollback->twins = *now;
    return true;
}

/* ---- indexes ---------------------------------------------------------------------------------------- */

/* The log keeps definitions only, so documents may have come that an index does not let in. What is not wanted goes before the
 * documents change, what is wanted comes after that. */
static bool follow_indexes(struct rollback *rollback, const struct twin *twin, bool create, struct error *err)
{
    struct migration_run *run = rollback->run;
    struct indexed_collection copy = { .mongo = run->mongo, .database = run->record.database, .arena = &run->arena };
    bool changed = false;
    if (!twin->other_indexes)
        return true;
    if (!migration_check_pulse(run, err) || !migration_join(run, rollback->prefix, twin->name, &copy.name, err))
        return false;
    /* writers do not wait for an index that takes its time: the next call makes it while they go on */
    copy.deadline = create && !migration_holds(run->record.state) ? copy_deadline(run) : base_step_deadline(run->call->deadline);
    if (create ? indexes_create_missing(&copy, twin->indexes, err) : indexes_drop_others(&copy, twin->indexes, &changed, err))
        return true;
    if (err->code == ERROR_ALREADY_EXISTS || err->code == ERROR_INVALID_ARGUMENT)
        err->code = ERROR_FAILED_PRECONDITION; /* what MongoDB does not take is in the catalog, not in this call */
    return error_wrap(err, "indexes of collection '%s'", twin->name);
}

/* ---- changes ---------------------------------------------------------------------------------------- */

/* The last image of a document in a round. */
struct image {
    UT_hash_handle hh;
    const char *collection; /* id */
    struct bytes key;
    struct bytes document; /* empty: it was deleted */
    bool was_there;        /* before the round */
    uint8_t name[];        /* collection, 0, key */
};

struct round {
    struct arena arena;
    struct image *images;
    size_t n;
};

static bool note_image(struct round *round, const char *collection, const struct log_entry *entry, struct error *err)
{
    size_t prefix = strlen(collection) + 1, len = prefix + entry->document_id.len;
    struct image *image, *made = arena_alloc(&round->arena, sizeof *made + len);
    if (!made)
        return error_out_of_memory(err);
    memset(made, 0, sizeof *made);
    memcpy(made->name, collection, prefix);
    memcpy(made->name + prefix, entry->document_id.data, entry->document_id.len);
    HASH_FIND(hh, round->images, made->name, len, image);
    if (!image) {
        image = made;
        image->collection = (const char *)image->name;
        image->key = bytes_of(image->name + prefix, entry->document_id.len);
        image->was_there = entry->operation != LOG_INSERT;
        HASH_ADD_KEYPTR(hh, round->images, image->name, len, image);
        round->n++;
    }
    image->document = (struct bytes) { 0 };
    if (entry->operation == LOG_DELETE)
        return true;
    image->document = bytes_of(arena_copy(&round->arena, entry->document.data, entry->document.len), entry->document.len);
    return image->document.data || error_out_of_memory(err);
}

static bool note_run(void *ctx, const struct log_run *run, struct error *err)
{
    if (strcmp(run->collection, COLLECTIONS_COLLECTION) == 0)
        return true;
    for (size_t i = 0; i < run->n_entries; i++)
        if (!note_image(ctx, run->collection, &run->entries[i], err))
            return false;
    return true;
}

struct part {
    struct rollback *rollback;
    const struct image *images[PART_DOCUMENTS];
    size_t n;
    uint64_t bytes;
    const char *name; /* of the collection, in MongoDB */
};

/* Adds the _id of an image to the elements of an array. */
static bool append_id(bson_t *list, const char *index, const struct image *image, struct error *err)
{
    struct builder builder;
    struct bytes document = image->document;
    bson_t bson;
    bson_iter_t iter;
    builder_init(&builder);
    bool ok = document.len || (key_decode_document_id(image->key, &builder) && builder_finish(&builder, &document, err));
    ok = ok && bson_init_static(&bson, document.data, document.len) && bson_iter_init_find(&iter, &bson, "_id") &&
         bson_append_iter(list, index, -1, &iter);
    builder_destroy(&builder);
    return ok || error_set(err, ERROR_FAILED_PRECONDITION, "a document was deleted whose _id is of a type that MongoDB does not take");
}

static bool remove_part(struct part *part, struct error *err)
{
    struct migration_run *run = part->rollback->run;
    bson_t filter = BSON_INITIALIZER, in, list;
    int64_t deleted;
    bool ok = true;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = 0; ok && i < part->n; i++) {
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        ok = append_id(&list, index, part->images[i], err);
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&filter, &in);
    ok = ok && mongo_delete_many(run->mongo, run->record.database, part->name, bytes_of(bson_get_data(&filter), filter.len),
                                 (struct bytes) { 0 }, base_step_deadline(run->call->deadline), &deleted, err);
    bson_destroy(&filter);
    return ok;
}

static void note_refused(void *ctx, size_t index, const struct error *why)
{
    (void)index;
    *(struct error *)ctx = *why;
}

static bool insert_part(struct part *part, struct error *err)
{
    struct migration_run *run = part->rollback->run;
    struct bytes documents[PART_DOCUMENTS];
    uint8_t items[PART_DOCUMENTS];
    struct error refused = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < part->n; i++)
        documents[n++] = part->images[i]->document;
    const struct mongo_insert insert = {
        .documents = documents, .n = n, .bypass_validation = true, .items = items, .refused = note_refused, .ctx = &refused
    };
    if (!mongo_insert_many(run->mongo, run->record.database, part->name, &insert, base_step_deadline(run->call->deadline), err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (items[i] != MONGO_ITEM_INSERTED)
            return error_set(err, ERROR_FAILED_PRECONDITION, "MongoDB does not take a document that the branch has: %s", refused.message);
    return true;
}

/* Nobody reads the copies yet, so a document may be away for a moment. */
static bool apply_parts(struct rollback *rollback, const struct round *round, const struct twin *twin, bool insert, struct error *err)
{
    struct part *part = mem_zalloc(sizeof *part);
    bool ok = migration_join(rollback->run, rollback->prefix, twin->name, &part->name, err);
    part->rollback = rollback;
    for (const struct image *image = round->images; ok && image; image = image->hh.next) {
        ok = migration_check_pulse(rollback->run, err);
        if (!ok)
            break;
        if (strcmp(image->collection, twin->id) != 0 || !(insert ? image->document.len > 0 : image->was_there))
            continue;
        if (part->n == PART_DOCUMENTS || (part->n && part->bytes + image->document.len > PART_BYTES)) {
            ok = (insert ? insert_part : remove_part)(part, err);
            part->n = part->bytes = 0;
        }
        part->images[part->n++] = image;
        part->bytes += image->document.len;
    }
    ok = ok && (part->n == 0 || (insert ? insert_part : remove_part)(part, err));
    free(part);
    return ok || error_wrap(err, "collection '%s'", twin->name);
}

/* Everything up to the position. */
static bool apply_round(struct rollback *rollback, size_t *changes, struct error *err)
{
    struct migration_run *run = rollback->run;
    struct project_catalog catalog;
    struct round round = { 0 };
    struct twins now;
    uint64_t complete;
    if (!project_refresh(run->project, base_step_deadline(run->call->deadline), err))
        return false;
    project_catalog(run->project, &catalog);
    const uint64_t through = catalog.lsn;
    const struct log_incarnation incarnation = catalog.incarnation;
    project_catalog_destroy(&catalog);
    const struct log_read_range range = {
        .project = project_id(run->project), .after = rollback->applied, .through = through, .branch_id = run->migration.branch
    };
    *changes = 0;
    if (through == rollback->applied)
        return true;
    arena_init(&round.arena, 0);
    bool ok = read_twins(rollback, through, &now, err) && follow_collections(rollback, &now, err) &&
              log_source_read(project_log(run->project), &range, &incarnation, base_step_deadline(run->call->deadline), note_run, &round,
                              &complete, err);
    for (size_t i = 0; ok && i < now.n; i++)
        ok = follow_indexes(rollback, &now.items[i], false, err);
    /* all that goes before anything that comes: an index may let only one of the two be there */
    for (size_t i = 0; ok && i < now.n; i++)
        ok = apply_parts(rollback, &round, &now.items[i], false, err);
    for (size_t i = 0; ok && i < now.n; i++)
        ok = apply_parts(rollback, &round, &now.items[i], true, err);
    for (size_t i = 0; ok && i < now.n; i++) {
        ok = follow_indexes(rollback, &now.items[i], true, err);
        if (ok)
            rollback->twins.items[i].other_indexes = false; /* the twins are these */
    }
    if (ok) {
        rollback->applied = through;
        *changes = round.n;
    }
    HASH_CLEAR(hh, round.images);
    arena_destroy(&round.arena);
    return ok;
}

/* ---- the branch ------------------------------------------------------------------------------------- */

static bool find_branch(const struct project_catalog *catalog, const struct migration *migration, struct branch_record *branch,
                        struct error *err)
{
    return lineage_find_record(catalog->branches, migration->branch, branch, err);
}

static bool update_branch(struct batch *batch, const struct branch_record *branch, struct error *err)
{
    struct bytes document;
    return catalog_encode_branch(branch, batch->arena, &document, err) &&
           batch_add_record(batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, branch->id, document, err);
}

/* ctx: a bool, whether writes are to wait. */
static bool hold_branch(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                        struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    struct branch_record branch;
    (void)run, (void)record;
    if (!find_branch(catalog, migration, &branch, err))
        return false;
    branch.held = *(const bool *)change->ctx;
    return update_branch(batch, &branch, err);
}

static bool give_back(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                      struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    const struct rollback *rollback = change->ctx;
    struct branch_record branch;
    struct bytes name;
    if (!find_branch(catalog, migration, &branch, err))
        return false;
    record->name = arena_strdup(&run->arena, branch.name); /* it may have got another one */
    record->prefix = rollback->prefix;
    branch.held = false;
    branch.deleted = true; /* forks go on reading through it */
    return (record->name || error_out_of_memory(err)) && catalog_encode_name(branch.name, record->id, batch->arena, &name, err) &&
           batch_add_record(batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_UPDATE, branch.name, name, err) &&
           update_branch(batch, &branch, err);
}

static bool add_complete(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                         struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    struct branch_record base;
    (void)run, (void)change, (void)record;
    if (!lineage_find_record(catalog->branches, migration->base, &base, err))
        return false;
    return base.complete || base_add_complete(batch, catalog, migration->base, true, err);
}

static bool begin_copies(struct rollback *rollback, struct error *err)
{
    struct migration_run *run = rollback->run;
    struct project_catalog catalog;
    struct branch_record branch;
    char prefix[MIGRATION_PREFIX_SIZE];
    migration_make_prefix(run->record.id, run->record.epoch, prefix);
    snprintf(rollback->moving, sizeof rollback->moving, "%.*s~", (int)strlen(prefix) - 1, prefix);
    if (!migration_join(run, prefix, "", &rollback->prefix, err) ||
        !project_refresh(run->project, base_step_deadline(run->call->deadline), err))
        return false;
    project_catalog(run->project, &catalog);
    const uint64_t lsn = catalog.lsn;
    bool ok = find_branch(&catalog, &run->migration, &branch, err);
    rollback->applied = ok ? branch.base : 0;
    project_catalog_destroy(&catalog);
    ok = ok && read_twins(rollback, lsn, &rollback->twins, err);
    for (size_t i = 0; ok && i < rollback->twins.n; i++)
        ok = make_copy(rollback, &rollback->twins.items[i], err);
    return ok;
}

static bool last_round(struct rollback *rollback, struct error *err)
{
    struct migration_run *run = rollback->run;
    struct migration_change ready = { .to = BRANCH_READY, .apply = give_back, .ctx = rollback };
    bool hold = false;
    struct migration_change again = { .to = BRANCH_ROLLING_BACK, .apply = hold_branch, .ctx = &hold };
    size_t changes;
    struct error ignored;
    if (apply_round(rollback, &changes, err) && migration_step(run, &ready, err))
        return true;
    /* the writers need not wait for the next call */
    if (run->record.state == BRANCH_HANDING_BACK && !migration_step(run, &again, &ignored))
        return false;
    return false;
}

static bool hand_back(struct migration_run *run, struct error *err)
{
    struct rollback rollback = { .run = run };
    struct migration_change complete = { .to = BRANCH_ROLLING_BACK, .apply = add_complete };
    bool hold = true;
    struct migration_change handing = { .to = BRANCH_HANDING_BACK, .apply = hold_branch, .ctx = &hold };
    size_t changes = SMALL_ROUND + 1;
    if (!migration_copy_base(run, err) || !migration_step(run, &complete, err) || !begin_copies(&rollback, err))
        return false;
    for (int round = 0; round < MAX_ROUNDS && changes > SMALL_ROUND; round++)
        if (!apply_round(&rollback, &changes, err) || !migration_tell(run, "applies what has changed since", err))
            return false;
    run->stubborn = true;
    return migration_step(run, &handing, err) && last_round(&rollback, err);
}

/* ---- before the log counts -------------------------------------------------------------------------- */

static bool set_prefix(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                       struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    (void)run, (void)catalog, (void)migration, (void)batch, (void)err;
    record->prefix = change->ctx;
    return true;
}

static bool move_back(struct migration_run *run, struct error *err)
{
    const char *prefix;
    struct migration_change ready = { .to = BRANCH_READY, .apply = set_prefix };
    run->stubborn = true;
    if (!migration_move_collections(run, &prefix, err))
        return false;
    ready.ctx = (void *)prefix;
    return migration_step(run, &ready, err);
}

/* Of what nobody reads, so a failure is none. */
static void tidy(struct migration_run *run, const char *old_prefix)
{
    struct error ignored;
    if (strcmp(run->record.prefix, old_prefix) == 0)
        return;
    if (!migration_drop_placeholders(run, old_prefix, &ignored) || !migration_drop_older(run, &ignored))
        return;
}

static bool go_back(struct migration_run *run, struct error *err)
{
    struct migration_change ready = { .to = BRANCH_READY };
    const char *old_prefix = run->record.prefix;
    bool ok = migration_tell(run, "begins", err);
    if (ok && run->record.state == BRANCH_ROLLING_BACK)
        ok = hand_back(run, err);
    else if (ok && run->migration.listed)
        ok = move_back(run, err);
    else if (ok)
        ok = migration_step(run, &ready, err);
    if (ok)
        tidy(run, old_prefix);
    return ok;
}

bool migration_rollback(const struct migration_call *call, struct error *err)
{
    struct migration_run run;
    if (!migration_run_begin(&run, call, MIGRATION_ROLLBACK, NULL, err))
        return false;
    bool ok = go_back(&run, err) && migration_tell(&run, "done: the branch is traditional", err);
    migration_run_end(&run);
    return ok;
}

bool migration_release(const struct migration_call *call, const struct migration_status *seen, struct error *err)
{
    struct migration_run run;
    if (!migration_run_begin(&run, call, MIGRATION_RELEASE, seen, err))
        return false;
    /* of one that was being handed back, the claim lets the writers go on */
    bool ok = run.record.state == BRANCH_ROLLING_BACK || go_back(&run, err);
    migration_run_end(&run);
    return ok;
}
