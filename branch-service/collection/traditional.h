/* One operation on a traditional branch: from the check of the branch's record to the answer.
 *
 * The branch's collections are prefix + name in a database of MongoDB, as its record says. What the record says may change
 * while an operation is under way, on any replica, and whatever clocks and pauses this one has. So an operation begins with a
 * strong check of the project's head, and may be answered OK only when
 *
 *     the answer of MongoDB came within the limit of the moment before that check, or
 *     a later check, begun after that answer, finds the record as it was.
 *
 * Both are told by the boot-time clock, which goes on while the machine sleeps. So whoever changes a record and waits for the
 * limit knows that no replica says OK of what went by the record before.
 *
 * Ownership  path strings are borrowed until the end.
 * Errors     NOT_FOUND: no such branch, or one that is being deleted. FAILED_PRECONDITION: it is being created, or there is no
 *            MongoDB here. UNAVAILABLE: the record changed, or nobody can tell.
 */
#ifndef ARGON_BRANCH_TRADITIONAL_H
#define ARGON_BRANCH_TRADITIONAL_H

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/registry/registry.h"

/* How long after a check operations go by the record that it found: in general, and while a migration waits for that. */
enum { TRADITIONAL_LIMIT_MICROS = 10 * 1000000, TRADITIONAL_PREPARING_MICROS = 500000 };

struct traditional {
    struct registry *registry;
    struct project *project;
    struct mongo *mongo;
    const char *branch;
    int64_t deadline;
    int64_t confirmed_at; /* boot-time microseconds: a moment before the check that found the record */
    struct branch_record record;
    struct arena arena;
};

CHECKED bool traditional_begin(struct traditional *operation, struct registry *registry, const char *project, const char *branch,
                               int64_t deadline, struct error *err);
void traditional_end(struct traditional *operation);

/* After MongoDB has answered, before the caller is. `ok` says what it came to, with the reason in err; a late refusal counts
 * no more than a late answer, since what stands in for a collection that was moved refuses every document. False: that
 * reason, if it counts; else UNAVAILABLE. The outcome of a failure stays what it was; of what was answered OK it is unknown. */
CHECKED bool traditional_settle(struct traditional *operation, bool ok, struct error *err);

/* One of the two. */
int64_t traditional_limit(const struct branch_record *record);

/* prefix + name, in the arena; NULL: out of memory, err says so. */
const char *traditional_collection_name(struct traditional *operation, const char *name, struct error *err);

/* FAILED_PRECONDITION, reason NEEDS_WAL_BRANCH, the option as key; always false. */
bool traditional_refuse_option(const char *branch, const char *option, struct error *err);

/* Whether operations may go to the branch; of a WAL branch always. */
CHECKED bool traditional_check_state(const struct branch_record *record, struct error *err);

/* FAILED_PRECONDITION: none is configured. */
CHECKED bool traditional_mongo(struct registry *registry, struct mongo **mongo, struct error *err);

#endif
