/* Following a project's log.
 *
 * One thread at a time holds the project: it reads everything after the position, folds it into the catalog
 * and the head views in private edits, and publishes them together with the new position. Nothing that others
 * see changes before that, so a failure on the way only throws edits away.
 *
 * A fork shares its parent's tree at the cut. When a view is about to change for the first time after the
 * newest cut of its branch, the tree before the change is kept as a view of the past: that is what the child
 * starts from.
 *
 *     detached --first refresh--> attached --incarnation changed--> attached (kept what still holds, or anew)
 */
#include <stdlib.h>
#include <uthash.h>

#include "branch-service/project_internal.h"
#include "branch-service/view/materialize.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

/* The newest fork from the head of a branch. */
struct fork_cut {
    UT_hash_handle hh;
    uint64_t lsn;
    char branch_id[];
};

static struct fork_cut *find_cut(struct project *project, const char *branch_id)
{
    struct fork_cut *cut;
    HASH_FIND_STR(project->cuts, branch_id, cut);
    return cut;
}

static void note_cut(struct project *project, const char *branch_id, uint64_t lsn)
{
    struct fork_cut *cut = find_cut(project, branch_id);
    if (!cut) {
        size_t len = strlen(branch_id);
        cut = mem_zalloc(sizeof *cut + len + 1);
        memcpy(cut->branch_id, branch_id, len + 1);
        HASH_ADD_STR(project->cuts, branch_id, cut);
    }
    if (cut->lsn < lsn)
        cut->lsn = lsn;
}

void project_free_cuts(struct project *project)
{
    struct fork_cut *cut, *next;
    HASH_ITER(hh, project->cuts, cut, next)
    {
        HASH_DEL(project->cuts, cut);
        free(cut);
    }
}

/* ---- one pass over the delta ------------------------------------------------------------------------ */

/* A head view that the delta touches, or the knowledge that it is not cached. */
struct view_edit {
    UT_hash_handle hh;
    struct tree *base; /* NULL: not cached */
    struct replay replay;
    bool dropped; /* the budget refused it; it leaves the cache when the pass is published */
    char *branch_id;
    char *collection;
    char name[]; /* branch \n collection */
};

/* A view of the past, on its way into the cache. */
struct kept_view {
    struct kept_view *next;
    const struct view_edit *edit;
    struct tree *tree;
    uint64_t changed, through;
};

struct pass {
    struct project *project;
    struct replay names, branches, projects;
    bool deleted;
    struct project_tombstone tombstone;
    struct view_edit *edits;
    struct kept_view *kept;
};

static bool begin_catalog(struct pass *pass, struct replay *replay, struct tree *base, struct error *err)
{
    struct tree *tree = base ? tree_ref(base) : NULL;
    if (!tree && !tree_new(view_cache_budget(pass->project->cache), &tree, err))
        return false;
    bool ok = replay_begin(replay, pass->project->cache, tree, 0, err);
    tree_unref(tree);
    return ok;
}

/* anew: as if nothing were known. */
static bool pass_begin(struct pass *pass, struct project *project, bool anew, struct error *err)
{
    *pass = (struct pass) { .project = project };
    if (!anew) {
        pass->deleted = project->deleted;
        pass->tombstone = project->tombstone;
    }
    return begin_catalog(pass, &pass->names, anew ? NULL : project->names, err) &&
           begin_catalog(pass, &pass->branches, anew ? NULL : project->branches, err) &&
           begin_catalog(pass, &pass->projects, anew ? NULL : project->projects, err);
}

static void free_edit(struct pass *pass, struct view_edit *edit)
{
    HASH_DEL(pass->edits, edit);
    replay_abandon(&edit->replay);
    tree_unref(edit->base);
    free(edit->branch_id);
    free(edit->collection);
    free(edit);
}

static void pass_destroy(struct pass *pass)
{
    struct view_edit *edit, *next;
    for (struct kept_view *kept = pass->kept, *after; kept; kept = after) {
        after = kept->next;
        tree_unref(kept->tree);
        free(kept);
    }
    HASH_ITER(hh, pass->edits, edit, next)
    free_edit(pass, edit);
    replay_abandon(&pass->names);
    replay_abandon(&pass->branches);
    replay_abandon(&pass->projects);
}

static bool apply_branches(struct pass *pass, const struct log_run *run, struct error *err)
{
    for (size_t i = 0; i < run->n_entries; i++) {
        struct log_entry entry = run->entries[i];
        uint64_t lsn = run->first_lsn + i;
        struct arena arena;
        struct branch_record record;
        arena_init(&arena, 0);
        bool ok = true;
        if (entry.operation != LOG_DELETE)
            ok = catalog_complete_branch(entry.document, lsn, run->timestamp, &arena, &entry.document, err) &&
                 catalog_decode_branch(entry.document, &record, err);
        if (ok && entry.operation == LOG_INSERT && record.cut == lsn)
            note_cut(pass->project, record.parent, lsn);
        ok = ok && replay_entry(&pass->branches, &entry, lsn, err);
        arena_destroy(&arena);
        if (!ok)
            return false;
    }
    return true;
}

