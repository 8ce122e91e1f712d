#include "branch-service/view/materialize.h"

#include "branch-service/branch_counters.h"

bool replay_begin(struct replay *replay, struct view_cache *cache, struct tree *base, uint64_t changed, struct error *err)
{
    struct tree_edit *edit;
    if (!tree_edit_begin(base, &edit, err))
        return false;
    *replay = (struct replay) { .cache = cache, .edit = edit, .changed = changed };
    return true;
}

bool replay_entry(struct replay *replay, const struct log_entry *entry, uint64_t lsn, struct error *err)
{
    const struct memory_budget *budget = view_cache_budget(replay->cache);
    for (;;) {
        bool found;
        uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
        bool ok = entry->operation == LOG_DELETE ? tree_edit_remove(replay->edit, entry->document_id, &found, err)
                                                 : tree_edit_put(replay->edit, entry->document_id, entry->document, err);
        if (ok) {
            replay->changed = lsn;
            return true;
        }
        if (err->code != ERROR_RESOURCE_EXHAUSTED)
            return false;
        if (!view_cache_evict(replay->cache) && (!replay->patient || !view_cache_wait_for_room(replay->cache, used)))
            return false;
    }
}

bool replay_run(struct replay *replay, const struct log_run *run, struct error *err)
{
    counter_add(&branch_counters.entries_replayed, run->n_entries);
    for (size_t i = 0; i < run->n_entries; i++)
        if (!replay_entry(replay, &run->entries[i], run->first_lsn + i, err))
            return false;
    return true;
}

struct tree *replay_end(struct replay *replay)
{
    struct tree *tree = tree_edit_end(replay->edit);
    replay->edit = NULL;
    return tree;
}

void replay_abandon(struct replay *replay)
{
    tree_edit_abandon(replay->edit);
    replay->edit = NULL;
}

/* When the collection turns out not to fit, the rest of the log is only measured, so that the error can say
 * how large the collection is. */
struct measured_replay {
    struct replay replay;
    struct replay_observer *observer;
    uint64_t document_bytes;
    bool full;
    struct error refusal;
};

static bool is_wanted(void *ctx)
{
    const struct replay_observer *observer = ((struct measured_replay *)ctx)->observer;
    return observer->observe(observer->ctx, observer->entries);
}

static bool replay_measured(void *ctx, const struct log_run *run, struct error *err)
{
    struct measured_replay *measured = ctx;
    measured->observer->entries += run->n_entries;
    for (size_t i = 0; i < run->n_entries; i++)
        if (run->entries[i].operation != LOG_DELETE)
            measured->document_bytes += run->entries[i].document.len;
    if (measured->full || replay_run(&measured->replay, run, err))
        return true;
    if (err->code != ERROR_RESOURCE_EXHAUSTED)
        return false;
    measured->full = true;
    measured->refusal = *err;
    replay_abandon(&measured->replay);
    return true;
}

static bool refuse(struct measured_replay *measured, const char *collection, struct error *err)
{
    const struct memory_budget *budget = view_cache_budget(measured->replay.cache);
    return error_set(err, ERROR_RESOURCE_EXHAUSTED,
                     "collection '%s' does not fit the memory budget: its log holds %llu bytes of documents, the budget is %llu bytes "
                     "(--memory), and others use %llu of it",
                     collection, (unsigned long long)measured->document_bytes, (unsigned long long)budget->limit,
                     (unsigned long long)atomic_load_explicit(&budget->used, memory_order_relaxed));
}

bool materialize_delta(struct log_source *log, struct view_cache *cache, bool patient, const char *project,
                       const struct log_incarnation *incarnation, const char *branch_id, const char *collection, uint64_t from,
                       uint64_t through, int64_t deadline, struct replay_observer *observer, struct tree **tree, uint64_t *changed,
                       struct error *err)
{
    if (from >= through)
        return true;
    struct measured_replay measured = { .observer = observer, .document_bytes = tree_document_bytes(*tree) };
    if (!replay_begin(&measured.replay, cache, *tree, *changed, err))
        return false;
    measured.replay.patient = patient;
    const struct log_read_range range = {
        .project = project,
        .after = from,
        .through = through,
        .branch_id = branch_id,
        .collection = collection,
        .wanted = is_wanted,
    };
    uint64_t complete;
    bool ok = log_source_read(log, &range, incarnation, deadline, replay_measured, &measured, &complete, err);
    if (ok && measured.full)
        ok = refuse(&measured, collection, err);
    if (ok && complete != through)
        ok = error_set(err, ERROR_DATA_LOSS, "the log ends at %llu where %llu was expected", (unsigned long long)complete,
                       (unsigned long long)through);
    if (!ok) {
        replay_abandon(&measured.replay);
        return false;
    }
    *changed = measured.replay.changed;
    struct tree *replaced = *tree;
    *tree = replay_end(&measured.replay);
    tree_unref(replaced);
    return true;
}

bool materialize(struct log_source *log, struct view_cache *cache, bool patient, const char *project,
                 const struct log_incarnation *incarnation, const char *collection, const struct lineage *lineage,
                 const struct materialize_root *root, int64_t deadline, struct replay_observer *observer, struct tree **tree,
                 uint64_t *changed, struct error *err)
{
    struct tree *at = NULL;
    uint64_t at_changed = 0;
    size_t level = 0;
    const size_t levels = root ? lineage->n - 1 : lineage->n;
    for (; level < levels && !at; level++) {
        const struct lineage_segment *segment = &lineage->segments[level];
        const struct view_key key = { project, segment->branch_id, collection };
        at = view_cache_get(cache, &key, segment->through, &at_changed);
    }
    if (at)
        level--; /* this segment is in the view already */
    else if (root && !root->build(root->ctx, patient, &at, err))
        return false;
    else if (!root && !tree_new(view_cache_budget(cache), &at, err))
        return false;

    while (level > 0) {
        /* a base is there from the beginning, whatever LSNs its entries have */
        if (lineage->from_base && level == lineage->n - 1)
            at_changed = 0;
        const struct lineage_segment *segment = &lineage->segments[--level];
        /* what is inherited is this branch's from the moment it exists */
        if (at_changed < segment->after)
            at_changed = segment->after;
        if (!materialize_delta(log, cache, patient, project, incarnation, segment->branch_id, collection, segment->after, segment->through,
                               deadline, observer, &at, &at_changed, err)) {
            tree_unref(at);
            return false;
        }
    }
    *tree = at;
    *changed = at_changed;
    return true;
}
