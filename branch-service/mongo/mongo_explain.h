/* How a MongoDB server reaches the documents of a query: its own words, explain, in few of ours.
 *
 * The server carries the query out for that. Of an aggregation it is about the collection that it begins with.
 *
 * Errors     as mongo_error.h maps them; UNIMPLEMENTED: the server has no explain, or says nothing that is understood here.
 */
#ifndef ARGON_BRANCH_MONGO_EXPLAIN_H
#define ARGON_BRANCH_MONGO_EXPLAIN_H

#include "branch-service/mongo/mongo_collection.h"

enum mongo_access {
    MONGO_ACCESS_NOTHING, /* no such collection, or nothing can match */
    MONGO_ACCESS_ID,      /* one certain _id */
    MONGO_ACCESS_ID_RANGES,
    MONGO_ACCESS_INDEX, /* another index */
    MONGO_ACCESS_SCAN,  /* all of the collection, also in the order of _id */
};

struct mongo_plan {
    enum mongo_access access;
    uint64_t ranges; /* of _id; 0: the server does not say */
    bool sorts;      /* in memory */
    uint64_t examined;
    char indexes[256]; /* their names, with ", " between; empty: none */
};

/* find and pipeline as mongo_find and mongo_aggregate take them, without a snapshot. */
CHECKED bool mongo_explain_find(struct mongo *mongo, const char *database, const char *collection, const struct mongo_find *find,
                                int64_t deadline, struct mongo_plan *plan, struct error *err);
CHECKED bool mongo_explain_aggregate(struct mongo *mongo, const char *database, const char *collection, struct bytes pipeline,
                                     struct bytes options, int64_t deadline, struct mongo_plan *plan, struct error *err);

/* What a server answered. UNIMPLEMENTED: it holds no plan. */
CHECKED bool mongo_plan_read(struct bytes reply, struct mongo_plan *plan, struct error *err);

#endif
