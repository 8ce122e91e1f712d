/* The changes of a branch, in LSN order, each once: through its lineage first, then as they are committed.
 *
 * A branch's state is made of its parents' entries up to the cuts and its own behind its base. A watch follows one log
 * branch of that lineage after the other, from the root down, and stays on the last. On the way it folds the branch's
 * catalog, so that every change carries the collection's name as it was at its LSN.
 *
 * Ownership  changes live in the part's arena.
 * Threads    one at a time. `ready` runs on a thread that must not be held up.
 * Errors     NOT_FOUND project, branch; OUT_OF_RANGE after_lsn beyond the head; those of log_source.
 */
#ifndef ARGON_BRANCH_BRANCHES_WATCH_H
#define ARGON_BRANCH_BRANCHES_WATCH_H

#include "branch-service/registry/registry.h"

/* As in argon.branch.v1.ChangeKind and WatchEnd. */
enum watch_kind {
    WATCH_INSERT = 1,
    WATCH_UPDATE = 2,
    WATCH_DELETE = 3,
    WATCH_CREATE_COLLECTION = 4,
    WATCH_RENAME_COLLECTION = 5,
    WATCH_DROP_COLLECTION = 6,
};
enum watch_end {
    WATCH_GOES_ON = 0,
    WATCH_AT_HEAD = 1,
    WATCH_BRANCH_DELETED = 2,
    WATCH_LOG_REPLACED = 4,
    WATCH_PROJECT_DELETED = 5,
};

struct watch_change {
    enum watch_kind kind;
    uint64_t lsn;
    uint64_t timestamp;
    const char *collection;
    const char *new_collection; /* of a rename, else NULL */
    const char *actor;
    const char *branch_id;
    struct bytes document_id; /* a document with the one field _id; empty for a change of the catalog */
    struct bytes document;    /* empty for a delete, and when documents are omitted */
};

struct watch_options {
    const char *project, *branch;
    const char *collection; /* "": all */
    uint64_t after_lsn;
    bool from_head; /* instead of after_lsn */
    bool stop_at_head;
    bool omit_documents;
};

struct watch;

/* Waits for the log. after_lsn is rounded down to a batch end; *after says to which. */
CHECKED bool watch_open(struct registry *registry, const struct watch_options *options, int64_t deadline, void (*ready)(void *ctx),
                        void *ctx, struct watch **watch, uint64_t *after, struct error *err);
void watch_close(struct watch *watch); /* NULL is fine; `ready` does not run any more */

/* What has come. */
struct watch_part {
    struct arena arena;
    struct watch_change *changes;
    size_t n;
    uint64_t through; /* a batch end: everything up to here has been shown, with these changes */
    bool more;        /* look again at once */
    bool later;       /* look again after a pause */
    enum watch_end end;
    uint64_t restart_lsn; /* LOG_REPLACED: what was shown above does not hold */
};
/* Does not wait, neither for changes nor for a log that does not answer; when there is nothing, `ready` will tell. */
CHECKED bool watch_take(struct watch *watch, struct watch_part *part, struct error *err);
void watch_part_destroy(struct watch_part *part);

#endif
