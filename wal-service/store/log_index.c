#include "wal-service/store/log_index.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/memory.h"

#define uthash_malloc(size) mem_alloc(size)
#define uthash_fatal(what)  abort()
#include <uthash.h>

/* Batches stand in chunks, so that a long log grows without copying and a project of one batch takes little:
 * only the first chunk is grown, the others are whole. */
enum { CHUNK_BATCHES = 256, FIRST_CHUNK_BATCHES = 2 };

struct batch_entry {
    uint64_t first_lsn;
    uint64_t timestamp;
    struct frame_place place;
};

struct incarnation_end {
    uint32_t incarnation;
    uint64_t lsn; /* head of the project when the incarnation ended; so far, for the current one */
};

struct project_index {
    UT_hash_handle hh;
    uint32_t number;
    uint32_t n_batches;
    uint32_t n_chunks, chunks_capacity, first_chunk_capacity;
    struct batch_entry **chunks;
    uint64_t last_lsn;
    struct posting **branches; /* in the order of their ids up to n_sorted; sorted when somebody lists them */
    size_t n_branches, n_sorted, branches_capacity;
    struct incarnation_end *ends; /* of the incarnations that wrote here, in order */
    uint32_t n_ends, ends_capacity;
    uint64_t claim; /* the claim that last touched this project, and the LSN that it has reached */
    uint64_t claimed_lsn;
    size_t id_len;
    uint8_t id[];
};

/* The batches of a branch, or of a collection on a branch, as rising numbers in their project. */
struct posting {
    UT_hash_handle hh;
    uint64_t last_lsn;
    uint32_t *batches;
    uint32_t n, capacity;
    uint32_t key_len;
    uint8_t key[];
};

enum posting_kind { POSTING_BRANCH, POSTING_COLLECTION };
enum { POSTING_KEY_BYTES = 6 + MAX_BRANCH_ID_BYTES + MAX_COLLECTION_ID_BYTES };

void log_index_init(struct log_index *index)
{
    *index = (struct log_index) { 0 };
    mutex_init(&index->lock, 45);
}

void log_index_destroy(struct log_index *index)
{
    struct project_index *project, *next_project;
    HASH_ITER(hh, index->projects, project, next_project)
    {
        HASH_DEL(index->projects, project);
        for (uint32_t i = 0; i < project->n_chunks; i++)
            free(project->chunks[i]);
        free(project->chunks);
        free(project->ends);
        free(project->branches);
        free(project);
    }
    struct posting *posting, *next_posting;
    HASH_ITER(hh, index->postings, posting, next_posting)
    {
        HASH_DEL(index->postings, posting);
        free(posting->batches);
        free(posting);
    }
    free(index->incarnations);
    mutex_destroy(&index->lock);
}

static struct project_index *find_project(const struct log_index *index, struct bytes id)
{
    struct project_index *project;
    HASH_FIND(hh, index->projects, id.data, id.len, project);
    return project;
}

static struct project_index *find_or_add_project(struct log_index *index, struct bytes id)
{
    struct project_index *project = find_project(index, id);
    if (project)
        return project;
    project = mem_zalloc(sizeof *project + id.len);
    project->number = index->next_project++;
    project->id_len = id.len;
    memcpy(project->id, id.data, id.len);
    HASH_ADD_KEYPTR(hh, index->projects, project->id, id.len, project);
    index->memory += sizeof *project + id.len;
    return project;
}

static size_t posting_key(const struct project_index *project, enum posting_kind kind, struct bytes branch_id, struct bytes collection,
                          uint8_t key[POSTING_KEY_BYTES])
{
    put_u32(key, project->number);
    key[4] = (uint8_t)kind;
    key[5] = (uint8_t)branch_id.len; /* says where the branch ends and the collection begins */
    if (branch_id.len)
        memcpy(key + 6, branch_id.data, branch_id.len);
    if (collection.len)
        memcpy(key + 6 + branch_id.len, collection.data, collection.len);
    return 6 + branch_id.len + collection.len;
}

static struct posting *find_posting(const struct log_index *index, const struct project_index *project, enum posting_kind kind,
                                    struct bytes branch_id, struct bytes collection)
{
    if (branch_id.len > MAX_BRANCH_ID_BYTES || collection.len > MAX_COLLECTION_ID_BYTES)
        return NULL;
    uint8_t key[POSTING_KEY_BYTES];
    size_t len = posting_key(project, kind, branch_id, collection, key);
    struct posting *posting;
    HASH_FIND(hh, index->postings, key, len, posting);
    return posting;
}

