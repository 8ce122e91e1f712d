#include "wal-service/store/log_index.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/memory.h"

#define uthash_malloc(size) mem_alloc(size)
#define uthash_fatal(what)  abort()
#include <uthash.h>

struct incarnation_end {
    uint32_t incarnation;
    uint64_t lsn; /* head of the project when the incarnation ended; so far, for the current one */
};

/* The batches of a project in one segment. */
struct extent {
    uint64_t first_lsn, first_timestamp;
    uint32_t segment; /* its place in index->segments */
    uint32_t project; /* its number in the table or footer of the segment */
};

struct project_index {
    UT_hash_handle hh;
    uint32_t number;
    struct extent *extents; /* in order; what one does not hold up to the next one's first LSN does not exist */
    uint32_t n_extents, extents_capacity;
    uint64_t last_lsn, last_timestamp;
    struct branch_head **branches; /* in the order of their ids up to n_sorted; sorted when somebody lists them */
    size_t n_branches, n_sorted, branches_capacity;
    struct incarnation_end *ends; /* of the incarnations that wrote here, in order */
    uint32_t n_ends, ends_capacity;
    uint64_t claim; /* the claim that last touched this project, and the LSN that it has reached */
    uint64_t claimed_lsn;
    size_t id_len;
    uint8_t id[];
};

struct branch_head {
    UT_hash_handle hh;
    uint64_t last_lsn;
    uint32_t key_len;
    uint8_t key[]; /* number of the project, branch id */
};

/* One of the two is there, none when it is sealed and has no batches. */
struct index_segment {
    uint32_t id;
    uint64_t entries;
    struct batch_table *table;
    struct segment_footer *footer;
};

enum { PLACE_OF_ID = 4, BRANCH_KEY_BYTES = PLACE_OF_ID + MAX_BRANCH_ID_BYTES };

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
        free(project->extents);
        free(project->ends);
        free(project->branches);
        free(project);
    }
    struct branch_head *branch, *next_branch;
    HASH_ITER(hh, index->branches, branch, next_branch)
    {
        HASH_DEL(index->branches, branch);
        free(branch);
    }
    for (uint32_t i = 0; i < index->n_segments; i++) {
        batch_table_free(index->segments[i].table);
        segment_footer_close(index->segments[i].footer);
    }
    free(index->segments);
    free(index->incarnations);
    mutex_destroy(&index->lock);
}

/* ---- segments ------------------------------------------------------------------------------------- */

void log_index_begin_segment(struct log_index *index, uint32_t id)
{
    mutex_lock(&index->lock);
    uint32_t n = index->n_segments;
    if (n == 0 || index->segments[n - 1].id != id) {
        if (n == index->segments_capacity) {
            uint32_t capacity = n ? 2 * n : 4;
            index->segments = mem_realloc(index->segments, capacity * sizeof index->segments[0]);
            index->memory += (capacity - n) * sizeof index->segments[0];
            index->segments_capacity = capacity;
        }
        index->segments[index->n_segments++] = (struct index_segment) { .id = id, .table = batch_table_new() };
    }
    mutex_unlock(&index->lock);
}

static struct index_segment *segment_locked(struct log_index *index, uint32_t id)
{
    uint32_t low = 0, high = index->n_segments;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->segments[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low < index->n_segments && index->segments[low].id == id);
    return &index->segments[low];
}

const struct batch_table *log_index_sealed_table(struct log_index *index, uint32_t id, uint64_t *entries)
{
    mutex_lock(&index->lock);
    const struct index_segment *segment = segment_locked(index, id);
    assert(segment != &index->segments[index->n_segments - 1]);
    const struct batch_table *table = segment->table;
    *entries = segment->entries;
    mutex_unlock(&index->lock);
    return table;
}

void log_index_take_footer(struct log_index *index, uint32_t id, struct segment_footer *footer)
{
    mutex_lock(&index->lock);
    struct index_segment *segment = segment_locked(index, id);
    struct batch_table *table = segment->table;
    assert(table && (footer || batch_table_projects(table) == 0));
    segment->table = NULL;
    segment->footer = footer;
    mutex_unlock(&index->lock);
    batch_table_free(table);
}

/* ---- what is kept of projects and branches --------------------------------------------------------- */

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

static size_t branch_key(const struct project_index *project, struct bytes branch_id, uint8_t key[BRANCH_KEY_BYTES])
{
    put_u32(key, project->number);
    if (branch_id.len)
        memcpy(key + PLACE_OF_ID, branch_id.data, branch_id.len);
    return PLACE_OF_ID + branch_id.len;
}

