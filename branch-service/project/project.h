/* One project as a replica knows it: the position up to which its log has been read, its catalog at that
 * position, and the views that follow the log.
 *
 * project_refresh makes sure that all of it is at a commit LSN that was asked for after the caller arrived; callers
 * that wait share one question to the log (one running, one forming). The position also moves by what a follow of
 * the log brings (follower.h) and by what this replica appends. Every head view of the project is exactly at it.
 *
 * Ownership  projects live as long as their registry. Targets are the caller's.
 * Threads    any.
 * Errors     NOT_FOUND project (its log carries the tombstone), branch; FAILED_PRECONDITION, reason NEEDS_WAL_BRANCH:
 *            the branch has no views, since it is traditional; OUT_OF_RANGE as_of beyond the head;
 *            RESOURCE_EXHAUSTED the collection does not fit the memory budget; ABORTED the log was replaced
 *            under us and everything must be looked at again; those of log_source.
 */
#ifndef ARGON_BRANCH_PROJECT_PROJECT_H
#define ARGON_BRANCH_PROJECT_PROJECT_H

#include "branch-service/catalog/catalog.h"
#include "branch-service/log/log_source.h"
#include "branch-service/view/view_cache.h"

struct project;

struct project *project_new(const char *id, const char *name, uint64_t created_at, struct log_source *log, struct view_cache *cache);
void project_free(struct project *project);
/* Where bases are read from while their copies are not complete; before its first use. Borrowed. */
struct base_source;
void project_use_base_source(struct project *project, const struct base_source *source);
/* Runs when a branch is opened whose writers are held; before its first use. */
typedef void project_held_fn(void *ctx, struct project *project, const char *branch);
void project_on_held(struct project *project, project_held_fn *held, void *ctx);

const char *project_id(const struct project *project);
const char *project_name(const struct project *project);
uint64_t project_created_at(const struct project *project);
struct log_source *project_log(const struct project *project);

CHECKED bool project_refresh(struct project *project, int64_t deadline, struct error *err);

/* The same in two halves, of which the first holds no thread: ask, and when `done` has run, which is on a thread that
 * must not be held up, project_refresh_checked. It returns at once when the check says FRESHNESS_FRESH, else it may
 * wait for the log. Only of a project that is known. */
enum project_freshness {
    FRESHNESS_UNKNOWN, /* there was no answer */
    FRESHNESS_BEHIND,
    FRESHNESS_FRESH,
};
struct project_check {
    int64_t deadline; /* the caller's, as done */
    void (*done)(struct project_check *check);
    enum project_freshness freshness; /* the project's from here on, until done */
    struct log_head head;
    int64_t behind_since;
    struct project_check *prev, *next;
    struct project_check **list;
};
void project_check_start(struct project *project, struct project_check *check);
CHECKED bool project_refresh_checked(struct project *project, const struct project_check *check, int64_t deadline, struct error *err);

/* False until the log has been read once: nothing can be said of the project without project_refresh. */
bool project_is_known(struct project *project);

/* A batch that this replica has appended under this incarnation; runs have their first_lsn and timestamp. It is folded in at
 * once when it follows the position, or as soon as what lies between has come; so a writer sees what it wrote without reading
 * the log. Never waits for the log; may do nothing. */
void project_note_append(struct project *project, const struct log_incarnation *incarnation, const struct log_run *runs, size_t n_runs,
                         uint64_t first_lsn, uint64_t last_lsn);

struct project_stats {
    uint64_t head_checks; /* questions for the log's head */
    uint64_t log_reads;   /* reads of the log from the position to the head */
};
void project_add_stats(struct project *project, struct project_stats *stats);
uint64_t project_position(struct project *project); /* 0 when it is not known */

/* Of a project that is known, all at one moment. *begun: see struct project_catalog. */
void project_peek(struct project *project, struct log_incarnation *incarnation, uint64_t *begun, bool *deleted);

/* The catalog at the position. */
struct project_catalog {
    uint64_t lsn;
    struct log_incarnation incarnation;
    uint64_t begun; /* how often the log has been read from its beginning: one more when it was replaced */
    bool deleted;   /* the log carries the tombstone */
    struct project_tombstone tombstone;
    struct tree *names;
    struct tree *branches;
    struct tree *projects; /* of `_system` only; empty elsewhere */
    struct tree *config;   /* likewise */
};
void project_catalog(struct project *project, struct project_catalog *catalog);
void project_catalog_destroy(struct project_catalog *catalog);

/* The record of the branch with this name now; the strings live in the arena. */
CHECKED bool project_find_branch(const struct project_catalog *catalog, const char *name, struct arena *arena, struct branch_record *record,
                                 struct error *err);

/* How the branch with this name is stored, as far as is known here, from memory alone: WAL unless something else is known.
 * False: there are traditional branches, and this name is not known. */
CHECKED bool project_branch_kind(struct project *project, const char *name, enum branch_kind *kind);
/* FAILED_PRECONDITION, reason NEEDS_WAL_BRANCH: it is traditional. NOT_FOUND: and being deleted. `name` is what the caller
 * knows it by. */
CHECKED bool project_refuse_traditional(const struct branch_record *record, const char *name, struct error *err);

/* A branch, and perhaps a collection on it, at one LSN. */
struct target {
    uint64_t lsn; /* a batch end */
    struct log_incarnation incarnation;
    char branch_id[64];
    bool held;                /* no write goes there now, see struct branch_record */
    char collection_id[64];   /* empty: there is no such collection */
    struct tree *collections; /* the branch's catalog */
    struct tree *documents;   /* NULL: there is no such collection, or none was named */
};

/* as_of: a batch end at or below the position; 0: the position. collection may be NULL. */
CHECKED bool project_open_target(struct project *project, const char *branch, const char *collection, uint64_t as_of, int64_t deadline,
                                 struct target *target, struct error *err);
/* The same for somebody who looks on while views are built, also while another call builds them. */
struct replay_observer;
CHECKED bool project_open_observed(struct project *project, const char *branch, const char *collection, uint64_t as_of, int64_t deadline,
                                   const struct replay_observer *observer, struct target *target, struct error *err);
/* The same at the position, from memory alone. False: something is missing, or wrong. */
CHECKED bool project_open_cached(struct project *project, const char *branch, const char *collection, struct target *target);
void target_destroy(struct target *target);

/* The state of a collection at a batch end at or below the position. */
CHECKED bool project_view(struct project *project, const char *branch_id, const char *collection, uint64_t lsn, int64_t deadline,
                          struct tree **tree, struct error *err);

/* Rounds down to a batch end. OUT_OF_RANGE, with both bounds, beyond the position: refresh first. */
CHECKED bool project_batch_end(struct project *project, uint64_t lsn, int64_t deadline, uint64_t *end, struct error *err);

#endif