static void add_branch(struct log_index *index, struct project_index *project, struct posting *branch)
{
    if (project->n_branches == project->branches_capacity) {
        size_t capacity = project->branches_capacity ? 2 * project->branches_capacity : 2;
        project->branches = mem_realloc(project->branches, capacity * sizeof(struct posting *));
        index->memory += (capacity - project->branches_capacity) * sizeof(struct posting *);
        project->branches_capacity = capacity;
    }
    project->branches[project->n_branches++] = branch;
}

static void add_to_posting(struct log_index *index, struct project_index *project, enum posting_kind kind, struct bytes branch_id,
                           struct bytes collection, uint32_t batch, uint64_t last_lsn)
{
    uint8_t key[POSTING_KEY_BYTES];
    size_t len = posting_key(project, kind, branch_id, collection, key);
    struct posting *posting;
    HASH_FIND(hh, index->postings, key, len, posting);
    if (!posting) {
        posting = mem_zalloc(sizeof *posting + len);
        posting->key_len = (uint32_t)len;
        memcpy(posting->key, key, len);
        HASH_ADD_KEYPTR(hh, index->postings, posting->key, len, posting);
        index->memory += sizeof *posting + len;
        if (kind == POSTING_BRANCH)
            add_branch(index, project, posting);
    }
    posting->last_lsn = last_lsn;
    if (posting->n > 0 && posting->batches[posting->n - 1] == batch)
        return; /* a second run of it in the same batch */
    if (posting->n == posting->capacity) {
        uint32_t capacity = posting->capacity + posting->capacity / 2 + 1;
        posting->batches = mem_realloc(posting->batches, capacity * sizeof posting->batches[0]);
        index->memory += (capacity - posting->capacity) * sizeof posting->batches[0];
        posting->capacity = capacity;
    }
    posting->batches[posting->n++] = batch;
}

static struct batch_entry *batch_at(const struct project_index *project, uint32_t i)
{
    return &project->chunks[i / CHUNK_BATCHES][i % CHUNK_BATCHES];
}

static uint64_t batch_last(const struct project_index *project, uint32_t i)
{
    return i + 1 < project->n_batches ? batch_at(project, i + 1)->first_lsn - 1 : project->last_lsn;
}

/* Room for one more batch. */
static struct batch_entry *add_batch(struct log_index *index, struct project_index *project)
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
                index->memory += sizeof project->chunks[0];
            }
            project->chunks[0] = mem_realloc(project->chunks[0], capacity * sizeof(struct batch_entry));
            index->memory += (capacity - i) * sizeof(struct batch_entry);
            project->first_chunk_capacity = capacity;
        }
    } else if (i % CHUNK_BATCHES == 0) {
        if (project->n_chunks == project->chunks_capacity) {
            uint32_t capacity = 2 * project->chunks_capacity;
            project->chunks = mem_realloc(project->chunks, capacity * sizeof project->chunks[0]);
            index->memory += (capacity - project->chunks_capacity) * sizeof project->chunks[0];
            project->chunks_capacity = capacity;
        }
        project->chunks[project->n_chunks++] = mem_alloc(CHUNK_BATCHES * sizeof(struct batch_entry));
        index->memory += CHUNK_BATCHES * sizeof(struct batch_entry);
    }
    project->n_batches++;
    return batch_at(project, i);
}

static void note_incarnation_end(struct log_index *index, struct project_index *project, uint32_t incarnation)
{
    if (project->n_ends == 0 || project->ends[project->n_ends - 1].incarnation != incarnation) {
        if (project->n_ends == project->ends_capacity) {
            uint32_t capacity = project->ends_capacity ? 2 * project->ends_capacity : 1;
            project->ends = mem_realloc(project->ends, capacity * sizeof project->ends[0]);
            index->memory += (capacity - project->ends_capacity) * sizeof project->ends[0];
            project->ends_capacity = capacity;
        }
        project->ends[project->n_ends++] = (struct incarnation_end) { .incarnation = incarnation };
    }
    project->ends[project->n_ends - 1].lsn = project->last_lsn;
}

