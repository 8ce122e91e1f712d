/* MongoDB's errors as ours: one table.
 *
 * The outcome of a failed write is "not applied" only where that is certain: nothing was sent (no server, no
 * connection, wrong password), the server refused this very document, or it refused the request in a way that
 * no repetition could have got around. The driver repeats a single-document write once after a lost
 * connection, so a refusal that depends on the moment (not the primary any more, out of time, no permission)
 * says nothing of the first attempt and is "unknown". So is a write concern that was not reached (the document
 * is there, and may be rolled back), and anything that failed in the middle of many documents.
 */
#ifndef ARGON_BRANCH_MONGO_ERROR_H
#define ARGON_BRANCH_MONGO_ERROR_H

#include <stdint.h>

#include <bson/bson.h>

#include "common/base/error.h"

enum mongo_change {
    MONGO_CHANGES_NOTHING, /* a read */
    MONGO_CHANGES_ONE,     /* at most one document */
    MONGO_CHANGES_MANY,    /* may have changed some when it fails */
};

/* Of a failed call of the driver; reply may be NULL. */
void mongo_error_set(struct error *err, const bson_error_t *failure, const bson_t *reply, int64_t deadline, enum mongo_change change);

/* Of one refused document: an element of writeErrors. */
void mongo_error_set_refused(struct error *err, int code, const char *message);

#endif
