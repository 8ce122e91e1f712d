#include "branch-service/catalog/lineage.h"

/* Not of main, which has none. */
static bool find_document(const struct tree *branches, const char *branch_id, struct bytes *document, struct error *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct bytes key;
    struct tree_item item;
    bool ok = catalog_key(branch_id, &arena, &key, err);
    if (ok && !tree_get(branches, key, &item))
        ok = error_set(err, ERROR_NOT_FOUND, "branch id '%s' does not exist", branch_id);
    arena_destroy(&arena);
    if (ok)
        *document = item.document;
    return ok;
}

bool lineage_find_record(const struct tree *branches, const char *branch_id, struct branch_record *record, struct error *err)
{
    if (strcmp(branch_id, MAIN_BRANCH) == 0) {
        *record = (struct branch_record) { .id = MAIN_BRANCH, .name = MAIN_BRANCH };
        return true;
    }
    struct bytes document;
    return find_document(branches, branch_id, &document, err) && catalog_decode_branch(document, record, err);
}

bool lineage_is_ordinary(const struct tree *branches, const char *branch_id, bool *ordinary, struct error *err)
{
    struct bytes document;
    if (strcmp(branch_id, MAIN_BRANCH) == 0) {
        *ordinary = true;
        return true;
    }
    if (!find_document(branches, branch_id, &document, err))
        return false;
    *ordinary = !catalog_has_kind(document);
    return true;
}

bool lineage_find_kind(const struct tree *branches, const char *branch_id, enum branch_kind *kind, struct error *err)
{
    struct branch_record record = { .kind = BRANCH_WAL };
    bool ordinary;
    if (!lineage_is_ordinary(branches, branch_id, &ordinary, err) || (!ordinary && !lineage_find_record(branches, branch_id, &record, err)))
        return false;
    *kind = record.kind;
    return true;
}

static bool below_floor(const struct branch_record *branch, struct error *err)
{
    return error_set(err, ERROR_OUT_OF_RANGE, "branch '%s' has no states before LSN %llu: there it was taken over from MongoDB",
                     branch->name, (unsigned long long)branch->base);
}

bool lineage_resolve(const struct tree *branches, const char *branch_id, uint64_t lsn, struct arena *arena, struct lineage *lineage,
                     struct error *err)
{
    struct lineage_segment *segments = NULL;
    size_t n = 0, capacity = 0;
    struct branch_record record, child = { 0 };
    bool before_child = false, from_base = false, incomplete_base = false;
    for (const char *id = branch_id; id;) {
        if (!lineage_find_record(branches, id, &record, err))
            return false;
        if (record.kind == BRANCH_BASE) {
            if (before_child)
                return below_floor(&child, err);
            from_base = true;
            incomplete_base = record.complete == 0;
            if (!incomplete_base)
                lsn = record.complete;
            record.base = 0;
        }
        if (n == capacity) {
            size_t grown = capacity ? 2 * capacity : 8;
            struct lineage_segment *larger = arena_alloc(arena, grown * sizeof *larger);
            if (!larger)
                return error_out_of_memory(err);
            if (n)
                memcpy(larger, segments, n * sizeof *larger);
            segments = larger;
            capacity = grown;
        }
        char *copy = arena_strdup(arena, record.id);
        if (!copy)
            return error_out_of_memory(err);
        /* before the branch existed its state is its parent's: an empty segment */
        segments[n++] = (struct lineage_segment) { .branch_id = copy, .after = lsn < record.base ? lsn : record.base, .through = lsn };
        before_child = lsn < record.base;
        child = record;
        if (record.parent && record.cut < lsn)
            lsn = record.cut;
        id = record.parent;
    }
    *lineage = (struct lineage) { .segments = segments, .n = n, .from_base = from_base, .incomplete_base = incomplete_base };
    return true;
}
