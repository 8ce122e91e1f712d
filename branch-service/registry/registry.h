/* The projects that this replica knows, and their names.
 *
 * A name found once stays found: when the project behind it carries a tombstone, the name is looked up again.
 * Whoever meets a name whose log carries the tombstone removes the name, which completes a deletion that
 * stopped half-way; it does so under the request that put the tombstone there, so that this one is answered OK
 * when it comes again. A name is looked up again, too, when the log has begun a new incarnation.
 *
 * Ownership  projects belong to the registry and live as long as it.
 * Threads    any.
 */
#ifndef ARGON_BRANCH_REGISTRY_REGISTRY_H
#define ARGON_BRANCH_REGISTRY_REGISTRY_H

#include "branch-service/catalog/features.h"
#include "branch-service/project/follower.h"
#include "branch-service/project/project.h"
#include "branch-service/write/write.h"
#include "branch-service/write/write_queue.h"

struct registry;
struct warmer;

struct registry *registry_new(struct log_source *log, uint64_t memory_limit_bytes);
/* Follows the logs of projects in use, from now on; once, before the first call. */
void registry_follow(struct registry *registry, const struct follower_options *options);
/* What the program's own configuration says; once, before the first call. The defaults unless given. */
void registry_use_features(struct registry *registry, const struct features *features);
/* Builds views ahead of their readers on so many threads, from now on; once, before the first call. */
void registry_warm(struct registry *registry, size_t n_threads);
/* The MongoDB of traditional branches, the database that new ones go to, and its address for people; once, before the first
 * call. */
struct mongo;
void registry_use_mongo(struct registry *registry, struct mongo *mongo, const char *database, const char *endpoint);
void registry_free(struct registry *registry); /* not the log source, nor the MongoDB */

struct log_source *registry_log(struct registry *registry);
struct mongo *registry_mongo(struct registry *registry); /* NULL: none is configured */
const char *registry_mongo_database(struct registry *registry);
const char *registry_mongo_endpoint(struct registry *registry);
struct standstill;
struct standstill *registry_standstill(struct registry *registry); /* NULL without a MongoDB */
struct view_cache *registry_cache(struct registry *registry);
struct project *registry_system(struct registry *registry); /* the project `_system` */
struct write_queue *registry_queue(struct registry *registry);
const struct features *registry_own_features(struct registry *registry);
/* `_system` as it was at most so long ago: one look at the log's head if it was read before that. */
CHECKED bool registry_refresh_system(struct registry *registry, int64_t max_age_micros, int64_t deadline, struct error *err);
struct warmer *registry_warmer(struct registry *registry);
uint64_t registry_project_count(struct registry *registry);
uint64_t registry_follow_count(struct registry *registry);
void registry_stats(struct registry *registry, struct project_stats *stats); /* of all projects together */

/* Resolves a name, and brings the project to the commit LSN. NOT_FOUND. */
CHECKED bool registry_find(struct registry *registry, const char *name, int64_t deadline, struct project **project, struct error *err);
/* The same, and how often the project's log had been begun when its name meant it: what is written then goes to the log in which
 * the name was looked up, or nowhere. */
CHECKED bool registry_find_begun(struct registry *registry, const char *name, int64_t deadline, struct project **project, uint64_t *begun,
                                 struct error *err);
/* The same from what this replica has, without asking the log when it knows the project already. Good enough for a reader who
 * takes stale data, and for a writer whose batch is checked against the log anyway. */
CHECKED bool registry_find_known(struct registry *registry, const char *name, int64_t deadline, struct project **project,
                                 struct error *err);
/* The project of this name when it is known and nothing speaks against it; NULL: registry_find tells. Never waits.
 * *as_of: of the log in which the name was looked up. */
struct project *registry_peek(struct registry *registry, const char *name, struct log_incarnation *as_of);
/* Whether what registry_peek found is still so, as far as is known here: the project is not deleted, nor its name of another log. */
bool registry_is_current(struct registry *registry, struct project *project, const struct log_incarnation *as_of);
CHECKED bool registry_create(struct registry *registry, const char *name, const struct write_request *request, struct project **project,
                             struct error *err);
CHECKED bool registry_delete(struct registry *registry, const char *name, const struct write_request *request, struct error *err);

/* Projects in name order, after a name ("" = from the first), at most n; records live in the arena. *lsn is the
 * LSN of `_system` at which they are listed. */
CHECKED bool registry_list(struct registry *registry, const char *after, size_t n, int64_t deadline, struct arena *arena,
                           struct project_record *records, size_t *n_records, bool *more, uint64_t *lsn, struct error *err);

#endif
