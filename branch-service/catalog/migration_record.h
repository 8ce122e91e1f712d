/* What the record of a traditional branch says of its migration, and which steps there are.
 *
 *     ready -> preparing -> frozen -> renamed -> started -> copied -> verified -> confirming -> confirmed
 *                  |           |          |          |         |          |
 *                  '-----------+----------+-> ready  '---------+----------+-> rolling_back <-> handing_back -> ready
 *
 * Every step is one batch that holds only while the record's epoch is the executor's. Whoever goes on claims the record
 * first: epoch + 1, and the state stays (but handing_back goes back to rolling_back, so that writers go on meanwhile).
 *
 * Ownership  a decoded migration lives in the arena.
 */
#ifndef ARGON_BRANCH_CATALOG_MIGRATION_RECORD_H
#define ARGON_BRANCH_CATALOG_MIGRATION_RECORD_H

#include "branch-service/catalog/catalog.h"

struct migration_collection {
    const char *name;     /* without prefix */
    const char *id;       /* that it has in the base */
    struct bytes indexes; /* as a collection's record has them */
    bool has_uuid;
    uint8_t uuid[16]; /* before anything was renamed */
};

struct migration {
    uint64_t started_at; /* microseconds since the epoch */
    uint64_t first;      /* the epoch that it began with: what older ones left behind is nobody's */
    uint64_t beats;      /* one more now and then while others wait for an executor: it is still there */
    bool listed;         /* what follows is what the branch consists of */
    struct migration_collection *collections;
    size_t n;
    const char *frozen; /* NULL: not renamed yet; the prefix that the collections have now */
    const char *base;   /* from started on */
    const char *branch; /* the WAL branch that has the name */
};

/* Released: nobody has gone on while others waited for it. What the log does not count yet is rolled back; of a branch that is
 * being handed back the writers go on, and the rollback waits for the next call. */
enum migration_verb { MIGRATION_START, MIGRATION_CONFIRM, MIGRATION_ROLLBACK, MIGRATION_RELEASE };

/* Where a record in this state is when an executor has claimed it. FAILED_PRECONDITION: that is not to be had any more. */
CHECKED bool migration_claim_state(enum branch_state state, enum migration_verb verb, enum branch_state *claimed, struct error *err);
/* Whether an executor that has claimed the record may take it from the one to the other. */
bool migration_is_step(enum branch_state from, enum branch_state to);
/* Whether operations, or writes, on the branch wait for the executor. */
bool migration_holds(enum branch_state state);

CHECKED bool migration_encode(const struct migration *migration, struct arena *arena, struct bytes *document, struct error *err);
CHECKED bool migration_decode(struct bytes document, struct arena *arena, struct migration *migration, struct error *err);

/* The migration that a branch has its name by: of a traditional one its own, of a WAL branch that of the traditional one that it
 * took over from. *found = false: there is none. The record lives in the arena. */
struct tree;
CHECKED bool migration_find(const struct tree *branches, const struct branch_record *branch, struct arena *arena,
                            struct branch_record *traditional, struct migration *migration, bool *found, struct error *err);
/* FAILED_PRECONDITION: the branch has taken over from a traditional one, and that is not settled yet. */
CHECKED bool migration_check_settled(const struct tree *branches, const struct branch_record *branch, struct error *err);

enum { MIGRATION_PREFIX_SIZE = 64 };
/* Of collections that an executor has moved or made: m_<id>_<epoch>_; that of all epochs for 0. */
void migration_make_prefix(const char *branch_id, uint64_t epoch, char prefix[MIGRATION_PREFIX_SIZE]);
/* The epoch of a collection's name, and what comes behind the prefix; false: it is no such name. */
bool migration_parse_name(const char *collection, const char *branch_id, uint64_t *epoch, const char **rest);

#endif
