#include <stdlib.h>

#include "branch-service/collection/traditional_internal.h"
#include "branch-service/documents_internal.h"
#include "branch-service/names.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bson/bson_check.h"

enum { STEP_MICROS = 30 * MICROS_PER_SECOND };

/* skip and limit are 64 bits without a sign to callers, with one to MongoDB. */
static int64_t bounded(uint64_t n)
{
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

struct bytes traditional_filter(struct bytes filter)
{
    static const uint8_t everything[] = { 5, 0, 0, 0, 0 };
    return filter.len ? filter : bytes_of(everything, sizeof everything);
}

bool traditional_begin_read(struct traditional *operation, struct registry *registry, const char *project, const char *branch,
                            const char *collection, const struct read_options *read, const char **name, struct error *err)
{
    const struct {
        bool set;
        const char *name;
    } options[] = { { read->as_of_lsn > 0, "as_of_lsn" },
                    { read->as_of_time > 0, "as_of_time" },
                    { read->min_lsn > 0, "min_lsn" },
                    { read->stale_ok, "stale_ok" } };
    if (!name_check("branch", branch, err) || (collection && !name_check_collection(collection, err)) ||
        !traditional_begin(operation, registry, project, branch, read->deadline, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < ARRAY_LEN(options); i++)
        ok = !options[i].set || traditional_refuse_option(branch, options[i].name, err);
    if (ok && collection) {
        *name = traditional_collection_name(operation, collection, err);
        ok = *name != NULL;
    }
    if (!ok)
        traditional_end(operation);
    return ok;
}

struct traditional_find {
    struct find base; /* first */
    struct traditional operation;
    struct mongo_cursor *cursor;
    /* What was handed out since the last settle: MongoDB's own is gone with the next document. */
    struct arena documents;
    bool settled;
    bool ended; /* MongoDB's cursor is not asked again */
};

/* A reader may take his time; each step has some of its own. */
static void grant_time(struct traditional *operation)
{
    int64_t least = clock_monotonic_micros() + STEP_MICROS;
    if (operation->deadline < least)
        operation->deadline = least;
}

static bool next_document(struct find *base, struct bytes *document, struct error *err)
{
    struct traditional_find *find = (struct traditional_find *)base;
    struct bytes found;
    *document = (struct bytes) { 0 };
    if (find->settled) { /* they have been sent */
        arena_destroy(&find->documents);
        arena_init(&find->documents, 0);
        find->settled = false;
    }
    if (find->ended)
        return true;
    grant_time(&find->operation);
    switch (mongo_cursor_next(find->cursor, find->operation.deadline, &found, err)) {
    case MONGO_NEXT_FAILED:
        return traditional_settle(&find->operation, false, err);
    case MONGO_NEXT_END:
        find->ended = true;
        return true;
    case MONGO_NEXT_DOCUMENT:
        break;
    }
    *document = bytes_of(arena_copy(&find->documents, found.data, found.len), found.len);
    return document->data || error_out_of_memory(err);
}

static bool settle(struct find *base, struct error *err)
{
    struct traditional_find *find = (struct traditional_find *)base;
    find->settled = true;
    grant_time(&find->operation);
    return traditional_settle(&find->operation, true, err);
}

static void close_find(struct find *base)
{
    struct traditional_find *find = (struct traditional_find *)base;
    mongo_cursor_close(find->cursor);
    traditional_end(&find->operation);
    arena_destroy(&find->documents);
    free(find);
}

static const struct find_functions functions = { .next = next_document, .settle = settle, .close = close_find };

bool traditional_find(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                      const struct read_options *read, struct find **find, struct error *err)
{
    struct traditional_find *made = mem_zalloc(sizeof *made);
    const char *name;
    if (!traditional_begin_read(&made->operation, registry, path->project, path->branch, path->collection, read, &name, err)) {
        free(made);
        return false;
    }
    made->base.functions = &functions;
    arena_init(&made->documents, 0);
    const struct mongo_find asked = {
        .filter = traditional_filter(spec->filter), .skip = bounded(spec->skip), .limit = bounded(spec->limit), .id_order = 1
    };
    if ((spec->filter.len && !bson_check(spec->filter, err)) ||
        !mongo_find(made->operation.mongo, made->operation.record.database, name, &asked, read->deadline, &made->cursor, err)) {
        close_find(&made->base);
        return false;
    }
    *find = &made->base;
    return true;
}

bool traditional_count(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                       const struct read_options *read, uint64_t *count, uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    const char *name;
    int64_t all;
    if (!traditional_begin_read(&operation, registry, path->project, path->branch, path->collection, read, &name, err))
        return false;
    bool ok = (spec->filter.len == 0 || bson_check(spec->filter, err)) &&
              mongo_count(operation.mongo, operation.record.database, name, traditional_filter(spec->filter), read->deadline, &all, err);
    ok = traditional_settle(&operation, ok, err);
    traditional_end(&operation);
    if (!ok)
        return false;
    uint64_t left = (uint64_t)all > spec->skip ? (uint64_t)all - spec->skip : 0;
    *count = spec->limit && left > spec->limit ? spec->limit : left;
    *lsn = 0;
    return true;
}
