/* Folding entries of the log into what is known of a project, whoever brings them.
 *
 * The holder folds whole batches in LSN order into private edits of the catalog and the head views, beginning
 * behind the position, and publishes them together with the new position. Nothing that others see changes
 * before that, so a failure on the way only throws edits away. What lies at or below the position is passed
 * over: a batch may come twice, from a read, from a follow and from who appended it.
 *
 * A fork shares its parent's tree at the cut. When a view is about to change for the first time after the
 * newest cut of its branch, the tree before the change is kept as a view of the past: that is what the child
 * starts from.
 */
#include <assert.h>
#include <stdlib.h>
#include <uthash.h>

#include "branch-service/project/project_internal.h"
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

static bool begin_catalog(struct pass *pass, struct replay *replay, struct tree *base, struct error *err)
{
    if (replay->edit)
        return true;
    struct tree *tree = base && !pass->anew ? tree_ref(base) : NULL;
    if (!tree && !tree_new(view_cache_budget(pass->project->cache), &tree, err))
        return false;
    bool ok = replay_begin(replay, pass->project->cache, tree, 0, err);
    tree_unref(tree);
    return ok;
}

static bool begin_names(struct pass *pass, struct error *err)
{
    return begin_catalog(pass, &pass->names, pass->project->names, err);
}

static bool begin_branches(struct pass *pass, struct error *err)
{
    return begin_catalog(pass, &pass->branches, pass->project->branches, err);
}

static bool begin_projects(struct pass *pass, struct error *err)
{
    return begin_catalog(pass, &pass->projects, pass->project->projects, err);
}

static bool begin_config(struct pass *pass, struct error *err)
{
    return begin_catalog(pass, &pass->config, pass->project->config, err);
}

bool pass_begin(struct pass *pass, struct project *project, bool anew, struct error *err)
{
    *pass = (struct pass) { .project = project, .anew = anew };
    if (!anew) {
        pass->applied = pass->from = project->position;
        return true;
    }
    project_free_cuts(project);
    return begin_names(pass, err) && begin_branches(pass, err) && begin_projects(pass, err) && begin_config(pass, err);
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

void pass_destroy(struct pass *pass)
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
    replay_abandon(&pass->config);
}

static bool apply_branches(struct pass *pass, const struct log_run *run, struct error *err)
{
    if (!begin_branches(pass, err))
        return false;
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
        if (ok && entry.operation != LOG_DELETE && record.kind == BRANCH_TRADITIONAL)
            pass->project->has_traditional = true;
        if (ok && entry.operation == LOG_INSERT && record.parent && record.cut == lsn)
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
    pass->deleted = true; /* a tombstone stays */
    return catalog_decode_tombstone(run->entries[0].document, &pass->tombstone, err);
}

static bool apply_catalog(struct pass *pass, const struct log_run *run, struct error *err)
{
    if (strcmp(run->collection, BRANCHES_COLLECTION) == 0)
        return apply_branches(pass, run, err);
    if (strcmp(run->collection, NAMES_COLLECTION) == 0)
        return begin_names(pass, err) && replay_run(&pass->names, run, err);
    if (strcmp(run->collection, PROJECTS_COLLECTION) == 0)
        return begin_projects(pass, err) && replay_run(&pass->projects, run, err);
    if (strcmp(run->collection, CONFIG_COLLECTION) == 0)
        return begin_config(pass, err) && replay_run(&pass->config, run, err);
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

static bool apply_to_view(struct pass *pass, const struct log_run *run, struct error *err)
{
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

bool pass_apply(void *ctx, const struct log_run *run, struct error *err)
{
    struct pass *pass = ctx;
    /* a position is a batch end: a run lies on one side of it */
    if (run->first_lsn <= pass->from || run->n_entries == 0)
        return true;
    if (run->first_lsn <= pass->applied)
        return error_set(err, ERROR_DATA_LOSS, "the log showed LSN %llu behind %llu", (unsigned long long)run->first_lsn,
                         (unsigned long long)pass->applied);
    /* from here on the edits hold a part of what comes */
    pass->applied = run->first_lsn + run->n_entries - 1;
    return strcmp(run->branch_id, CATALOG_BRANCH) == 0 ? apply_catalog(pass, run, err) : apply_to_view(pass, run, err);
}

static void replace_tree(struct tree **place, struct replay *replay)
{
    if (!replay->edit)
        return;
    tree_unref(*place);
    *place = replay_end(replay);
}

void pass_publish(struct pass *pass, const struct log_incarnation *incarnation, uint64_t position)
{
    struct project *project = pass->project;
    struct view_edit *edit, *next;
    assert(pass->applied <= position && (pass->anew || position >= project->position));
    mutex_lock(&project->lock);
    if (pass->anew)
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
    replace_tree(&project->config, &pass->config);
    if (pass->deleted || pass->anew) {
        project->deleted = pass->deleted;
        project->tombstone = pass->tombstone;
    }
    project->incarnation = *incarnation;
    project->position = position;
    project->begun += pass->anew;
    project->attached = true;
    mutex_unlock(&project->lock);
}
