#include "cli/dump/metadata.h"

#include <stdio.h>
#include <string.h>

#include "common/bson/ejson.h"
#include "common/bson/element.h"

void metadata_judge_name(struct dump_collection *collection)
{
    if (strncmp(collection->name, "system.", 7) == 0)
        collection->not_taken = "a system collection";
}

static bool is_named(const struct element *element, const char *name)
{
    return element_is_named(element, name, strlen(name));
}

static bool is_true(const struct element *element)
{
    return element->type == BSON_TYPE_BOOL ? element->value.data[0] != 0 : element->type == BSON_TYPE_INT32 && element_int32(element) != 0;
}

/* Those that make the collection another thing, and those that only limit or describe it. */
bool metadata_judge_options(struct bytes options, struct arena *arena, struct dump_collection *collection, struct error *err)
{
    /* kept by MongoDB for itself: nothing is lost with them */
    static const char *const harmless[] = { "uuid", "autoIndexId", "idIndex", "flags", "size", "max", "storageEngine" };
    struct element_reader reader;
    struct element option;
    struct buffer names = { 0 };
    element_reader_init(&reader, options);
    while (element_next(&reader, &option)) {
        bool said = false;
        if (is_named(&option, "viewOn"))
            collection->not_taken = "a view";
        else if (is_named(&option, "timeseries"))
            collection->not_taken = "a time series";
        else if (is_named(&option, "capped")) {
            if (is_true(&option) && !collection->not_taken)
                collection->not_taken = "capped";
            said = true;
        }
        for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
            said = said || is_named(&option, harmless[i]);
        if (said)
            continue;
        buffer_append(&names, ", ", names.len ? 2 : 0);
        buffer_append(&names, option.name, option.name_len);
    }
    collection->options = names.len ? arena_strndup(arena, (const char *)names.data, names.len) : "";
    bool ok = (collection->options && !names.failed) || error_out_of_memory(err);
    buffer_destroy(&names);
    return ok;
}

static bool take_indexes(struct bytes array, struct arena *arena, struct dump_collection *collection, struct error *err)
{
    struct element_reader reader;
    struct element item;
    size_t n = 0;
    element_reader_init(&reader, array);
    while (element_next(&reader, &item))
        n++;
    struct bytes *indexes = arena_alloc(arena, (n + 1) * sizeof *indexes);
    if (!indexes)
        return error_out_of_memory(err);
    n = 0;
    element_reader_init(&reader, array);
    while (element_next(&reader, &item)) {
        if (item.type != BSON_TYPE_DOCUMENT)
            return error_set(err, ERROR_DATA_LOSS, "indexes holds what is no document");
        indexes[n] = bytes_of(arena_copy(arena, item.value.data, item.value.len), item.value.len);
        if (!indexes[n++].data)
            return error_out_of_memory(err);
    }
    collection->indexes = indexes;
    collection->n_indexes = n;
    return true;
}

static bool take_field(const struct element *field, bool replace_name, struct arena *arena, struct dump_collection *collection,
                       struct error *err)
{
    if (is_named(field, "options") && field->type == BSON_TYPE_DOCUMENT)
        return metadata_judge_options(field->value, arena, collection, err);
    if (is_named(field, "indexes") && field->type == BSON_TYPE_ARRAY)
        return take_indexes(field->value, arena, collection, err);
    if (field->type != BSON_TYPE_UTF8)
        return true;
    struct bytes text = element_string(field);
    if (is_named(field, "type") && bytes_equal(text, bytes_of_string("view")))
        collection->not_taken = "a view";
    if (is_named(field, "type") && bytes_equal(text, bytes_of_string("timeseries")))
        collection->not_taken = "a time series";
    if (is_named(field, "collectionName") && text.len > 0 && replace_name) {
        if (memchr(text.data, 0, text.len))
            return error_set(err, ERROR_DATA_LOSS, "the name of the collection holds a NUL");
        collection->name = arena_strndup(arena, (const char *)text.data, text.len);
        return collection->name || error_out_of_memory(err);
    }
    return true;
}

bool metadata_parse(struct bytes text, bool replace_name, struct arena *arena, struct dump_collection *collection, struct error *err)
{
    bson_t document;
    struct error wrong;
    collection->options = "";
    if (text.len > 0) {
        if (!ejson_parse(text, &document, &wrong))
            return error_set(err, ERROR_DATA_LOSS, "%s", wrong.message);
        struct element_reader reader;
        struct element field;
        bool ok = true;
        element_reader_init(&reader, bytes_of(bson_get_data(&document), document.len));
        while (ok && element_next(&reader, &field))
            ok = take_field(&field, replace_name, arena, collection, err);
        bson_destroy(&document);
        if (!ok)
            return false;
    }
    metadata_judge_name(collection);
    return true;
}

bool metadata_format(const char *name, const struct bytes *indexes, size_t n, struct buffer *text, struct error *err)
{
    bson_t document = BSON_INITIALIZER, part, definition;
    bson_append_document_begin(&document, "options", -1, &part);
    bson_append_document_end(&document, &part);
    bson_append_array_begin(&document, "indexes", -1, &part);
    for (size_t i = 0; i <= n; i++) {
        char key[16];
        snprintf(key, sizeof key, "%zu", i);
        if (i > 0) {
            if (bson_init_static(&definition, indexes[i - 1].data, indexes[i - 1].len))
                bson_append_document(&part, key, -1, &definition);
            continue;
        }
        bson_t fields;
        bson_append_document_begin(&part, key, -1, &definition);
        BSON_APPEND_INT32(&definition, "v", 2);
        bson_append_document_begin(&definition, "key", -1, &fields);
        BSON_APPEND_INT32(&fields, "_id", 1);
        bson_append_document_end(&definition, &fields);
        BSON_APPEND_UTF8(&definition, "name", "_id_");
        bson_append_document_end(&part, &definition);
    }
    bson_append_array_end(&document, &part);
    BSON_APPEND_UTF8(&document, "collectionName", name);
    BSON_APPEND_UTF8(&document, "type", "collection");
    bool ok = ejson_format(bytes_of(bson_get_data(&document), document.len), EJSON_CANONICAL, text, err);
    bson_destroy(&document);
    return ok;
}