static bool apply_tombstone(struct pass *pass, const struct log_run *run, struct error *err)
{
    pass->deleted = true;
    return catalog_decode_tombstone(run->entries[0].document, &pass->tombstone, err);
}

static bool apply_catalog(struct pass *pass, const struct log_run *run, struct error *err)
{
    if (strcmp(run->collection, BRANCHES_COLLECTION) == 0)
        return apply_branches(pass, run, err);
    if (strcmp(run->collection, NAMES_COLLECTION) == 0)
        return replay_run(&pass->names, run, err);
    if (strcmp(run->collection, PROJECTS_COLLECTION) == 0)
        return replay_run(&pass->projects, run, err);
    if (strcmp(run->collection, PROJECT_COLLECTION) == 0)
        return apply_tombstone(pass, run, err);
    return true; /* what a newer version keeps here is not ours to refuse */
}

static bool find_edit(struct pass *pass, const struct log_run *run, struct view_edit **out, struct error *err)
{
    size_t branch_len = strlen(run->branch_id), collection_len = strlen(run->collection), len = branch_len + 1 + collection_len;
    char name[512];
    if (len + 1 > sizeof name)
        return error_set(err, ERROR_DATA_LOSS, "the log holds a branch or collection id of %zu bytes", len);
    memcpy(name, run->branch_id, branch_len);
    name[branch_len] = '\n';
    memcpy(name + branch_len + 1, run->collection, collection_len + 1);

    struct view_edit *edit;
    HASH_FIND(hh, pass->edits, name, len, edit);
    if (!edit) {
        struct project *project = pass->project;
        const struct view_key key = { project->id, run->branch_id, run->collection };
        uint64_t changed = 0;
        struct tree *base = view_cache_get(project->cache, &key, VIEW_AT_HEAD, &changed);
        struct replay replay = { 0 };
        if (base && !replay_begin(&replay, project->cache, base, changed, err)) {
            tree_unref(base);
            return false;
        }
        edit = mem_zalloc(sizeof *edit + len + 1);
        edit->base = base;
        edit->replay = replay;
        edit->branch_id = mem_strdup(run->branch_id);
        edit->collection = mem_strdup(run->collection);
        memcpy(edit->name, name, len + 1);
        HASH_ADD(hh, pass->edits, name, len, edit);
    }
    *out = edit;
    return true;
}

/* The view is about to change at first_lsn: keep what a child that was cut before starts from. */
static bool keep_for_children(struct pass *pass, struct view_edit *edit, uint64_t first_lsn, struct error *err)
{
    const struct fork_cut *cut = find_cut(pass->project, edit->branch_id);
    if (!cut || cut->lsn < edit->replay.changed || cut->lsn >= first_lsn)
        return true;
    struct kept_view *kept = mem_zalloc(sizeof *kept);
    *kept = (struct kept_view) {
        .next = pass->kept,
        .edit = edit,
        .tree = replay_end(&edit->replay),
        .changed = edit->replay.changed,
        .through = first_lsn - 1,
    };
    pass->kept = kept;
    return replay_begin(&edit->replay, pass->project->cache, kept->tree, kept->changed, err);
}

static bool apply_run(void *ctx, const struct log_run *run, struct error *err)
{
    struct pass *pass = ctx;
    if (strcmp(run->branch_id, CATALOG_BRANCH) == 0)
        return apply_catalog(pass, run, err);
    struct view_edit *edit;
    if (!find_edit(pass, run, &edit, err))
        return false;
    if (!edit->base || edit->dropped)
        return true;
    if (keep_for_children(pass, edit, run->first_lsn, err) && replay_run(&edit->replay, run, err))
        return true;
    if (err->code != ERROR_RESOURCE_EXHAUSTED)
        return false;
    edit->dropped = true;
    replay_abandon(&edit->replay);
    return true;
}

static void replace_tree(struct tree **place, struct replay *replay)
{
    tree_unref(*place);
    *place = replay_end(replay);
}

