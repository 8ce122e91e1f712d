#include "branch-service/collection/mongo_base.h"

#include <string.h>

#include "common/base/clock.h"

enum { ANSWER_MICROS = 30 * MICROS_PER_SECOND };

static int64_t answer_deadline(int64_t deadline)
{
    int64_t next = clock_monotonic_micros() + ANSWER_MICROS;
    return next < deadline ? next : deadline;
}

struct wanted {
    const char *name;
    bool there;
};

static bool note_wanted(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    struct wanted *wanted = ctx;
    (void)err;
    wanted->there = wanted->there || strcmp(info->name, wanted->name) == 0;
    return true;
}

bool mongo_base_read(struct mongo *mongo, const char *database, const char *collection, uint64_t snapshot, int64_t deadline,
                     base_document_fn *visit, void *ctx, bool *there, struct error *err)
{
    const struct mongo_find everything = { .snapshot = snapshot };
    struct wanted wanted = { .name = collection };
    struct mongo_cursor *cursor;
    struct bytes document;
    enum mongo_next next = MONGO_NEXT_DOCUMENT;
    bool ok = mongo_find(mongo, database, collection, &everything, deadline, &cursor, err);
    if (!ok)
        return false;
    while (ok && (next = mongo_cursor_next(cursor, answer_deadline(deadline), &document, err)) == MONGO_NEXT_DOCUMENT)
        ok = visit(ctx, document, err);
    mongo_cursor_close(cursor);
    if (!ok)
        return false;
    /* A cursor may have failed because its collection has gone: that is the better answer. */
    struct error why = { 0 };
    if (next == MONGO_NEXT_FAILED)
        why = *err;
    if (!mongo_list_collections(mongo, database, collection, answer_deadline(deadline), note_wanted, &wanted, err))
        return false;
    *there = wanted.there;
    if (next == MONGO_NEXT_FAILED && wanted.there) {
        *err = why;
        return false;
    }
    return true;
}

static bool read_source(const struct base_source *source, const char *database, const char *collection, int64_t deadline,
                        base_document_fn *visit, void *ctx, bool *there, struct error *err)
{
    return mongo_base_read(((const struct mongo_base *)source)->mongo, database, collection, 0, deadline, visit, ctx, there, err);
}

void mongo_base_init(struct mongo_base *base, struct mongo *mongo)
{
    *base = (struct mongo_base) { .source = { read_source }, .mongo = mongo };
}
