/* Batches that this replica has appended itself.
 *
 * When several writers are under way, their answers come in another order than their LSNs, and what other
 * replicas append lies between. A batch that follows the position is folded in at once; another one is
 * parked until what lies between has come. Nothing depends on it: what is dropped here is read from the log.
 *
 * A batch belongs to the incarnation that it was appended under. One of another incarnation than the
 * project's is dropped: the log it is in may be gone.
 */
#include <stdlib.h>
#include <utlist.h>

#include "branch-service/project/project_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum {
    MAX_NOTED = 4096,
    MAX_NOTED_BYTES = 16 * 1024 * 1024,
    /* so often one thread folds in what came meanwhile; then it is another's turn */
    MAX_ROUNDS = 4,
};

struct noted {
    struct noted *prev, *next;
    struct log_incarnation incarnation;
    uint64_t first_lsn, last_lsn;
    const struct log_run *runs;
    size_t n_runs;
    size_t bytes;
    struct arena arena; /* owns the runs, unless they are borrowed */
};

static struct bytes copy_bytes(struct noted *noted, struct bytes in)
{
    return bytes_of(arena_copy(&noted->arena, in.data, in.len), in.len);
}

static size_t runs_bytes(const struct log_run *runs, size_t n_runs)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n_runs; i++) {
        bytes += sizeof *runs;
        for (size_t k = 0; k < runs[i].n_entries; k++)
            bytes += sizeof *runs[i].entries + runs[i].entries[k].document_id.len + runs[i].entries[k].document.len;
    }
    return bytes;
}

static bool copy_runs(struct noted *noted, const struct log_run *runs, size_t n_runs)
{
    struct log_run *copies = arena_copy(&noted->arena, runs, n_runs * sizeof *runs);
    for (size_t i = 0; copies && i < n_runs; i++) {
        struct log_run *run = &copies[i];
        run->branch_id = arena_strdup(&noted->arena, run->branch_id);
        run->collection = arena_strdup(&noted->arena, run->collection);
        run->actor = NULL;
        run->entries = arena_copy(&noted->arena, run->entries, run->n_entries * sizeof *run->entries);
        if (!run->branch_id || !run->collection || !run->entries)
            return false;
        for (size_t k = 0; k < run->n_entries; k++) {
            struct log_entry *entry = &run->entries[k];
            entry->document_id = copy_bytes(noted, entry->document_id);
            entry->document = copy_bytes(noted, entry->document);
            if (!entry->document_id.data || !entry->document.data)
                return false;
        }
    }
    noted->runs = copies;
    noted->n_runs = n_runs;
    return copies != NULL;
}

static struct noted *noted_new(const struct log_incarnation *incarnation, uint64_t first_lsn, uint64_t last_lsn)
{
    struct noted *noted = mem_zalloc(sizeof *noted);
    arena_init(&noted->arena, 0);
    noted->incarnation = *incarnation;
    noted->first_lsn = first_lsn;
    noted->last_lsn = last_lsn;
    return noted;
}

static void noted_free(struct noted *noted)
{
    arena_destroy(&noted->arena);
    free(noted);
}

static void free_list(struct noted *list)
{
    struct noted *noted, *next;
    DL_FOREACH_SAFE(list, noted, next)
    noted_free(noted);
}

void project_free_noted(struct project *project)
{
    free_list(project->noted);
    project->noted = NULL;
    project->n_noted = project->noted_bytes = 0;
}

static void unlink_locked(struct project *project, struct noted *noted)
{
    DL_DELETE(project->noted, noted);
    project->n_noted--;
    project->noted_bytes -= noted->bytes;
}

/* Those that follow the position, one upon the other; *through is where they lead. What has become old, or is of
 * another incarnation, goes to *old. */
static struct noted *take_locked(struct project *project, uint64_t *through, struct noted **old)
{
    struct noted *taken = NULL, *noted, *next;
    *through = project->position;
    DL_FOREACH_SAFE(project->noted, noted, next)
    {
        bool gone = !is_incarnation(&noted->incarnation, &project->incarnation) || noted->first_lsn <= *through;
        if (!gone && noted->first_lsn > *through + 1)
            break;
        unlink_locked(project, noted);
        if (gone) {
            DL_APPEND(*old, noted);
        } else {
            DL_APPEND(taken, noted);
            *through = noted->last_lsn;
        }
    }
    return taken;
}

