/* Many documents in order: all of them, or the first n in a heap whose top is the last of them. */
#include <stdlib.h>

#include "branch-service/query/query_error.h"
#include "branch-service/query/sort.h"
#include "common/base/memory.h"
#include "common/base/meter.h"

struct entry {
    uint64_t number; /* in the order in which they came */
    struct sort_key *key;
    struct bytes document; /* both behind this, in the same memory */
};

struct sorter {
    const struct sort *sort;
    size_t limit, memory_limit;
    struct meter_share share;
    uint64_t n_added;
    struct entry **entries; /* with a limit, a heap */
    size_t n, capacity, next;
    bool sorted;
};

struct sorter *sorter_new(const struct sort *sort, size_t limit, size_t memory_bytes)
{
    struct sorter *sorter = mem_zalloc(sizeof *sorter);
    sorter->sort = sort;
    sorter->limit = limit;
    sorter->memory_limit = memory_bytes;
    sorter->share = meter_share_new();
    return sorter;
}

void sorter_free(struct sorter *sorter)
{
    if (!sorter)
        return;
    for (size_t i = 0; i < sorter->n; i++)
        free(sorter->entries[i]);
    free(sorter->entries);
    meter_share_clear(&sorter->share);
    free(sorter);
}

static size_t entry_size(const struct sorter *sorter, struct bytes document)
{
    return sizeof(struct entry) + sort_key_count(sorter->sort) * sizeof(struct element) + document.len;
}

static bool over_limit(const struct sorter *sorter, struct error *err)
{
    return query_error(err, MONGO_QUERY_EXCEEDED_MEMORY_LIMIT,
                       "Sort exceeded memory limit of %zu bytes, but did not opt in to external sorting", sorter->memory_limit);
}

/* NULL: no memory. The key of the copy points into it. */
static struct entry *copy_entry(struct sorter *sorter, const struct sort_key *key, struct bytes document, struct error *err)
{
    size_t n = sort_key_count(sorter->sort), size = entry_size(sorter, document);
    if (size > sorter->memory_limit - sorter->share.held) {
        over_limit(sorter, err);
        return NULL;
    }
    struct entry *entry = meter_hold(&sorter->share, size) ? mem_try_alloc(size) : NULL;
    if (!entry) {
        error_out_of_memory(err);
        return NULL;
    }
    entry->number = sorter->n_added;
    entry->key = (struct sort_key *)(entry + 1);
    uint8_t *copy = (uint8_t *)(entry + 1) + n * sizeof(struct element);
    memcpy(copy, document.data, document.len);
    entry->document = bytes_of(copy, document.len);
    for (size_t i = 0; i < n; i++) {
        struct element value = key->values[i];
        if (value.value.len) /* what is empty may be no part of the document */
            value.value.data = copy + (value.value.data - document.data);
        value.name = "";
        entry->key->values[i] = value;
    }
    return entry;
}

static int compare(const struct sorter *sorter, const struct entry *a, const struct entry *b)
{
    int order = sort_compare(sorter->sort, a->key, b->key);
    return order ? order : (a->number > b->number) - (a->number < b->number);
}

static void swap(struct sorter *sorter, size_t a, size_t b)
{
    struct entry *kept = sorter->entries[a];
    sorter->entries[a] = sorter->entries[b];
    sorter->entries[b] = kept;
}

static void sift_up(struct sorter *sorter, size_t i)
{
    for (; i > 0 && compare(sorter, sorter->entries[(i - 1) / 2], sorter->entries[i]) < 0; i = (i - 1) / 2)
        swap(sorter, i, (i - 1) / 2);
}

static void sift_down(struct sorter *sorter)
{
    for (size_t i = 0;;) {
        size_t left = 2 * i + 1, right = left + 1, largest = i;
        if (left < sorter->n && compare(sorter, sorter->entries[left], sorter->entries[largest]) > 0)
            largest = left;
        if (right < sorter->n && compare(sorter, sorter->entries[right], sorter->entries[largest]) > 0)
            largest = right;
        if (largest == i)
            return;
        swap(sorter, i, largest);
        i = largest;
    }
}

static bool make_room(struct sorter *sorter, struct error *err)
{
    if (sorter->n < sorter->capacity)
        return true;
    size_t capacity = sorter->capacity ? 2 * sorter->capacity : 64, more = (capacity - sorter->capacity) * sizeof *sorter->entries;
    if (more > sorter->memory_limit - sorter->share.held)
        return over_limit(sorter, err);
    struct entry **entries = meter_hold(&sorter->share, more) ? realloc(sorter->entries, capacity * sizeof *entries) : NULL;
    if (!entries)
        return error_out_of_memory(err);
    sorter->entries = entries;
    sorter->capacity = capacity;
    return true;
}

bool sorter_add(struct sorter *sorter, struct bytes document, struct error *err)
{
    struct sort_key key;
    if (!sort_key_of(sorter->sort, document, &key, err))
        return false;
    bool full = sorter->limit && sorter->n == sorter->limit;
    sorter->n_added++;
    if (full) {
        /* equal to the last that is kept is behind it */
        if (sort_compare(sorter->sort, &key, sorter->entries[0]->key) >= 0)
            return true;
        meter_drop(&sorter->share, entry_size(sorter, sorter->entries[0]->document));
        free(sorter->entries[0]);
        swap(sorter, 0, --sorter->n);
        sift_down(sorter);
    }
    if (!make_room(sorter, err))
        return false;
    struct entry *entry = copy_entry(sorter, &key, document, err);
    if (!entry)
        return false;
    sorter->entries[sorter->n++] = entry;
    if (sorter->limit)
        sift_up(sorter, sorter->n - 1);
    return true;
}

static int compare_entries(const void *a, const void *b, void *ctx)
{
    return compare(ctx, *(struct entry *const *)a, *(struct entry *const *)b);
}

bool sorter_next(struct sorter *sorter, struct bytes *document)
{
    if (!sorter->sorted && sorter->n)
        qsort_r(sorter->entries, sorter->n, sizeof *sorter->entries, compare_entries, sorter);
    sorter->sorted = true;
    if (sorter->next == sorter->n)
        return false;
    *document = sorter->entries[sorter->next++]->document;
    return true;
}