uint32_t log_index_begin_incarnation(struct log_index *index, const uint8_t incarnation[INCARNATION_BYTES])
{
    mutex_lock(&index->lock);
    uint32_t n = index->n_incarnations;
    if (n == 0 || memcmp(index->incarnations[n - 1], incarnation, INCARNATION_BYTES) != 0) {
        if (n == index->incarnations_capacity) {
            uint32_t capacity = n ? 2 * n : 8;
            index->incarnations = mem_realloc(index->incarnations, capacity * sizeof index->incarnations[0]);
            index->memory += (capacity - n) * sizeof index->incarnations[0];
            index->incarnations_capacity = capacity;
        }
        memcpy(index->incarnations[n++], incarnation, INCARNATION_BYTES);
        index->n_incarnations = n;
    }
    mutex_unlock(&index->lock);
    return n - 1;
}

bool log_index_claim(struct log_index *index, const struct frame *frames, size_t n)
{
    bool ok = true;
    mutex_lock(&index->lock);
    uint64_t claim = ++index->claims;
    for (size_t i = 0; i < n && ok; i++) {
        struct project_index *project = find_or_add_project(index, frames[i].project);
        if (project->claim != claim) {
            project->claim = claim;
            project->claimed_lsn = project->last_lsn;
        }
        ok = frames[i].first_lsn == project->claimed_lsn + 1;
        project->claimed_lsn = frame_last_lsn(&frames[i]);
    }
    mutex_unlock(&index->lock);
    return ok;
}

static void publish_locked(struct log_index *index, const struct frame *frame, struct frame_place place, uint32_t incarnation)
{
    struct project_index *project = find_or_add_project(index, frame->project);
    assert(frame->first_lsn == project->last_lsn + 1);
    uint32_t number = project->n_batches;
    index->n_projects += number == 0;
    *add_batch(index, project) = (struct batch_entry) {
        .first_lsn = frame->first_lsn,
        .timestamp = frame->timestamp,
        .place = place,
    };
    project->last_lsn = frame_last_lsn(frame);
    index->entries += frame->entries;
    note_incarnation_end(index, project, incarnation);
    uint64_t run_end = frame->first_lsn - 1;
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        run_end += run->entries;
        add_to_posting(index, project, POSTING_BRANCH, run->branch_id, bytes_of(NULL, 0), number, run_end);
        add_to_posting(index, project, POSTING_COLLECTION, run->branch_id, run->collection, number, run_end);
    }
}

void log_index_publish(struct log_index *index, const struct frame *frames, size_t n, uint32_t segment, uint32_t offset,
                       uint32_t incarnation)
{
    mutex_lock(&index->lock);
    for (size_t i = 0; i < n; i++) {
        uint32_t length = (uint32_t)frame_encoded_size(&frames[i]);
        publish_locked(index, &frames[i], (struct frame_place) { segment, offset, length }, incarnation);
        offset += length;
    }
    mutex_unlock(&index->lock);
}

void log_index_head(struct log_index *index, struct bytes project_id, struct log_head *head)
{
    *head = (struct log_head) { 0 };
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    if (project && project->n_batches > 0)
        *head = (struct log_head) { project->last_lsn, batch_at(project, project->n_batches - 1)->timestamp };
    mutex_unlock(&index->lock);
}

uint64_t log_index_branch_head(struct log_index *index, struct bytes project_id, struct bytes branch_id)
{
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    struct posting *posting = project ? find_posting(index, project, POSTING_BRANCH, branch_id, bytes_of(NULL, 0)) : NULL;
    uint64_t lsn = posting ? posting->last_lsn : 0;
    mutex_unlock(&index->lock);
    return lsn;
}

/* The first place in [0, n) of the list whose batch ends beyond lsn; list NULL: every batch. */
static uint32_t first_ending_after(const struct project_index *project, const uint32_t *list, uint32_t n, uint64_t lsn)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch_last(project, list ? list[middle] : middle) > lsn)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint64_t log_index_batch_end(struct log_index *index, struct bytes project_id, uint64_t lsn)
{
    uint64_t end = 0;
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    if (project) {
        uint32_t after = first_ending_after(project, NULL, project->n_batches, lsn);
        end = after > 0 ? batch_last(project, after - 1) : 0;
    }
    mutex_unlock(&index->lock);
    return end;
}

void log_index_find_time(struct log_index *index, struct bytes project_id, uint64_t micros, struct log_head *found)
{
    *found = (struct log_head) { 0 };
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    uint32_t low = 0, high = project ? project->n_batches : 0; /* the first batch later than that */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch_at(project, middle)->timestamp > micros)
            high = middle;
        else
            low = middle + 1;
    }
    if (low > 0)
        *found = (struct log_head) { batch_last(project, low - 1), batch_at(project, low - 1)->timestamp };
    mutex_unlock(&index->lock);
}

