#include "branch-service/query/update.h"

#include <stdlib.h>

#include "branch-service/query/document.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/update_pipeline.h"
#include "branch-service/query/update_resolve.h"
#include "branch-service/query/update_spec.h"
#include "branch-service/query/update_upsert.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bson/bson_check.h"
#include "common/bson/value_compare.h"

enum {
    EMPTY_DOCUMENT = 5,                     /* bytes */
    MAX_PIPELINE_BYTES = 100 * 1024 * 1024, /* for what lies between the stages of one document */
};

struct update {
    struct arena arena;
    enum update_kind kind;
    struct bytes spec;           /* our copy */
    const struct filter *filter; /* what chooses the documents; may be NULL */

    /* UPDATE_OPERATORS */
    struct update_spec operators;
    struct update_filter *filters; /* inside of it */
    bool writes_time;

    /* UPDATE_REPLACEMENT */
    struct element id; /* name NULL: the old document's _id is kept */

    struct update_pipeline *pipeline; /* UPDATE_PIPELINE */
};

static bool compile_operators(struct update *update, struct bytes array_filters, struct error *err)
{
    struct update_compiler compiler = { .arena = &update->arena };
    bool ok = update_spec_compile(update->spec, array_filters, &compiler, &update->operators, err);
    update->filters = compiler.filters;
    update->writes_time = compiler.writes_time;
    return ok;
}

static bool compile_replacement(struct update *update, const struct update_options *options, struct error *err)
{
    if (options->many)
        return query_error(err, MONGO_FAILED_TO_PARSE, "a replacement changes one document only: use operators such as $set for many");
    return document_check_storable(update->spec, &update->id, err);
}

static bool compile_pipeline(struct update *update, const struct update_options *options, struct error *err)
{
    if (options->array_filters.data && options->array_filters.len > EMPTY_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "arrayFilters may not be specified for pipeline-style updates");
    int64_t now = options->now ? options->now : (int64_t)(clock_wall_micros() / 1000);
    return update_pipeline_compile(update->spec, options->let, now, &update->arena, &update->pipeline, err);
}

static bool copy_bytes(struct arena *arena, struct bytes *bytes, struct error *err)
{
    if (!bytes->data)
        return true;
    bytes->data = arena_copy(arena, bytes->data, bytes->len);
    return bytes->data || error_out_of_memory(err);
}

bool update_compile(struct bytes spec, const struct update_options *options, struct update **out, struct error *err)
{
    static const struct update_options none = { 0 };
    struct update *update = mem_zalloc(sizeof *update);
    struct element_reader reader;
    struct element first;
    bool ok = false;
    options = options ? options : &none;
    struct bytes array_filters = options->array_filters;
    arena_init_metered(&update->arena, MAX_COMPILED_BYTES);
    update->spec = spec;
    update->filter = options->filter;
    if (!copy_bytes(&update->arena, &update->spec, err) || !copy_bytes(&update->arena, &array_filters, err))
        goto failed;
    /* as in MongoDB the first field decides */
    element_reader_init(&reader, update->spec);
    bool operators = element_next(&reader, &first) && element_name_is_operator(&first);
    update->kind = options->is_pipeline ? UPDATE_PIPELINE : operators ? UPDATE_OPERATORS : UPDATE_REPLACEMENT;
    switch (update->kind) {
    case UPDATE_OPERATORS:
        ok = compile_operators(update, array_filters, err);
        break;
    case UPDATE_REPLACEMENT:
        ok = compile_replacement(update, options, err);
        break;
    case UPDATE_PIPELINE:
        ok = compile_pipeline(update, options, err);
        break;
    }
    if (!ok)
        goto failed;
    *out = update;
    return true;
failed:
    update_free(update);
    return false;
}

void update_free(struct update *update)
{
    if (!update)
        return;
    for (struct update_filter *owned = update->filters; owned; owned = owned->next)
        filter_free(owned->filter);
    update_pipeline_free(update->pipeline);
    arena_destroy(&update->arena);
    free(update);
}

enum update_kind update_kind(const struct update *update)
{
    return update->kind;
}

/* ---- applying ------------------------------------------------------------------------------------------ */

/* Operators may write an _id only if nothing comes of it. */
static bool check_id_is_kept(struct bytes before, struct bytes after, struct error *err)
{
    struct element old, new;
    if (!element_find(before, "_id", 3, &old))
        return true;
    if (element_find(after, "_id", 3, &new) && bytes_equal(element_bytes(&old), element_bytes(&new)))
        return true;
    return query_error(err, MONGO_IMMUTABLE_FIELD, "the update would modify the immutable field '_id'");
}

