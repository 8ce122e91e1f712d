#include "branch-service/branches/watch.h"

#include <stdlib.h>
#include <uthash.h>

#include "branch-service/catalog/lineage.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "common/bson/document_id.h"

/* What is asked of a log that has just answered takes no time, as a rule. */
enum { ASIDE_MICROS = MICROS_PER_SECOND, SHORT_LIFE_MICROS = 100000 };

/* A question for the log's head that nobody waits for; it outlives its watch. */
struct question {
    struct project_check check; /* first */
    struct mutex lock;          /* rank 16; covers what is below */
    struct watch *watch;        /* NULL: it was closed */
    bool answered;
};

/* A collection of the branch at the position. */
struct known_collection {
    UT_hash_handle hh;
    char *name;
    struct bytes key; /* of its record */
    char id[];
};

struct segment {
    char *branch_id;
    uint64_t after, through; /* entries in (after, through]; the last one has no end */
};

struct watch {
    struct project *project;
    char *branch;
    char *collection;
    bool omit_documents;
    void (*ready)(void *ctx);
    void *ctx;

    struct segment *segments; /* the root first */
    size_t n, at;
    uint64_t position;
    uint64_t stop_at; /* UINT64_MAX: goes on */
    struct log_incarnation incarnation;
    struct known_collection *collections;

    struct log_follow *follow; /* of the segment; NULL: to be opened */
    int64_t opened;
    bool lost;           /* the log has begun a new incarnation, and nobody knows yet what of the old one holds */
    bool unsure;         /* whether the branch is there at the position */
    enum watch_end dead; /* seen in the catalog as of this LSN, and told when the position is there */
    uint64_t dead_at;
    struct question *question; /* under way, or answered; NULL: none */

    /* Of the last entry that removed a collection, told as a drop until the next one gives it another name. */
    struct known_collection *leaving;
    uint64_t leaving_lsn;
    struct watch_change *leaving_change; /* NULL: nobody wanted it */

    struct watch_part *part; /* while a message of the log is shown */
    size_t capacity;
};

/* ---- the branch's catalog --------------------------------------------------------------------------- */

static void free_collection(struct known_collection *known)
{
    if (!known)
        return;
    free(known->name);
    free((void *)known->key.data);
    free(known);
}

static void forget_collection(struct watch *watch, struct known_collection *known)
{
    HASH_DEL(watch->collections, known);
    free_collection(known);
}

static void know_collection(struct watch *watch, const struct collection_record *record, struct bytes key)
{
    struct known_collection *known;
    HASH_FIND_STR(watch->collections, record->id, known);
    if (known)
        forget_collection(watch, known);
    size_t len = strlen(record->id);
    known = mem_zalloc(sizeof *known + len + 1);
    memcpy(known->id, record->id, len + 1);
    known->name = mem_strdup(record->name);
    uint8_t *copy = mem_alloc(key.len);
    memcpy(copy, key.data, key.len);
    known->key = bytes_of(copy, key.len);
    HASH_ADD_STR(watch->collections, id, known);
}

static struct known_collection *collection_of_key(struct watch *watch, struct bytes key)
{
    struct known_collection *known = watch->collections;
    while (known && !bytes_equal(known->key, key))
        known = known->hh.next;
    return known;
}

/* By the branch's id: its name may be another one's by now. */
static bool learn_collections(struct watch *watch, int64_t deadline, struct error *err)
{
    struct tree *collections;
    if (watch->position == 0)
        return true;
    if (!project_view(watch->project, watch->segments[watch->n - 1].branch_id, COLLECTIONS_COLLECTION, watch->position, deadline,
                      &collections, err))
        return false;
    struct tree_cursor cursor;
    struct tree_item item;
    bool ok = true;
    tree_cursor_first(&cursor, collections);
    while (ok && tree_cursor_next(&cursor, &item)) {
        struct collection_record record;
        ok = catalog_decode_collection(item.document, &record, err);
        if (ok)
            know_collection(watch, &record, item.key);
    }
    tree_unref(collections);
    return ok;
}

/* ---- changes ---------------------------------------------------------------------------------------- */

static bool is_wanted(const struct watch *watch, const char *name)
{
    return !watch->collection[0] || (name && strcmp(watch->collection, name) == 0);
}

