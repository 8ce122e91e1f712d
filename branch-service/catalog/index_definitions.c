#include "branch-service/catalog/index_definitions.h"

#include <bson/bson.h>

#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "common/bson/element.h"

struct definition {
    struct element name, key;
};

static bool check_definition(struct bytes document, size_t number, struct definition *definition, struct error *err)
{
    if (!bson_check(document, err))
        return error_wrap(err, "index definition %zu", number);
    if (!element_find(document, "name", 4, &definition->name) || definition->name.type != BSON_TYPE_UTF8 ||
        element_string(&definition->name).len == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "index definition %zu has no name", number);
    struct bytes name = element_string(&definition->name);
    if (!element_find(document, "key", 3, &definition->key) || definition->key.type != BSON_TYPE_DOCUMENT || definition->key.value.len <= 5)
        return error_set(err, ERROR_INVALID_ARGUMENT, "index definition %zu ('%.*s') has no key", number, (int)name.len,
                         (const char *)name.data);
    return true;
}

static bool is_of_id(const struct definition *definition)
{
    struct element_reader reader;
    struct element field, more;
    element_reader_init(&reader, definition->key.value);
    return element_next(&reader, &field) && element_is_named(&field, "_id", 3) && element_is_number(&field) &&
           !element_next(&reader, &more);
}

static bool check_distinct(const struct definition *definitions, size_t n, struct error *err)
{
    const struct definition *last = &definitions[n - 1];
    struct bytes name = element_string(&last->name);
    for (size_t i = 0; i + 1 < n; i++)
        if (bytes_equal(element_string(&definitions[i].name), name))
            return error_set(err, ERROR_INVALID_ARGUMENT, "two index definitions have the name '%.*s'", (int)name.len,
                             (const char *)name.data);
    return true;
}

bool index_definitions_pack(const struct bytes *documents, size_t n, struct arena *arena, struct bytes *array, struct error *err)
{
    struct definition definitions[MAX_INDEX_DEFINITIONS];
    size_t kept = 0, total = 0;
    bson_t packed = BSON_INITIALIZER;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        struct definition definition;
        bson_t document;
        char key[16];
        ok = check_definition(documents[i], i, &definition, err);
        if (!ok || is_of_id(&definition))
            continue;
        total += documents[i].len;
        if (kept == MAX_INDEX_DEFINITIONS || total > MAX_INDEX_DEFINITION_BYTES) {
            ok = error_set(err, ERROR_INVALID_ARGUMENT, "the index definitions are too many: at most %d, and %d bytes in all",
                           MAX_INDEX_DEFINITIONS, MAX_INDEX_DEFINITION_BYTES);
            continue;
        }
        definitions[kept++] = definition;
        snprintf(key, sizeof key, "%zu", kept - 1);
        ok = check_distinct(definitions, kept, err) && bson_init_static(&document, documents[i].data, documents[i].len) &&
             bson_append_document(&packed, key, -1, &document);
    }
    if (ok && kept == 0)
        *array = (struct bytes) { 0 };
    if (ok && kept > 0) {
        *array = bytes_of(arena_copy(arena, bson_get_data(&packed), packed.len), packed.len);
        ok = array->data || error_out_of_memory(err);
    }
    bson_destroy(&packed);
    return ok;
}

bool index_definitions_unpack(struct bytes array, struct arena *arena, struct bytes **definitions, size_t *n, struct error *err)
{
    struct element_reader reader;
    struct element item;
    *n = 0;
    *definitions = arena_alloc(arena, MAX_INDEX_DEFINITIONS * sizeof **definitions);
    if (!*definitions)
        return error_out_of_memory(err);
    if (!array.len)
        return true;
    element_reader_init(&reader, array);
    while (element_next(&reader, &item)) {
        if (item.type != BSON_TYPE_DOCUMENT || *n == MAX_INDEX_DEFINITIONS)
            return error_set(err, ERROR_DATA_LOSS, "the catalog holds index definitions that cannot be read");
        (*definitions)[(*n)++] = item.value;
    }
    return true;
}