static struct branch_head *find_branch(const struct log_index *index, const struct project_index *project, struct bytes branch_id)
{
    if (branch_id.len > MAX_BRANCH_ID_BYTES)
        return NULL;
    uint8_t key[BRANCH_KEY_BYTES];
    size_t len = branch_key(project, branch_id, key);
    struct branch_head *branch;
    HASH_FIND(hh, index->branches, key, len, branch);
    return branch;
}

static struct branch_head *add_branch(struct log_index *index, struct project_index *project, struct bytes branch_id)
{
    struct branch_head *branch = mem_zalloc(sizeof *branch + PLACE_OF_ID + branch_id.len);
    branch->key_len = (uint32_t)branch_key(project, branch_id, branch->key);
    HASH_ADD_KEYPTR(hh, index->branches, branch->key, branch->key_len, branch);
    index->memory += sizeof *branch + branch->key_len;
    if (project->n_branches == project->branches_capacity) {
        size_t capacity = project->branches_capacity ? 2 * project->branches_capacity : 2;
        project->branches = mem_realloc(project->branches, capacity * sizeof(struct branch_head *));
        index->memory += (capacity - project->branches_capacity) * sizeof(struct branch_head *);
        project->branches_capacity = capacity;
    }
    project->branches[project->n_branches++] = branch;
    return branch;
}