static void publish(struct pass *pass, const struct log_incarnation *incarnation, uint64_t position, bool anew)
{
    struct project *project = pass->project;
    struct view_edit *edit, *next;
    mutex_lock(&project->lock);
    if (anew)
        view_cache_drop_project(project->cache, project->id);
    HASH_ITER(hh, pass->edits, edit, next)
    {
        if (!edit->base)
            continue;
        const struct view_key key = { project->id, edit->branch_id, edit->collection };
        struct tree *tree = edit->dropped ? NULL : replay_end(&edit->replay);
        view_cache_advance(project->cache, &key, edit->base, tree, edit->replay.changed);
        tree_unref(tree);
    }
    for (struct kept_view *kept = pass->kept; kept; kept = kept->next) {
        const struct view_key key = { project->id, kept->edit->branch_id, kept->edit->collection };
        view_cache_put(project->cache, &key, kept->tree, kept->changed, kept->through);
    }
    replace_tree(&project->names, &pass->names);
    replace_tree(&project->branches, &pass->branches);
    replace_tree(&project->projects, &pass->projects);
    project->deleted = pass->deleted;
    project->tombstone = pass->tombstone;
    project->incarnation = *incarnation;
    project->position = position;
    project->begun += anew;
    project->attached = true;
    mutex_unlock(&project->lock);
}

/* ---- refresh ---------------------------------------------------------------------------------------- */

static bool follow_once(struct project *project, int64_t deadline, const struct log_incarnation *incarnation, bool anew, struct error *err)
{
    struct pass pass;
    uint64_t complete;
    if (anew)
        project_free_cuts(project);
    /* without views there is nothing to move on but the catalog */
    bool catalog_only = anew || view_cache_count_of(project->cache, project->id) == 0;
    const struct log_read_range range = {
        .project = project->id,
        .after = anew ? 0 : project->position,
        .branch_id = catalog_only ? CATALOG_BRANCH : NULL,
    };
    bool ok = pass_begin(&pass, project, anew, err) &&
              log_source_read(project->log, &range, incarnation, deadline, apply_run, &pass, &complete, err);
    if (ok)
        publish(&pass, incarnation, complete, anew);
    pass_destroy(&pass);
    return ok;
}

/* Which incarnation the log has now, and whether what is known still holds in it. */
static bool check_incarnation(struct project *project, int64_t deadline, struct log_incarnation *incarnation, bool *anew, struct error *err)
{
    struct arena arena;
    struct log_head head;
    arena_init(&arena, 0);
    const struct log_head_query query = { .known_incarnation = project->attached ? &project->incarnation : NULL };
    bool ok = log_source_head(project->log, project->id, &query, deadline, &arena, &head, err);
    if (ok) {
        *incarnation = head.incarnation;
        *anew = !project->attached || head.known_through < project->position;
    }
    arena_destroy(&arena);
    return ok;
}

/* By the holder. */
static bool follow(struct project *project, int64_t deadline, struct error *err)
{
    if (project->attached && follow_once(project, deadline, &project->incarnation, false, err))
        return true;
    while (!project->attached || err->code == ERROR_ABORTED) {
        struct log_incarnation incarnation;
        bool anew;
        if (!check_incarnation(project, deadline, &incarnation, &anew, err))
            return false;
        if (follow_once(project, deadline, &incarnation, anew, err))
            return true;
        if (err->code != ERROR_ABORTED)
            return false;
    }
    return false;
}

bool project_hold(struct project *project, int64_t deadline)
{
    mutex_lock(&project->lock);
    bool free_now = true;
    while (project->held && free_now)
        free_now = condition_wait_until(&project->changed, &project->lock, deadline);
    free_now = !project->held;
    if (free_now)
        project->held = true;
    mutex_unlock(&project->lock);
    return free_now;
}

void project_release(struct project *project)
{
    mutex_lock(&project->lock);
    project->held = false;
    condition_broadcast(&project->changed);
    mutex_unlock(&project->lock);
}

bool project_refresh(struct project *project, int64_t deadline, struct error *err)
{
    mutex_lock(&project->lock);
    /* one that has begun already may have asked before we came */
    const uint64_t wanted = project->refreshes_begun + 1;
    while (project->refreshes_done < wanted) {
        if (project->held) {
            if (!condition_wait_until(&project->changed, &project->lock, deadline)) {
                mutex_unlock(&project->lock);
                return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while waiting for the project's log");
            }
            continue;
        }
        project->held = true;
        const uint64_t mine = ++project->refreshes_begun;
        mutex_unlock(&project->lock);
        bool ok = follow(project, deadline, err);
        mutex_lock(&project->lock);
        project->held = false;
        if (ok)
            project->refreshes_done = mine;
        condition_broadcast(&project->changed);
        if (!ok) {
            mutex_unlock(&project->lock);
            return false;
        }
    }
    mutex_unlock(&project->lock);
    return true;
}

void project_keep_past_view(struct project *project, const struct log_incarnation *incarnation, const struct view_key *key,
                            struct tree *tree, uint64_t changed, uint64_t through)
{
    mutex_lock(&project->lock);
    if (memcmp(&project->incarnation, incarnation, sizeof *incarnation) == 0)
        view_cache_put(project->cache, key, tree, changed, through);
    mutex_unlock(&project->lock);
}

