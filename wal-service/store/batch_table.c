#include "wal-service/store/batch_table.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/memory.h"

#define uthash_malloc(size) mem_alloc(size)
#define uthash_fatal(what)  abort()
#include <uthash.h>

/* Batches stand in chunks, so that a table grows without copying and a project of one batch takes little: only
 * the first chunk is grown, the others are whole. */
enum { FIRST_CHUNK_BATCHES = 2 };

struct table_project {
    uint8_t **chunks;
    uint32_t n_batches;
    uint32_t n_chunks, chunks_capacity, first_chunk_capacity;
    uint64_t last_lsn;
    uint8_t *id;
    size_t id_len;
};

struct posting {
    UT_hash_handle hh;
    uint8_t *numbers;
    uint32_t n, capacity;
    uint32_t key_len;
    uint8_t key[];
};

struct batch_table {
    struct table_project *projects;
    uint32_t n_projects, projects_capacity;
    struct posting *postings;
    size_t memory;
};

enum { PLACE_OF_KIND = 4, PLACE_OF_BRANCH_LENGTH = 5, PLACE_OF_BRANCH = 6 };
enum { POSTING_KEY_BYTES = PLACE_OF_BRANCH + MAX_BRANCH_ID_BYTES + MAX_COLLECTION_ID_BYTES };
enum { KIND_BRANCH, KIND_COLLECTION };

struct batch_table *batch_table_new(void)
{
    struct batch_table *table = mem_zalloc(sizeof *table);
    table->memory = sizeof *table;
    return table;
}

void batch_table_free(struct batch_table *table)
{
    if (!table)
        return;
    for (uint32_t i = 0; i < table->n_projects; i++) {
        struct table_project *project = &table->projects[i];
        for (uint32_t c = 0; c < project->n_chunks; c++)
            free(project->chunks[c]);
        free(project->chunks);
        free(project->id);
    }
    free(table->projects);
    struct posting *posting, *next;
    HASH_ITER(hh, table->postings, posting, next)
    {
        HASH_DEL(table->postings, posting);
        free(posting->numbers);
        free(posting);
    }
    free(table);
}

uint32_t batch_table_add_project(struct batch_table *table, struct bytes id)
{
    if (table->n_projects == table->projects_capacity) {
        uint32_t capacity = table->projects_capacity ? 2 * table->projects_capacity : 1;
        table->projects = mem_realloc(table->projects, capacity * sizeof table->projects[0]);
        table->memory += (capacity - table->projects_capacity) * sizeof table->projects[0];
        table->projects_capacity = capacity;
    }
    struct table_project *project = &table->projects[table->n_projects];
    *project = (struct table_project) { .id = mem_alloc(id.len + 1), .id_len = id.len };
    if (id.len)
        memcpy(project->id, id.data, id.len);
    table->memory += id.len + 1;
    return table->n_projects++;
}

/* The record of one more batch. */
static uint8_t *add_record(struct batch_table *table, struct table_project *project)
{
    uint32_t i = project->n_batches;
    assert(i < UINT32_MAX);
    if (i < CHUNK_BATCHES) {
        if (i == project->first_chunk_capacity) {
            uint32_t capacity = i ? 2 * i : FIRST_CHUNK_BATCHES;
            if (project->n_chunks == 0) {
                project->chunks = mem_alloc(sizeof project->chunks[0]);
                project->chunks[0] = NULL;
                project->n_chunks = project->chunks_capacity = 1;
                table->memory += sizeof project->chunks[0];
            }
            project->chunks[0] = mem_realloc(project->chunks[0], (size_t)capacity * BATCH_RECORD_BYTES);
            table->memory += (size_t)(capacity - i) * BATCH_RECORD_BYTES;
            project->first_chunk_capacity = capacity;
        }
    } else if (i % CHUNK_BATCHES == 0) {
        if (project->n_chunks == project->chunks_capacity) {
            uint32_t capacity = 2 * project->chunks_capacity;
            project->chunks = mem_realloc(project->chunks, capacity * sizeof project->chunks[0]);
            table->memory += (capacity - project->chunks_capacity) * sizeof project->chunks[0];
            project->chunks_capacity = capacity;
        }
        project->chunks[project->n_chunks++] = mem_alloc(CHUNK_BATCHES * BATCH_RECORD_BYTES);
        table->memory += CHUNK_BATCHES * BATCH_RECORD_BYTES;
    }
    project->n_batches++;
    return project->chunks[i / CHUNK_BATCHES] + (size_t)(i % CHUNK_BATCHES) * BATCH_RECORD_BYTES;
}

/* NULL collection: of the branch as a whole. The length says where the branch ends and the collection begins. */
static size_t posting_key(uint32_t project, struct bytes branch_id, const struct bytes *collection, uint8_t key[POSTING_KEY_BYTES])
{
    put_u32(key, project);
    key[PLACE_OF_KIND] = collection ? KIND_COLLECTION : KIND_BRANCH;
    key[PLACE_OF_BRANCH_LENGTH] = (uint8_t)branch_id.len;
    size_t len = PLACE_OF_BRANCH;
    if (branch_id.len)
        memcpy(key + len, branch_id.data, branch_id.len);
    len += branch_id.len;
    if (collection && collection->len)
        memcpy(key + len, collection->data, collection->len);
    return len + (collection ? collection->len : 0);
}

