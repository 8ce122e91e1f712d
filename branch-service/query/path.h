/* Dotted paths, and what they reach in a document.
 *
 * This is the one place that knows how a path walks through arrays: operators only see the values it finds.
 *
 *   - a component names a field of a document;
 *   - an array on the way is entered: each of its documents is tried with the same component, and an element
 *     whose index the component is ("0", "17", no leading zero) is taken with the next one. Both readings
 *     count;
 *   - an array in an array is entered by an index only;
 *   - at the end of the path an array stands for each of its elements and for itself, unless an index led to
 *     it or the path asks for whole arrays: then for itself;
 *   - a field that is not there is found as missing (NULL), once for every document that lacks it; a scalar
 *     on the way counts as one that lacks it, except in an array, where it is passed over.
 *
 * Ownership  a path lives in its arena.
 */
#ifndef ARGON_BRANCH_QUERY_PATH_H
#define ARGON_BRANCH_QUERY_PATH_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/bson/element.h"

enum {
    MAX_PATH_COMPONENTS = 128, /* more than documents nest */
    NO_INDEX = -1,
};

struct path_component {
    const char *name;
    uint32_t len;
    int64_t index; /* as a position in an array; NO_INDEX when it is no number that could be one */
};

struct path {
    const char *text; /* with the dots */
    size_t n;
    struct path_component *components;
    bool whole_arrays; /* false from path_parse */
};

/* The name is borrowed. */
void path_component_init(struct path_component *component, const char *name, size_t len);

/* The text is copied. INVALID_ARGUMENT: too many components. */
CHECKED bool path_parse(const char *text, size_t len, struct arena *arena, struct path *path, struct error *err);

/* The same of a path of field names, as MongoDB has them in sorts, projections and stages; with its codes. */
CHECKED bool field_path_parse(const char *text, size_t len, struct arena *arena, struct path *path, struct error *err);
/* A name with a dollar in front that is no field's: but for those of a DBRef, and two that MongoDB's own servers use. */
bool field_name_is_reserved(const char *name, size_t len);

/* Components in the order in which updates are applied and create fields, MongoDB's: by their bytes; but two that begin
 * with a digit (and no zero in front) by their length first, so that numbers go by their value. */
int path_component_compare(const struct path_component *a, const struct path_component *b);

/* True ends the walk. value is NULL for missing. */
typedef bool path_visit_fn(const struct element *value, void *ctx);
/* Visits what the path reaches until somebody says true, and says so itself. */
bool path_visit(const struct path *path, struct bytes document, path_visit_fn *visit, void *ctx);
/* ... and when somebody did, which element of the outermost array on the way it was in; NO_INDEX: no array was
 * entered. */
bool path_visit_position(const struct path *path, struct bytes document, path_visit_fn *visit, void *ctx, int64_t *index);

#endif
