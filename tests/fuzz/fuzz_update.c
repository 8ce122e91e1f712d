/* An update compiles or is refused by name. What it makes of a stored document, or inserts, can be stored, under the same
 * _id; it makes the same each time; and most operators change nothing when they come again.
 * Input: the update, a document, a filter, {"arrayFilters": [...], "pipeline": [...]}; the last two can be missing. */
#include "branch-service/query/update.h"
#include "common/bson/element.h"
#include "tests/fuzz/fuzz_documents.h"

struct expectations {
    bool same_each_time, idempotent;
};

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(name, *names) != 0)
        names++;
    return *names != NULL;
}

static struct expectations expectations_of(struct bytes spec, bool has_array_filters)
{
    static const char *const settled[] = { "$set", "$unset", "$setOnInsert", "$min", "$max", "$addToSet", "$pull", "$pullAll", NULL };
    struct expectations expected = { true, !has_array_filters };
    struct element_reader fields;
    struct element field;
    element_reader_init(&fields, spec);
    while (element_next(&fields, &field)) {
        if (field.name[0] != '$')
            continue;
        expected.idempotent &= is_one_of(field.name, settled);
        expected.same_each_time &= strcmp(field.name, "$currentDate") != 0;
    }
    return expected;
}

static bool is_refusal(const struct error *err)
{
    return (err->code == ERROR_INVALID_ARGUMENT || err->code == ERROR_RESOURCE_EXHAUSTED) && err->message[0];
}

static struct bytes bytes_of_image(const bson_t *image)
{
    return bytes_of(bson_get_data(image), image->len);
}

static void check_apply(const struct update *update, struct expectations expected, struct bytes old)
{
    struct error err;
    bson_t new, again;
    struct element before, after;
    bool changed;
    if (!update_apply(update, old, &new, &changed, &err)) {
        must(is_refusal(&err));
        return;
    }
    if (!changed)
        return;
    struct bytes image = bytes_of_image(&new);
    must(bson_check(image, &err) && element_find(old, "_id", 3, &before) && element_find(image, "_id", 3, &after));
    must(bytes_equal(element_bytes(&before), element_bytes(&after)) || update_kind(update) != UPDATE_OPERATORS);
    must(update_apply(update, old, &again, &changed, &err) && changed && (bson_equal(&new, &again) || !expected.same_each_time));
    bson_destroy(&again);
    if (expected.idempotent)
        must(update_apply(update, image, &again, &changed, &err) && !changed);
    bson_destroy(&new);
}

static void check_insert(const struct update *update, struct bytes filter)
{
    struct error err;
    bson_t new, prepared;
    if (!update_insert(update, filter, &new, &err)) {
        must(is_refusal(&err));
        return;
    }
    must(bson_check(bytes_of_image(&new), &err) && document_prepare(bytes_of_image(&new), &prepared, &err));
    must(bson_equal(&new, &prepared));
    bson_destroy(&prepared);
    bson_destroy(&new);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes input = bytes_of(data, len), spec = fuzz_next_document(&input), document = fuzz_next_document(&input);
    struct bytes conditions = fuzz_next_document(&input), options_document = fuzz_next_document(&input);
    struct update_options options = { 0 };
    struct element array_filters, pipeline;
    struct filter *filter = NULL;
    struct update *update = NULL;
    struct error err = { 0 };
    bson_t stored;
    bool has_filter = conditions.len && filter_compile(conditions, &filter, &err), matches = false;
    options.filter = filter;
    if (options_document.len && element_find(options_document, "arrayFilters", 12, &array_filters) && array_filters.type == BSON_TYPE_ARRAY)
        options.array_filters = array_filters.value;
    struct bytes compiled_spec = spec;
    if (options_document.len && element_find(options_document, "pipeline", 8, &pipeline) && pipeline.type == BSON_TYPE_ARRAY) {
        compiled_spec = pipeline.value;
        options.is_pipeline = true;
    }
    bool compiled = spec.len && update_compile(compiled_spec, &options, &update, &err);
    must(compiled || !spec.len || is_refusal(&err));
    if (compiled && document.len && document_prepare(document, &stored, &err)) {
        struct expectations expected = expectations_of(spec, options.array_filters.len || has_filter);
        if (options.is_pipeline)
            expected = (struct expectations) { false, false }; /* $rand */
        if (!has_filter || (filter_matches(filter, bytes_of_image(&stored), &matches, &err) && matches))
            check_apply(update, expected, bytes_of_image(&stored));
        bson_destroy(&stored);
    }
    if (compiled && has_filter)
        check_insert(update, conditions);
    update_free(update);
    filter_free(filter);
    free((void *)spec.data);
    free((void *)document.data);
    free((void *)conditions.data);
    free((void *)options_document.data);
    return 0;
}