/* A failure throws them away: the log has them. */
static void fold(struct project *project, const struct noted *list, uint64_t through)
{
    struct pass pass;
    struct error err;
    const struct log_incarnation incarnation = project->incarnation; /* the holder's to change */
    const struct noted *noted;
    bool ok = pass_begin(&pass, project, false, &err);
    DL_FOREACH(list, noted)
    for (size_t i = 0; ok && i < noted->n_runs; i++)
        ok = pass_apply(&pass, &noted->runs[i], &err);
    if (ok)
        pass_publish(&pass, &incarnation, through);
    pass_destroy(&pass);
}

bool project_fold_noted_locked(struct project *project)
{
    for (unsigned round = 0; project->noted; round++) {
        struct noted *old = NULL;
        uint64_t through;
        if (round == MAX_ROUNDS)
            return project->noted->first_lsn <= project->position + 1;
        struct noted *taken = take_locked(project, &through, &old);
        if (!taken && !old)
            return false;
        mutex_unlock(&project->lock);
        if (taken)
            fold(project, taken, through);
        free_list(taken);
        free_list(old);
        mutex_lock(&project->lock);
    }
    return false;
}

static bool is_wanted_locked(const struct project *project, const struct log_incarnation *incarnation, uint64_t first_lsn)
{
    return project->attached && is_incarnation(&project->incarnation, incarnation) && first_lsn > project->position;
}

static void park_locked(struct project *project, struct noted *noted)
{
    struct noted *before;
    /* the newest comes last, mostly */
    for (before = project->noted ? project->noted->prev : NULL; before && before->first_lsn > noted->first_lsn;)
        before = before == project->noted ? NULL : before->prev;
    if (before)
        DL_APPEND_ELEM(project->noted, before, noted);
    else
        DL_PREPEND(project->noted, noted);
    project->n_noted++;
    project->noted_bytes += noted->bytes;
}

/* The highest ones go: those below still lead somewhere. */
static struct noted *take_surplus_locked(struct project *project)
{
    struct noted *surplus = NULL;
    while (project->n_noted > MAX_NOTED || project->noted_bytes > MAX_NOTED_BYTES) {
        struct noted *last = project->noted->prev;
        unlink_locked(project, last);
        DL_APPEND(surplus, last);
    }
    return surplus;
}

void project_note_append(struct project *project, const struct log_incarnation *incarnation, const struct log_run *runs, size_t n_runs,
                         uint64_t first_lsn, uint64_t last_lsn)
{
    struct noted *surplus = NULL;
    const int64_t now = clock_monotonic_micros();
    mutex_lock(&project->lock);
    project->noted_at = now;
    bool wanted = is_wanted_locked(project, incarnation, first_lsn);
    if (wanted && !project->held && first_lsn == project->position + 1) {
        struct noted mine = { .runs = runs, .n_runs = n_runs };
        mine.prev = &mine; /* a list of one */
        project->held = true;
        mutex_unlock(&project->lock);
        fold(project, &mine, last_lsn);
        project_release(project);
        return;
    }
    mutex_unlock(&project->lock);
    if (!wanted)
        return;

    struct noted *noted = noted_new(incarnation, first_lsn, last_lsn);
    noted->bytes = sizeof *noted + runs_bytes(runs, n_runs);
    if (noted->bytes > MAX_NOTED_BYTES || !copy_runs(noted, runs, n_runs)) {
        noted_free(noted);
        return;
    }
    mutex_lock(&project->lock);
    if (is_wanted_locked(project, incarnation, first_lsn)) {
        park_locked(project, noted);
        surplus = take_surplus_locked(project);
        if (!project->held && project->noted && project->noted->first_lsn <= project->position + 1) {
            project->held = true;
            project_release_locked(project);
        }
    } else {
        DL_APPEND(surplus, noted);
    }
    mutex_unlock(&project->lock);
    free_list(surplus);
}