static struct watch_change *add_change(struct watch *watch, const struct log_run *run, uint64_t lsn, struct error *err)
{
    struct watch_part *part = watch->part;
    if (part->n == watch->capacity) {
        size_t grown = watch->capacity ? 2 * watch->capacity : 64;
        struct watch_change *larger = arena_alloc(&part->arena, grown * sizeof *larger);
        if (!larger) {
            error_fill(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the changes of a batch");
            return NULL;
        }
        if (part->n)
            memcpy(larger, part->changes, part->n * sizeof *larger);
        part->changes = larger;
        watch->capacity = grown;
    }
    struct watch_change *change = &part->changes[part->n++];
    *change = (struct watch_change) { .lsn = lsn, .timestamp = run->timestamp };
    change->actor = arena_strdup(&part->arena, run->actor);
    change->branch_id = arena_strdup(&part->arena, run->branch_id);
    return change;
}

static bool copy_text(struct watch *watch, const char *text, const char **copy, struct error *err)
{
    *copy = arena_strdup(&watch->part->arena, text);
    return *copy || error_out_of_memory(err);
}

static bool copy_bytes(struct watch *watch, struct bytes from, struct bytes *to, struct error *err)
{
    *to = bytes_of(arena_copy(&watch->part->arena, from.data, from.len), from.len);
    return to->data || error_out_of_memory(err);
}

/* *told: NULL when nobody wants it. */
static bool tell_catalog(struct watch *watch, const struct log_run *run, uint64_t lsn, enum watch_kind kind, const char *name,
                         struct watch_change **told, struct error *err)
{
    *told = NULL;
    if (!is_wanted(watch, name))
        return true;
    struct watch_change *change = add_change(watch, run, lsn, err);
    if (!change || !copy_text(watch, name, &change->collection, err))
        return false;
    change->kind = kind;
    *told = change;
    return true;
}

static void settle(struct watch *watch)
{
    free_collection(watch->leaving);
    watch->leaving = NULL;
}

static bool show_removed(struct watch *watch, const struct log_run *run, size_t i, struct error *err)
{
    const uint64_t lsn = run->first_lsn + i;
    struct known_collection *known = collection_of_key(watch, run->entries[i].document_id);
    settle(watch);
    if (!known)
        return error_set(err, ERROR_DATA_LOSS, "LSN %llu removes a collection that was not there", (unsigned long long)lsn);
    HASH_DEL(watch->collections, known);
    watch->leaving = known;
    watch->leaving_lsn = lsn;
    return tell_catalog(watch, run, lsn, WATCH_DROP_COLLECTION, known->name, &watch->leaving_change, err);
}

/* A rename is a record that goes and, with the next LSN, one that comes with the same id. */
static bool show_added(struct watch *watch, const struct log_run *run, size_t i, struct error *err)
{
    const uint64_t lsn = run->first_lsn + i;
    const struct known_collection *leaving = watch->leaving;
    struct watch_change *change;
    struct collection_record record;
    if (!catalog_decode_collection(run->entries[i].document, &record, err))
        return false;
    bool ok;
    if (leaving && lsn == watch->leaving_lsn + 1 && strcmp(record.id, leaving->id) == 0) {
        change = watch->leaving_change;
        ok = change || !is_wanted(watch, record.name) ||
             ((change = add_change(watch, run, watch->leaving_lsn, err)) && copy_text(watch, leaving->name, &change->collection, err));
        if (ok && change) {
            change->kind = WATCH_RENAME_COLLECTION;
            ok = copy_text(watch, record.name, &change->new_collection, err);
        }
    } else {
        ok = tell_catalog(watch, run, lsn, WATCH_CREATE_COLLECTION, record.name, &change, err);
    }
    settle(watch);
    if (ok)
        know_collection(watch, &record, run->entries[i].document_id);
    return ok;
}

static bool show_catalog(struct watch *watch, const struct log_run *run, struct error *err)
{
    for (size_t i = 0; i < run->n_entries; i++) {
        if (run->entries[i].operation == LOG_UPDATE)
            continue; /* other index definitions: the collection has been there, and goes by the same name */
        if (!(run->entries[i].operation == LOG_DELETE ? show_removed(watch, run, i, err) : show_added(watch, run, i, err)))
            return false;
    }
    return true;
}

/* As it was written; logs of before a delete said so have the key alone. */
static bool show_id(struct watch *watch, const struct log_entry *entry, struct bytes *id, struct error *err)
{
    struct arena *arena = &watch->part->arena;
    return entry->document.len ? document_id_of(entry->document, arena, id, err) : document_id_of_key(entry->document_id, arena, id, err);
}

static bool show_documents(struct watch *watch, const struct log_run *run, struct error *err)
{
    struct known_collection *known;
    HASH_FIND_STR(watch->collections, run->collection, known);
    if (!known || !is_wanted(watch, known->name))
        return true;
    for (size_t i = 0; i < run->n_entries; i++) {
        const struct log_entry *entry = &run->entries[i];
        const bool has_image = entry->operation != LOG_DELETE && !watch->omit_documents;
        struct watch_change *change = add_change(watch, run, run->first_lsn + i, err);
        if (!change || !copy_text(watch, known->name, &change->collection, err) || !show_id(watch, entry, &change->document_id, err) ||
            (has_image && !copy_bytes(watch, entry->document, &change->document, err)))
            return false;
        change->kind = (enum watch_kind)entry->operation;
    }
    return true;
}

static bool show_run(void *ctx, const struct log_run *run, struct error *err)
{
    struct watch *watch = ctx;
    if (run->first_lsn > watch->segments[watch->at].through)
        return true; /* the parent's own, behind the cut */
    return strcmp(run->collection, COLLECTIONS_COLLECTION) == 0 ? show_catalog(watch, run, err) : show_documents(watch, run, err);
}

/* ---- the log ---------------------------------------------------------------------------------------- */

static void close_follow(struct watch *watch)
{
    log_follow_close(watch->follow);
    watch->follow = NULL;
}

static bool open_follow(struct watch *watch, struct error *err)
{
    const struct log_read_range range = {
        .project = project_id(watch->project),
        .after = watch->position,
        .branch_id = watch->segments[watch->at].branch_id,
    };
    watch->opened = clock_monotonic_micros();
    return log_follow_open(project_log(watch->project), &range, &watch->incarnation, watch->ready, watch->ctx, &watch->follow, err);
}

static void free_question(struct question *question)
{
    mutex_destroy(&question->lock);
    free(question);
}

static void on_answer(struct project_check *check)
{
    struct question *question = (struct question *)check;
    mutex_lock(&question->lock);
    struct watch *watch = question->watch;
    question->answered = true;
    if (watch)
        watch->ready(watch->ctx); /* under the lock: not after it was closed */
    mutex_unlock(&question->lock);
    if (!watch)
        free_question(question);
}

/* The log's answer, when it has come: afterwards the project can be refreshed without much waiting. Else it has been asked,
 * and `ready` will tell. A log that does not answer is asked again after a pause. */
static bool take_answer(struct watch *watch, struct project_check *answer)
{
    struct question *question = watch->question;
    if (!question) {
        question = mem_zalloc(sizeof *question);
        question->check = (struct project_check) { .deadline = NO_DEADLINE, .done = on_answer };
        question->watch = watch;
        mutex_init(&question->lock, 16);
        watch->question = question;
        project_check_start(watch->project, &question->check);
        return false;
    }
    mutex_lock(&question->lock);
    bool answered = question->answered;
    mutex_unlock(&question->lock);
    if (!answered)
        return false;
    *answer = question->check;
    watch->question = NULL;
    free_question(question);
    if (answer->freshness != FRESHNESS_UNKNOWN)
        return true;
    watch->part->later = true;
    return false;
}

static void drop_question(struct watch *watch)
{
    struct question *question = watch->question;
    if (!question)
        return;
    mutex_lock(&question->lock);
    bool answered = question->answered;
    question->watch = NULL;
    mutex_unlock(&question->lock);
    if (answered)
        free_question(question);
}

static bool has_passed(enum error_code code)
{
    return code == ERROR_UNAVAILABLE || code == ERROR_DEADLINE_EXCEEDED;
}

/* Does what was shown hold in the incarnation that the log has now? */
static bool check_incarnation(struct watch *watch, struct error *err)
{
    struct arena arena;
    struct log_head head;
    struct project_check answer;
    const struct log_head_query query = { .known_incarnation = &watch->incarnation };
    if (!take_answer(watch, &answer))
        return true;
    arena_init(&arena, 0);
    bool ok = log_source_head(project_log(watch->project), project_id(watch->project), &query, clock_monotonic_micros() + ASIDE_MICROS,
                              &arena, &head, err);
    if (ok && head.known_through < watch->position) {
        watch->part->end = WATCH_LOG_REPLACED;
        watch->part->restart_lsn = head.known_through;
    }
    if (ok) {
        watch->lost = false;
        watch->incarnation = head.incarnation;
        watch->dead = WATCH_GOES_ON; /* perhaps of what is gone */
        watch->unsure = true;
        watch->part->more = true;
    } else if (has_passed(err->code)) {
        watch->part->later = ok = true;
    }
    arena_destroy(&arena);
    return ok;
}

/* After a failed take: goes on, or fails. */
static bool recover(struct watch *watch, struct error *err)
{
    close_follow(watch);
    watch->lost = err->code == ERROR_ABORTED;
    if (!watch->lost && !has_passed(err->code))
        return false;
    /* one that ends as soon as it begins is of a service that is stopping */
    bool lived = clock_monotonic_micros() - watch->opened >= SHORT_LIFE_MICROS;
    *(watch->lost || lived ? &watch->part->more : &watch->part->later) = true;
    return true;
}

static void advance(struct watch *watch, uint64_t through)
{
    const struct segment *segment = &watch->segments[watch->at];
    watch->position = through < segment->through ? through : segment->through;
    while (watch->at + 1 < watch->n && watch->position >= watch->segments[watch->at].through) {
        close_follow(watch);
        watch->at++;
        watch->opened = 0;
        watch->part->more = true;
        if (watch->position < watch->segments[watch->at].after)
            watch->position = watch->segments[watch->at].after;
    }
}

/* Is the branch there, as far as the catalog knows that is here? False: it is of before the position. */
static bool judge(struct watch *watch)
{
    struct project_catalog catalog;
    struct branch_record record;
    struct error err;
    project_catalog(watch->project, &catalog);
    bool knows = catalog.lsn >= watch->position && memcmp(&catalog.incarnation, &watch->incarnation, sizeof catalog.incarnation) == 0;
    if (knows && !watch->dead) {
        if (catalog.deleted)
            watch->dead = WATCH_PROJECT_DELETED;
        else if (lineage_find_record(catalog.branches, watch->segments[watch->n - 1].branch_id, &record, &err) && record.deleted)
            watch->dead = WATCH_BRANCH_DELETED;
        watch->dead_at = catalog.lsn;
    }
    project_catalog_destroy(&catalog);
    return knows;
}

/* What the catalog says as of an LSN is told when everything up to there has been shown. */
static void look_at_catalog(struct watch *watch)
{
    struct project_check answer;
    struct error err;
    watch->unsure = !judge(watch);
    if (!watch->unsure || !take_answer(watch, &answer))
        return;
    if (!project_refresh_checked(watch->project, &answer, clock_monotonic_micros() + ASIDE_MICROS, &err) && err.code != ERROR_NOT_FOUND) {
        watch->part->later = true;
        return;
    }
    watch->unsure = !judge(watch);
    /* the other one is about to learn of a new incarnation: the log, or this watch */
    if (watch->unsure)
        watch->part->later = true;
}

bool watch_take(struct watch *watch, struct watch_part *part, struct error *err)
{
    uint64_t through, before = watch->position;
    bool ok = true;
    *part = (struct watch_part) { 0 };
    arena_init(&part->arena, 0);
    watch->part = part;
    watch->capacity = 0;
    if (watch->lost) {
        ok = check_incarnation(watch, err);
    } else if (watch->position < watch->stop_at || watch->at + 1 < watch->n) {
        ok = (watch->follow || open_follow(watch, err)) && log_follow_take(watch->follow, show_run, watch, &through, &part->more, err);
        if (ok)
            advance(watch, through);
        else
            ok = recover(watch, err);
        settle(watch); /* a batch comes whole */
    }
    watch->unsure = watch->unsure || watch->position != before;
    if (ok && watch->unsure && !watch->lost && watch->at + 1 == watch->n)
        look_at_catalog(watch);
    part->through = watch->position;
    if (part->end)
        ; /* the log was replaced */
    else if (watch->position >= watch->stop_at && watch->at + 1 == watch->n)
        part->end = WATCH_AT_HEAD;
    else if (watch->dead && watch->position >= watch->dead_at)
        part->end = watch->dead;
    watch->part = NULL;
    if (!ok)
        watch_part_destroy(part);
    return ok;
}

void watch_part_destroy(struct watch_part *part)
{
    arena_destroy(&part->arena);
}

/* ---- life ------------------------------------------------------------------------------------------- */

static bool resolve_segments(struct watch *watch, const struct project_catalog *catalog, struct arena *arena, struct error *err)
{
    struct branch_record record;
    struct lineage lineage;
    if (!project_find_branch(catalog, watch->branch, arena, &record, err) || !project_refuse_traditional(&record, watch->branch, err) ||
        /* a branch that begins with a base has no changes before itself */
        !lineage_resolve(catalog->branches, record.id, watch->position, arena, &lineage, err) ||
        !lineage_resolve(catalog->branches, record.id, catalog->lsn, arena, &lineage, err))
        return false;
    if (lineage.from_base)
        lineage.n--;
    watch->n = lineage.n;
    watch->segments = mem_zalloc(lineage.n * sizeof *watch->segments);
    for (size_t i = 0; i < lineage.n; i++) {
        const struct lineage_segment *from = &lineage.segments[lineage.n - 1 - i];
        watch->segments[i] = (struct segment) { mem_strdup(from->branch_id), from->after, from->through };
    }
    watch->segments[watch->n - 1].through = UINT64_MAX;
    while (watch->at + 1 < watch->n && watch->segments[watch->at].through <= watch->position)
        watch->at++;
    return true;
}

static bool begin(struct watch *watch, const struct watch_options *options, int64_t deadline, struct error *err)
{
    struct project_catalog catalog;
    struct arena arena;
    project_catalog(watch->project, &catalog);
    arena_init(&arena, 0);
    watch->incarnation = catalog.incarnation;
    watch->position = catalog.lsn;
    watch->stop_at = options->stop_at_head ? catalog.lsn : UINT64_MAX;
    bool ok = options->from_head || options->after_lsn == 0 ||
              project_batch_end(watch->project, options->after_lsn, deadline, &watch->position, err);
    if (options->after_lsn == 0 && !options->from_head)
        watch->position = 0;
    ok = ok && resolve_segments(watch, &catalog, &arena, err) && learn_collections(watch, deadline, err);
    arena_destroy(&arena);
    project_catalog_destroy(&catalog);
    return ok;
}

bool watch_open(struct registry *registry, const struct watch_options *options, int64_t deadline, void (*ready)(void *ctx), void *ctx,
                struct watch **watch, uint64_t *after, struct error *err)
{
    if (options->from_head && options->after_lsn)
        return error_set(err, ERROR_INVALID_ARGUMENT, "from_head and after_lsn are two beginnings: give one of them");
    struct watch *made = mem_zalloc(sizeof *made);
    made->branch = mem_strdup(options->branch[0] ? options->branch : MAIN_BRANCH);
    made->collection = mem_strdup(options->collection);
    made->omit_documents = options->omit_documents;
    made->ready = ready;
    made->ctx = ctx;
    if (!registry_find(registry, options->project, deadline, &made->project, err) || !begin(made, options, deadline, err)) {
        watch_close(made);
        return false;
    }
    *after = made->position;
    *watch = made;
    return true;
}

void watch_close(struct watch *watch)
{
    if (!watch)
        return;
    drop_question(watch);
    close_follow(watch);
    settle(watch);
    struct known_collection *known, *next;
    HASH_ITER(hh, watch->collections, known, next)
    forget_collection(watch, known);
    for (size_t i = 0; i < watch->n; i++)
        free(watch->segments[i].branch_id);
    free(watch->segments);
    free(watch->branch);
    free(watch->collection);
    free(watch);
}
