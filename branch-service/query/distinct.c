#include "branch-service/query/distinct.h"

#include <stdlib.h>
#include <string.h>

#include "branch-service/query/aggregate/value_hash.h"
#include "branch-service/query/query_error.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/base/meter.h"
#include "common/bson/builder.h"
#include "common/bson/value_compare.h"

/* What a value takes beside itself: its type and its name, of at most seven digits, in the array. */
enum { VALUE_OVERHEAD = 9 };

struct distinct {
    const char *path;
    struct element *values; /* as they came */
    uint64_t *hashes;
    size_t n, capacity;
    size_t *slots; /* by hash: a value's index and one more, or 0 */
    size_t n_slots;
    size_t bytes;
    struct meter_share share;
};

struct distinct *distinct_new(const char *path)
{
    struct distinct *distinct = mem_zalloc(sizeof *distinct);
    distinct->path = path;
    distinct->share = meter_share_new();
    return distinct;
}

void distinct_free(struct distinct *distinct)
{
    if (!distinct)
        return;
    free(distinct->values);
    free(distinct->hashes);
    free(distinct->slots);
    meter_share_clear(&distinct->share);
    free(distinct);
}

/* ---- the set ---------------------------------------------------------------------------------------- */

/* The slot of an equal value, or the empty one for it. */
static size_t *find_slot(const struct distinct *distinct, const struct element *value, uint64_t hash)
{
    for (size_t i = hash;; i++) {
        size_t *slot = &distinct->slots[i & (distinct->n_slots - 1)];
        if (*slot == 0 || (distinct->hashes[*slot - 1] == hash && value_compare_elements(&distinct->values[*slot - 1], value) == 0))
            return slot;
    }
}

static bool grow(struct distinct *distinct, struct error *err)
{
    size_t capacity = distinct->capacity ? 2 * distinct->capacity : 64;
    if (!meter_hold(&distinct->share, (capacity - distinct->capacity) * (sizeof *distinct->values + sizeof(uint64_t) + 2 * sizeof(size_t))))
        return error_out_of_memory(err);
    struct element *values = realloc(distinct->values, capacity * sizeof *values);
    if (values)
        distinct->values = values;
    uint64_t *hashes = realloc(distinct->hashes, capacity * sizeof *hashes);
    if (hashes)
        distinct->hashes = hashes;
    size_t *slots = calloc(2 * capacity, sizeof *slots);
    if (!values || !hashes || !slots) {
        free(slots);
        return error_out_of_memory(err);
    }
    free(distinct->slots);
    distinct->slots = slots;
    distinct->n_slots = 2 * capacity;
    distinct->capacity = capacity;
    for (size_t i = 0; i < distinct->n; i++)
        *find_slot(distinct, &distinct->values[i], distinct->hashes[i]) = i + 1;
    return true;
}

static bool add_value(struct distinct *distinct, const struct element *value, struct error *err)
{
    uint64_t hash = value_hash(value);
    if (distinct->n == distinct->capacity && !grow(distinct, err))
        return false;
    size_t *slot = find_slot(distinct, value, hash);
    if (*slot)
        return true;
    distinct->bytes += value->value.len + VALUE_OVERHEAD;
    if (distinct->bytes > MAX_DOCUMENT_BYTES)
        return query_error(err, 17217, "distinct too big, 16mb cap: the values of '%s'", distinct->path);
    distinct->values[distinct->n] = *value;
    distinct->hashes[distinct->n] = hash;
    *slot = ++distinct->n;
    return true;
}

/* ---- the path --------------------------------------------------------------------------------------- */

static bool add_values(struct distinct *distinct, const struct element *value, struct error *err)
{
    struct element_reader reader;
    struct element e;
    if (value->type != BSON_TYPE_ARRAY)
        return add_value(distinct, value, err);
    element_reader_init(&reader, value->value);
    while (element_next(&reader, &e)) {
        if (!add_value(distinct, &e, err))
            return false;
    }
    return true;
}

static bool begins_with_index(const char *path)
{
    size_t digits = strspn(path, "0123456789");
    return digits > 0 && (path[digits] == '.' || path[digits] == '\0');
}

/* Not as filters and sorts walk: a name with dots in it is found, too, and where an array is entered by an index, no
 * element is searched for a field of that name. */
static bool walk(struct distinct *distinct, struct bytes document, const char *path, struct error *err)
{
    const char *dot = strchr(path, '.');
    struct element_reader reader;
    struct element e, inner;
    if (element_find(document, path, strlen(path), &e))
        return add_values(distinct, &e, err);
    if (!dot || !element_find(document, path, (size_t)(dot - path), &e))
        return true;
    if (e.type == BSON_TYPE_DOCUMENT || (e.type == BSON_TYPE_ARRAY && begins_with_index(dot + 1)))
        return walk(distinct, e.value, dot + 1, err);
    if (e.type != BSON_TYPE_ARRAY)
        return true;
    element_reader_init(&reader, e.value);
    while (element_next(&reader, &inner)) {
        if ((inner.type == BSON_TYPE_DOCUMENT || inner.type == BSON_TYPE_ARRAY) && !walk(distinct, inner.value, dot + 1, err))
            return false;
    }
    return true;
}

bool distinct_add(struct distinct *distinct, struct bytes document, struct error *err)
{
    return walk(distinct, document, distinct->path, err);
}

bool distinct_write(struct distinct *distinct, struct buffer *out, struct error *err)
{
    struct builder builder;
    struct bytes document;
    builder_init(&builder);
    builder_name(&builder, "values", 6);
    builder_begin(&builder, BSON_TYPE_ARRAY);
    if (distinct->n) /* the set goes by the values' places no more */
        qsort(distinct->values, distinct->n, sizeof *distinct->values, value_compare_items);
    for (size_t i = 0; i < distinct->n; i++) {
        builder_index(&builder, (uint32_t)i);
        builder_value(&builder, distinct->values[i].type, distinct->values[i].value);
    }
    builder_end(&builder);
    bool ok = builder_finish(&builder, &document, err);
    if (ok) {
        buffer_append(out, document.data, document.len);
        ok = !out->failed || error_out_of_memory(err);
    }
    builder_destroy(&builder);
    return ok;
}