static void add_extent(struct log_index *index, struct project_index *project, const struct frame *frame)
{
    if (project->n_extents == project->extents_capacity) {
        uint32_t capacity = project->extents_capacity ? project->extents_capacity + project->extents_capacity / 2 + 1 : 1;
        project->extents = mem_realloc(project->extents, capacity * sizeof project->extents[0]);
        index->memory += (capacity - project->extents_capacity) * sizeof project->extents[0];
        project->extents_capacity = capacity;
    }
    uint32_t current = index->n_segments - 1;
    project->extents[project->n_extents++] = (struct extent) {
        .first_lsn = frame->first_lsn,
        .first_timestamp = frame->timestamp,
        .segment = current,
        .project = batch_table_add_project(index->segments[current].table, bytes_of(project->id, project->id_len)),
    };
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

static void publish_locked(struct log_index *index, const struct frame *frame, uint32_t offset, uint32_t length, uint32_t incarnation)
{
    struct project_index *project = find_or_add_project(index, frame->project);
    struct index_segment *current = &index->segments[index->n_segments - 1];
    assert(frame->first_lsn == project->last_lsn + 1);
    index->n_projects += project->n_extents == 0;
    if (project->n_extents == 0 || project->extents[project->n_extents - 1].segment != index->n_segments - 1)
        add_extent(index, project, frame);
    batch_table_add(current->table, project->extents[project->n_extents - 1].project, frame, offset, length);
    project->last_lsn = frame_last_lsn(frame);
    project->last_timestamp = frame->timestamp;
    current->entries += frame->entries;
    index->entries += frame->entries;
    note_incarnation_end(index, project, incarnation);
    uint64_t run_end = frame->first_lsn - 1;
    for (size_t i = 0; i < frame->n_runs; i++) {
        struct bytes branch_id = frame->runs[i].branch_id;
        struct branch_head *branch = find_branch(index, project, branch_id);
        run_end += frame->runs[i].entries;
        (branch ? branch : add_branch(index, project, branch_id))->last_lsn = run_end;
    }
}

void log_index_publish(struct log_index *index, const struct frame *frames, size_t n, uint32_t offset, uint32_t incarnation)
{
    mutex_lock(&index->lock);
    for (size_t i = 0; i < n; i++) {
        uint32_t length = (uint32_t)frame_encoded_size(&frames[i]);
        publish_locked(index, &frames[i], offset, length, incarnation);
        offset += length;
    }
    mutex_unlock(&index->lock);
}

/* ---- lookups -------------------------------------------------------------------------------------- */

/* The batches of an extent, found under the lock. With a footer they may be read without it. */
struct extent_batches {
    const struct segment_footer *footer;
    const struct batch_table *table;
    uint32_t segment, project;
    uint64_t first_lsn;
};

static struct extent_batches batches_of(const struct log_index *index, const struct extent *extent)
{
    const struct index_segment *segment = &index->segments[extent->segment];
    return (struct extent_batches) { segment->footer, segment->table, segment->id, extent->project, extent->first_lsn };
}

static void view_of(const struct extent_batches *batches, struct batch_view *view)
{
    if (batches->footer)
        segment_footer_view(batches->footer, batches->project, view);
    else
        batch_table_view(batches->table, batches->project, view);
}

/* Lets go of the lock, if that is possible. */
static void begin_reading(struct log_index *index, const struct extent_batches *batches)
{
    if (batches->footer)
        mutex_unlock(&index->lock);
}

static void end_reading(struct log_index *index, const struct extent_batches *batches)
{
    if (batches->footer)
        mutex_lock(&index->lock);
}

void log_index_head(struct log_index *index, struct bytes project_id, struct log_head *head)
{
    *head = (struct log_head) { 0 };
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    if (project)
        *head = (struct log_head) { project->last_lsn, project->last_timestamp };
    mutex_unlock(&index->lock);
}

uint64_t log_index_branch_head(struct log_index *index, struct bytes project_id, struct bytes branch_id)
{
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    struct branch_head *branch = project ? find_branch(index, project, branch_id) : NULL;
    uint64_t lsn = branch ? branch->last_lsn : 0;
    mutex_unlock(&index->lock);
    return lsn;
}

/* How many extents begin at or before an LSN. */
static uint32_t extents_to_lsn(const struct project_index *project, uint64_t lsn)
{
    uint32_t low = 0, high = project->n_extents;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (project->extents[middle].first_lsn > lsn)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* How many extents begin at or before a time. */
static uint32_t extents_to_time(const struct project_index *project, uint64_t micros)
{
    uint32_t low = 0, high = project->n_extents;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (project->extents[middle].first_timestamp > micros)
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
    uint32_t n = project ? extents_to_lsn(project, lsn) : 0;
    if (n > 0) {
        struct extent_batches batches = batches_of(index, &project->extents[n - 1]);
        struct batch_view view;
        struct log_head found;
        begin_reading(index, &batches);
        view_of(&batches, &view);
        /* if its first batch does not end there yet, the last one of the extent before does */
        end = batch_view_find_end(&view, lsn, &found) ? found.lsn : batches.first_lsn - 1;
        end_reading(index, &batches);
    }
    mutex_unlock(&index->lock);
    return end;
}

void log_index_find_time(struct log_index *index, struct bytes project_id, uint64_t micros, struct log_head *out)
{
    struct log_head found = { 0 };
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    uint32_t n = project ? extents_to_time(project, micros) : 0;
    if (n > 0) {
        struct extent_batches batches = batches_of(index, &project->extents[n - 1]);
        struct batch_view view;
        begin_reading(index, &batches);
        view_of(&batches, &view);
        (void)batch_view_find_time(&view, micros, &found); /* the extent's first batch is one */
        end_reading(index, &batches);
    }
    mutex_unlock(&index->lock);
    *out = found;
}

static struct bytes branch_id_of(const struct branch_head *branch)
{
    return bytes_of(branch->key + PLACE_OF_ID, branch->key_len - PLACE_OF_ID);
}

static int compare_branches(const void *a, const void *b)
{
    return bytes_compare(branch_id_of(*(struct branch_head *const *)a), branch_id_of(*(struct branch_head *const *)b));
}

bool log_index_list_branches(struct log_index *index, struct bytes project_id, struct bytes after, size_t max, struct arena *arena,
                             struct log_branch *branches, size_t *n, struct error *err)
{
    size_t found = 0;
    bool ok = true;
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, project_id);
    if (project && project->n_sorted < project->n_branches) {
        qsort(project->branches, project->n_branches, sizeof(struct branch_head *), compare_branches);
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
    if (index->branches)
        stats->memory_bytes += index->branches->hh.tbl->num_buckets * sizeof(UT_hash_bucket);
    for (uint32_t i = 0; i < index->n_segments; i++)
        if (index->segments[i].table)
            stats->memory_bytes += batch_table_memory(index->segments[i].table);
    mutex_unlock(&index->lock);
}

static size_t collect_from(const struct extent_batches *batches, const struct log_range *range, struct indexed_frame *out, size_t max)
{
    struct batch_view view;
    struct batch_list list;
    view_of(batches, &view);
    if (!range->branch_id)
        return batch_view_collect(&view, NULL, batches->segment, range->after, range->through, out, max);
    bool any = batches->footer ? segment_footer_find(batches->footer, batches->project, *range->branch_id, range->collection, &list)
                               : batch_table_find(batches->table, batches->project, *range->branch_id, range->collection, &list);
    return any ? batch_view_collect(&view, &list, batches->segment, range->after, range->through, out, max) : 0;
}

size_t log_index_collect(struct log_index *index, const struct log_range *range, struct indexed_frame *out, size_t max)
{
    size_t found = 0;
    mutex_lock(&index->lock);
    struct project_index *project = find_project(index, range->project);
    /* the batch behind `after` may have begun before it, never in an earlier extent than that of `after` */
    uint32_t i = project ? extents_to_lsn(project, range->after) : 0;
    for (i -= i > 0; project && i < project->n_extents && found < max; i++) {
        const struct extent *extent = &project->extents[i];
        if (extent->first_lsn > range->through)
            break;
        struct extent_batches batches = batches_of(index, extent);
        begin_reading(index, &batches);
        found += collect_from(&batches, range, out + found, max - found);
        end_reading(index, &batches);
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