static void add_to_posting(struct batch_table *table, uint32_t project, struct bytes branch_id, const struct bytes *collection,
                           uint32_t batch)
{
    uint8_t key[POSTING_KEY_BYTES];
    size_t len = posting_key(project, branch_id, collection, key);
    struct posting *posting;
    HASH_FIND(hh, table->postings, key, len, posting);
    if (!posting) {
        posting = mem_zalloc(sizeof *posting + len);
        posting->key_len = (uint32_t)len;
        memcpy(posting->key, key, len);
        HASH_ADD_KEYPTR(hh, table->postings, posting->key, len, posting);
        table->memory += sizeof *posting + len;
    }
    if (posting->n > 0 && get_u32(posting->numbers + 4 * (size_t)(posting->n - 1)) == batch)
        return; /* a second run of it in the same batch */
    if (posting->n == posting->capacity) {
        uint32_t capacity = posting->capacity + posting->capacity / 2 + 1;
        posting->numbers = mem_realloc(posting->numbers, 4 * (size_t)capacity);
        table->memory += 4 * (size_t)(capacity - posting->capacity);
        posting->capacity = capacity;
    }
    put_u32(posting->numbers + 4 * (size_t)posting->n++, batch);
}

void batch_table_add(struct batch_table *table, uint32_t number, const struct frame *frame, uint32_t offset, uint32_t length)
{
    struct table_project *project = &table->projects[number];
    uint32_t batch = project->n_batches;
    assert(batch == 0 || frame->first_lsn == project->last_lsn + 1);
    uint8_t *record = add_record(table, project);
    put_u64(record, frame->first_lsn);
    put_u64(record + 8, frame->timestamp);
    put_u32(record + 16, offset);
    put_u32(record + 20, length);
    project->last_lsn = frame_last_lsn(frame);
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        add_to_posting(table, number, run->branch_id, NULL, batch);
        add_to_posting(table, number, run->branch_id, &run->collection, batch);
    }
}

void batch_table_view(const struct batch_table *table, uint32_t number, struct batch_view *view)
{
    const struct table_project *project = &table->projects[number];
    *view = (struct batch_view) { .chunks = project->chunks, .n = project->n_batches, .last_lsn = project->last_lsn };
}

bool batch_table_find(const struct batch_table *table, uint32_t project, struct bytes branch_id, const struct bytes *collection,
                      struct batch_list *list)
{
    if (branch_id.len > MAX_BRANCH_ID_BYTES || (collection && collection->len > MAX_COLLECTION_ID_BYTES))
        return false;
    uint8_t key[POSTING_KEY_BYTES];
    size_t len = posting_key(project, branch_id, collection, key);
    struct posting *posting;
    HASH_FIND(hh, table->postings, key, len, posting);
    if (posting)
        *list = (struct batch_list) { posting->numbers, posting->n };
    return posting != NULL;
}

size_t batch_table_memory(const struct batch_table *table)
{
    return table->memory + (table->postings ? table->postings->hh.tbl->num_buckets * sizeof(UT_hash_bucket) : 0);
}

uint32_t batch_table_projects(const struct batch_table *table)
{
    return table->n_projects;
}

struct bytes batch_table_project_id(const struct batch_table *table, uint32_t project)
{
    return bytes_of(table->projects[project].id, table->projects[project].id_len);
}

static int compare_postings(const void *left, const void *right)
{
    const struct batch_posting *a = left, *b = right;
    if (a->project != b->project)
        return a->project < b->project ? -1 : 1;
    int order = bytes_compare(a->branch_id, b->branch_id);
    if (order == 0 && a->any_collection != b->any_collection)
        order = a->any_collection ? -1 : 1;
    return order ? order : bytes_compare(a->collection, b->collection);
}

struct batch_posting *batch_table_postings(const struct batch_table *table, uint32_t *n)
{
    uint32_t count = HASH_COUNT(table->postings);
    struct batch_posting *all = mem_alloc((count + 1) * sizeof all[0]), *next = all;
    for (const struct posting *posting = table->postings; posting; posting = posting->hh.next) {
        size_t branch = posting->key[PLACE_OF_BRANCH_LENGTH];
        *next++ = (struct batch_posting) {
            .project = get_u32(posting->key),
            .any_collection = posting->key[PLACE_OF_KIND] == KIND_BRANCH,
            .branch_id = bytes_of(posting->key + PLACE_OF_BRANCH, branch),
            .collection = bytes_of(posting->key + PLACE_OF_BRANCH + branch, posting->key_len - PLACE_OF_BRANCH - branch),
            .batches = { posting->numbers, posting->n },
        };
    }
    qsort(all, count, sizeof all[0], compare_postings);
    *n = count;
    return all;
}
