/* Queries as MongoDB takes them: the options of a find, the collections that a pipeline names. */
#include "branch-service/catalog/names.h"
#include "branch-service/collection/traditional_internal.h"
#include "common/bson/bson_check.h"
#include "common/bson/builder.h"

static void append_string(struct builder *builder, const char *name, const char *value)
{
    uint8_t length[4];
    if (!value || !value[0])
        return;
    put_u32(length, (uint32_t)strlen(value) + 1);
    builder_name(builder, name, strlen(name));
    builder_value(builder, BSON_TYPE_UTF8, bytes_of(NULL, 0));
    builder_raw(builder, length, sizeof length);
    builder_raw(builder, value, strlen(value) + 1);
}

static void append_document(struct builder *builder, const char *name, struct bytes value)
{
    if (value.len == 0)
        return;
    builder_name(builder, name, strlen(name));
    builder_value(builder, BSON_TYPE_DOCUMENT, value);
}

static bool take(struct builder *builder, struct arena *arena, struct bytes *out, struct error *err)
{
    struct bytes document;
    bool ok = builder_finish(builder, &document, err);
    if (ok) {
        *out = bytes_of(arena_copy(arena, document.data, document.len), document.len);
        ok = out->data || error_out_of_memory(err);
    }
    builder_destroy(builder);
    return ok;
}

bool traditional_options(const struct query_options *options, bool of_distinct, struct bytes sort, struct bytes projection,
                         struct arena *arena, struct bytes *out, struct error *err)
{
    struct builder builder;
    if (!query_options_check(options, err) || (sort.len && !bson_check(sort, err)) || (projection.len && !bson_check(projection, err)))
        return false;
    builder_init(&builder);
    append_document(&builder, "collation", options->collation);
    append_string(&builder, "comment", options->comment);
    append_string(&builder, "hint", options->hint);
    append_document(&builder, "hint", options->hint_keys);
    if (!of_distinct)
        append_document(&builder, "let", options->let);
    append_document(&builder, "sort", sort);
    append_document(&builder, "projection", projection);
    return take(&builder, arena, out, err);
}

/* ---- pipelines -------------------------------------------------------------------------------------- */

struct rewriter {
    struct traditional *operation;
    struct builder builder;
    struct error *err;
};

static bool write_stages(struct rewriter *rewriter, const struct element *array);

static bool write_collection(struct rewriter *rewriter, const struct element *field)
{
    struct bytes text = element_string(field);
    char *name = arena_strndup(&rewriter->operation->arena, (const char *)text.data, text.len);
    if (!name)
        return error_out_of_memory(rewriter->err);
    if (!name_check_collection(name, rewriter->err))
        return false;
    const char *there = traditional_collection_name(rewriter->operation, name, rewriter->err);
    if (!there)
        return false;
    append_string(&rewriter->builder, field->name, there);
    return true;
}

/* What $lookup, $graphLookup and $unionWith say: the collection, and stages. */
static bool write_join(struct rewriter *rewriter, const struct element *spec, const char *collection)
{
    struct element_reader reader;
    struct element e;
    builder_name(&rewriter->builder, spec->name, spec->name_len);
    builder_begin(&rewriter->builder, BSON_TYPE_DOCUMENT);
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        bool ok = true;
        if (element_is_named(&e, collection, strlen(collection)) && e.type == BSON_TYPE_UTF8)
            ok = write_collection(rewriter, &e);
        else if (element_is_named(&e, "pipeline", 8) && e.type == BSON_TYPE_ARRAY)
            ok = write_stages(rewriter, &e);
        else
            builder_copy(&rewriter->builder, &e);
        if (!ok)
            return false;
    }
    builder_end(&rewriter->builder);
    return true;
}

static bool write_facets(struct rewriter *rewriter, const struct element *spec)
{
    struct element_reader reader;
    struct element e;
    builder_name(&rewriter->builder, spec->name, spec->name_len);
    builder_begin(&rewriter->builder, BSON_TYPE_DOCUMENT);
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (!write_stages(rewriter, &e))
            return false;
    }
    builder_end(&rewriter->builder);
    return true;
}

static bool write_stage(struct rewriter *rewriter, const struct element *stage)
{
    if (element_is_named(stage, "$lookup", 7) || element_is_named(stage, "$graphLookup", 12))
        return write_join(rewriter, stage, "from");
    if (element_is_named(stage, "$unionWith", 10))
        return stage->type == BSON_TYPE_UTF8 ? write_collection(rewriter, stage) : write_join(rewriter, stage, "coll");
    if (element_is_named(stage, "$facet", 6))
        return write_facets(rewriter, stage);
    builder_copy(&rewriter->builder, stage);
    return true;
}

/* As deep as pipelines nest, which has been checked. */
static bool write_stages(struct rewriter *rewriter, const struct element *array)
{
    struct element_reader stages, fields;
    struct element stage, field;
    builder_name(&rewriter->builder, array->name, array->name_len);
    builder_begin(&rewriter->builder, BSON_TYPE_ARRAY);
    element_reader_init(&stages, array->value);
    while (element_next(&stages, &stage)) {
        builder_name(&rewriter->builder, stage.name, stage.name_len);
        builder_begin(&rewriter->builder, BSON_TYPE_DOCUMENT);
        element_reader_init(&fields, stage.value);
        while (element_next(&fields, &field)) {
            if (!write_stage(rewriter, &field))
                return false;
        }
        builder_end(&rewriter->builder);
    }
    builder_end(&rewriter->builder);
    return true;
}

bool traditional_pipeline(struct traditional *operation, struct bytes stages, struct bytes *out, struct error *err)
{
    struct rewriter rewriter = { .operation = operation, .err = err };
    const struct element whole = { .type = BSON_TYPE_ARRAY, .name = "pipeline", .name_len = 8, .value = stages };
    builder_init(&rewriter.builder);
    if (write_stages(&rewriter, &whole))
        return take(&rewriter.builder, &operation->arena, out, err);
    builder_destroy(&rewriter.builder);
    return false;
}
