/* A database of a MongoDB that a branch is checked out into.
 *
 * It carries a mark, a document in the collection `_argon_checkout`, that says of what it is: written before anything else and completed
 * after everything else. Without it nothing is written into a database that is there, and nothing is dropped.
 *
 *   {_id: "checkout", project, branch, project_id, branch_id, lsn, started, complete, finished}
 *
 * Errors     as mongo_server.h.
 */
#ifndef ARGON_CLI_MONGO_MONGO_TARGET_H
#define ARGON_CLI_MONGO_MONGO_TARGET_H

#include <stdint.h>

#include "cli/mongo/mongo_server.h"
#include "common/base/bytes.h"

#define MONGO_MARK_COLLECTION "_argon_checkout"
enum { MONGO_MAX_DATABASE_NAME = 63 };

struct mongo_mark {
    const char *project, *branch; /* as they were called */
    const char *project_id, *branch_id;
    uint64_t lsn;
    bool complete;
};

/* *found: there is one. *empty: there is no collection at all. Strings live in the arena. */
CHECKED bool mongo_target_look(struct mongo_server *server, const char *database, struct arena *arena, struct mongo_mark *mark, bool *found,
                               bool *empty, struct error *err);
/* The first one, or the same again with complete set. */
CHECKED bool mongo_target_mark(struct mongo_server *server, const char *database, const struct mongo_mark *mark, struct error *err);

/* Makes the collection if it is not there. */
CHECKED bool mongo_target_create(struct mongo_server *server, const char *database, const char *collection, struct error *err);
/* n documents, one behind the other; those whose _id is there are passed over. A server that is away is tried again for `patience`. */
CHECKED bool mongo_target_insert(struct mongo_server *server, const char *database, const char *collection, struct bytes documents,
                                 size_t n, int64_t patience, struct error *err);
/* FAILED_PRECONDITION: the documents do not allow for it, or the server does not know that kind. */
CHECKED bool mongo_target_index(struct mongo_server *server, const char *database, const char *collection, struct bytes definition,
                                struct error *err);

/* The mark goes last, so that whoever is interrupted can do it again. */
CHECKED bool mongo_target_drop(struct mongo_server *server, const char *database, struct error *err);

#endif
