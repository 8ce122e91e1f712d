/* The update operators on fields, one row each. They turn an old value into a new one; where the field is, and
 * what becomes of documents and arrays around it, is the traversal's business (update.c).
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_OPS_H
#define ARGON_BRANCH_QUERY_UPDATE_OPS_H

#include "common/base/error.h"
#include "common/bson/element.h"

enum update_missing {
    UPDATE_CREATES, /* a path that is not there is made; one that cannot be is an error */
    UPDATE_SKIPS,   /* it is left alone */
};

/* What an operator makes of a value. */
struct update_result {
    bool removed;       /* from a document; in an array null takes its place */
    uint8_t type;       /* else the new value, */
    struct bytes value; /* which may be the argument, the old value, or the bytes below */
    uint8_t bytes[16];
};

struct update_op {
    const char *name;
    enum update_missing missing;
    bool (*check)(const struct element *argument, struct error *err);
    /* old is NULL for a field that is not there. An error names neither path nor document: the caller does. */
    bool (*apply)(const struct element *argument, const struct element *old, struct update_result *result, struct error *err);
};

/* NULL: there is no such operator. */
const struct update_op *update_op_find(const char *name, size_t len);

#endif