static bool write_operators(const struct update *update, struct bytes document, bool inserting, struct builder *out, struct error *err)
{
    const struct update_spec *spec = &update->operators;
    struct update_action *actions = inserting ? spec->insert_actions : spec->actions;
    size_t n = inserting ? spec->n_insert_actions : spec->n_actions;
    uint64_t now = update->writes_time ? clock_wall_micros() : 0;
    if (!spec->depends_on_document)
        return update_actions_apply(actions, n, &spec->filters, now, document, out, err);
    struct arena arena;
    int64_t position;
    arena_init_metered(&arena, 0);
    if (inserting || !update->filter || !filter_match_position(update->filter, document, &position))
        position = NO_INDEX;
    bool ok = update_actions_resolve(actions, n, document, position, &arena, &actions, &n, err) &&
              update_actions_apply(actions, n, &spec->filters, now, document, out, err);
    arena_destroy(&arena);
    return ok;
}

/* A whole new document. An _id that it lacks is the old one's. */
static bool write_whole(struct bytes document, const struct element *new_id, struct bytes fields, struct builder *out, struct error *err)
{
    struct element old;
    bool has_old = element_find(document, "_id", 3, &old);
    const struct element *id = new_id->name ? new_id : has_old ? &old : NULL;
    if (has_old && value_compare_elements(&old, id) != 0)
        return query_error(err, MONGO_IMMUTABLE_FIELD,
                           "after applying the update, the immutable field '_id' was found to have been altered");
    document_write(out, id, fields);
    return true;
}

static bool write_piped(const struct update *update, struct bytes document, struct builder *out, struct error *err)
{
    struct arena arena;
    struct bytes piped;
    struct element id;
    arena_init_metered(&arena, MAX_PIPELINE_BYTES);
    bool ok = update_pipeline_apply(update->pipeline, document, &arena, &piped, err) && document_check_storable(piped, &id, err) &&
              write_whole(document, &id, piped, out, err);
    arena_destroy(&arena);
    return ok;
}

/* As builder_finish, with MongoDB's codes. */
static bool finish(struct builder *builder, struct bytes *result, struct error *err)
{
    enum { TOO_LARGE = 17419 };
    struct error plain;
    if (builder_finish(builder, result, &plain))
        return true;
    if (plain.code != ERROR_INVALID_ARGUMENT)
        return error_set(err, plain.code, "%s", plain.message);
    return query_error(err, builder->too_deep ? MONGO_OVERFLOW : TOO_LARGE, "%s", plain.message);
}

static bool check_nesting(struct bytes document, struct error *err)
{
    struct error plain;
    if (bson_check(document, &plain))
        return true;
    return query_error(err, MONGO_OVERFLOW, "the updated document: %s", plain.message);
}

static bool write_changed(const struct update *update, struct bytes document, bool inserting, struct builder *out, struct error *err)
{
    switch (update->kind) {
    case UPDATE_OPERATORS:
        return write_operators(update, document, inserting, out, err);
    case UPDATE_REPLACEMENT:
        return write_whole(document, &update->id, update->spec, out, err);
    case UPDATE_PIPELINE:
        return write_piped(update, document, out, err);
    }
    return false;
}

static bool check_in_place(const struct update *update, struct error *err)
{
    switch (update->kind) {
    case UPDATE_OPERATORS:
        return update_spec_check_in_place(&update->operators, err);
    case UPDATE_REPLACEMENT:
        return document_check_in_place(update->spec, err);
    case UPDATE_PIPELINE:
        return true;
    }
    return false;
}

/* The new image, in the builder. How deep one to insert is nested is for its caller to see: what it began with may be the reason. */
static bool write_image(const struct update *update, struct bytes document, bool inserting, struct builder *builder, struct bytes *image,
                        struct error *err)
{
    if (!write_changed(update, document, inserting, builder, err))
        return builder_failed(builder) ? finish(builder, image, err) : false;
    if (!finish(builder, image, err))
        return false;
    if (bytes_equal(*image, document))
        return true;
    if (!inserting && !check_in_place(update, err))
        return false;
    if (update->kind == UPDATE_REPLACEMENT)
        return true;
    bool can_nest = !inserting && (update->kind == UPDATE_PIPELINE || update->operators.can_nest);
    return (update->kind == UPDATE_PIPELINE || check_id_is_kept(document, *image, err)) && (!can_nest || check_nesting(*image, err));
}

bool update_apply(const struct update *update, struct bytes document, bson_t *out, bool *changed, struct error *err)
{
    struct builder builder;
    struct bytes image;
    builder_init(&builder);
    builder_reserve(&builder, document.len + 64);
    bool ok = write_image(update, document, false, &builder, &image, err);
    if (ok) {
        *changed = !bytes_equal(image, document);
        ok = !*changed || bson_copy_bytes(image, out, err);
    }
    builder_destroy(&builder);
    return ok;
}

bool update_insert(const struct update *update, struct bytes filter, bson_t *out, struct error *err)
{
    struct builder equal, builder;
    struct bytes start, image;
    builder_init(&equal);
    builder_init(&builder);
    bool ok = update_write_equalities(filter, update->kind == UPDATE_REPLACEMENT, &equal, err) && finish(&equal, &start, err) &&
              write_image(update, start, true, &builder, &image, err) && check_nesting(image, err) && document_prepare(image, out, err);
    builder_destroy(&equal);
    builder_destroy(&builder);
    return ok;
}