/* ---- what this replica appends itself ---------------------------------------------------------------- */

bool project_is_known(struct project *project)
{
    mutex_lock(&project->lock);
    bool attached = project->attached;
    mutex_unlock(&project->lock);
    return attached;
}

/* A batch that has not been folded in yet, in LSN order. */
struct noted {
    struct noted *next;
    struct log_incarnation incarnation;
    uint64_t first_lsn, last_lsn;
    struct log_run *runs;
    size_t n_runs;
    struct arena arena;
};

enum { MAX_NOTED = 1024, MAX_NOTED_ENTRIES = 1000 };

static bool copy_runs(struct noted *noted, const struct log_run *runs, size_t n_runs)
{
    noted->runs = arena_copy(&noted->arena, runs, n_runs * sizeof *runs);
    noted->n_runs = n_runs;
    for (size_t i = 0; noted->runs && i < n_runs; i++) {
        struct log_run *run = &noted->runs[i];
        run->branch_id = arena_strdup(&noted->arena, run->branch_id);
        run->collection = arena_strdup(&noted->arena, run->collection);
        run->actor = "";
        run->entries = arena_copy(&noted->arena, run->entries, run->n_entries * sizeof *run->entries);
        if (!run->branch_id || !run->collection || !run->entries)
            return false;
        for (size_t k = 0; k < run->n_entries; k++) {
            struct log_entry *entry = &run->entries[k];
            entry->document_id.data = arena_copy(&noted->arena, entry->document_id.data, entry->document_id.len);
            entry->document.data = arena_copy(&noted->arena, entry->document.data, entry->document.len);
            if (!entry->document_id.data || !entry->document.data)
                return false;
        }
    }
    return noted->runs != NULL;
}

static void free_noted(struct noted *noted)
{
    arena_destroy(&noted->arena);
    free(noted);
}

void project_free_noted(struct project *project)
{
    for (struct noted *noted = project->noted, *next; noted; noted = next) {
        next = noted->next;
        free_noted(noted);
    }
    project->noted = NULL;
}

/* Those that follow the position; the rest that has become old goes. */
static struct noted *take_noted_locked(struct project *project, uint64_t *position)
{
    struct noted *taken = NULL, **end = &taken;
    while (project->noted) {
        struct noted *noted = project->noted;
        bool same = memcmp(&noted->incarnation, &project->incarnation, sizeof noted->incarnation) == 0;
        if (same && noted->first_lsn > *position + 1)
            break;
        project->noted = noted->next;
        project->n_noted--;
        if (!same || noted->first_lsn <= *position) {
            free_noted(noted);
            continue;
        }
        *position = noted->last_lsn;
        noted->next = NULL;
        *end = noted;
        end = &noted->next;
    }
    return taken;
}

void project_note_append(struct project *project, const struct log_incarnation *incarnation, const struct log_run *runs, size_t n_runs,
                         uint64_t first_lsn, uint64_t last_lsn)
{
    if (last_lsn - first_lsn >= MAX_NOTED_ENTRIES)
        return;
    struct noted *noted = mem_zalloc(sizeof *noted);
    arena_init(&noted->arena, 0);
    noted->incarnation = *incarnation;
    noted->first_lsn = first_lsn;
    noted->last_lsn = last_lsn;
    if (!copy_runs(noted, runs, n_runs)) {
        free_noted(noted);
        return;
    }
    mutex_lock(&project->lock);
    struct noted **place = &project->noted;
    while (*place && (*place)->first_lsn < first_lsn)
        place = &(*place)->next;
    noted->next = *place;
    *place = noted;
    if (++project->n_noted > MAX_NOTED) {
        project_free_noted(project);
        project->n_noted = 0;
    }
    while (!project->held && project->attached && project->noted) {
        uint64_t position = project->position;
        struct noted *taken = take_noted_locked(project, &position);
        if (!taken)
            break;
        project->held = true;
        const struct log_incarnation current = project->incarnation;
        mutex_unlock(&project->lock);
        struct pass pass;
        struct error err;
        bool ok = pass_begin(&pass, project, false, &err);
        for (struct noted *one = taken; one; one = one->next)
            for (size_t i = 0; ok && i < one->n_runs; i++)
                ok = apply_run(&pass, &one->runs[i], &err);
        if (ok)
            publish(&pass, &current, position, false);
        pass_destroy(&pass);
        for (struct noted *next; taken; taken = next) {
            next = taken->next;
            free_noted(taken);
        }
        mutex_lock(&project->lock);
        project->held = false;
        condition_broadcast(&project->changed);
        if (!ok)
            break;
    }
    mutex_unlock(&project->lock);
}