static struct bytes branch_id_of(const struct posting *branch)
{
    return bytes_of(branch->key + 6, branch->key_len - 6);
}

static int compare_branches(const void *a, const void *b)
{
    return bytes_compare(branch_id_of(*(struct posting *const *)a), branch_id_of(*(struct posting *const *)b));
}

bool log_index_list_branches(struct log_index *index, struct bytes project_id, struct bytes after, size_t max, struct arena *arena,
                             struct log_branch *branches, size_t *n, struct error *err)
{
    size_t found = 0;
    bool ok = true;
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    if (project && project->n_sorted < project->n_branches) {
        qsort(project->branches, project->n_branches, sizeof(struct posting *), compare_branches);
        project->n_sorted = project->n_branches;
    }
    size_t low = 0, high = project ? project->n_branches : 0, end = high;
    while (low < high && after.len > 0) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(branch_id_of(project->branches[middle]), after) > 0)
            high = middle;
        else
            low = middle + 1;
    }
    for (; low < end && found < max && ok; low++) {
        struct bytes id = branch_id_of(project->branches[low]);
        const void *copy = arena_copy(arena, id.data, id.len);
        if (copy)
            branches[found++] = (struct log_branch) { bytes_of(copy, id.len), project->branches[low]->last_lsn };
        else
            ok = error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a list of branches");
    }
    mutex_unlock(&index->lock);
    if (ok)
        *n = found;
    return ok;
}

void log_index_incarnation(struct log_index *index, uint8_t out[INCARNATION_BYTES])
{
    mutex_lock(&index->lock);
    assert(index->n_incarnations > 0);
    memcpy(out, index->incarnations[index->n_incarnations - 1], INCARNATION_BYTES);
    mutex_unlock(&index->lock);
}

uint64_t log_index_known_through(struct log_index *index, struct bytes project_id, const uint8_t incarnation[INCARNATION_BYTES])
{
    uint64_t lsn = 0;
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    uint32_t i = index->n_incarnations;
    while (i > 0 && memcmp(index->incarnations[i - 1], incarnation, INCARNATION_BYTES) != 0)
        i--;
    if (project && i > 0) {
        uint32_t end = project->n_ends;
        while (end > 0 && project->ends[end - 1].incarnation > i - 1)
            end--;
        lsn = end > 0 ? project->ends[end - 1].lsn : 0;
    }
    mutex_unlock(&index->lock);
    return lsn;
}

void log_index_stats(struct log_index *index, struct log_store_stats *stats)
{
    mutex_lock(&index->lock);
    stats->projects = index->n_projects;
    stats->entries = index->entries;
    stats->memory_bytes = index->memory;
    if (index->projects)
        stats->memory_bytes += index->projects->hh.tbl->num_buckets * sizeof(UT_hash_bucket);
    if (index->postings)
        stats->memory_bytes += index->postings->hh.tbl->num_buckets * sizeof(UT_hash_bucket);
    mutex_unlock(&index->lock);
}

size_t log_index_collect(struct log_index *index, const struct log_range *range, struct indexed_frame *out, size_t max)
{
    size_t found = 0;
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, range->project);
    const uint32_t *list = NULL;
    uint32_t n = project ? project->n_batches : 0;
    if (project && range->branch_id) {
        const struct posting *posting = find_posting(index, project, range->collection ? POSTING_COLLECTION : POSTING_BRANCH,
                                                     *range->branch_id, range->collection ? *range->collection : bytes_of(NULL, 0));
        list = posting ? posting->batches : NULL;
        n = posting ? posting->n : 0;
    }
    for (uint32_t i = n ? first_ending_after(project, list, n, range->after) : 0; i < n && found < max; i++) {
        uint32_t number = list ? list[i] : i;
        const struct batch_entry *batch = batch_at(project, number);
        uint64_t last_lsn = batch_last(project, number);
        if (last_lsn > range->through)
            break;
        out[found++] = (struct indexed_frame) { batch->first_lsn, last_lsn, batch->place };
    }
    mutex_unlock(&index->lock);
    return found;
}

bool log_range_matches(const struct log_range *range, const struct frame *frame)
{
    if (!range->branch_id && !range->collection)
        return true;
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        if ((!range->branch_id || bytes_equal(*range->branch_id, run->branch_id)) &&
            (!range->collection || bytes_equal(*range->collection, run->collection)))
            return true;
    }
    return false;
}
