/* The update operators on fields, one row each. They turn an old value into a new one; where the field is, and
 * what becomes of documents and arrays around it, is the traversal's business (update_tree.h).
 *
 * Ownership  what an operator makes of its argument lives in the update's arena; filters are freed with the
 *            update.
 * Errors     those of query_error.h. An error names neither path nor document: the caller does.
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_OPS_H
#define ARGON_BRANCH_QUERY_UPDATE_OPS_H

#include "branch-service/query/path.h"
#include "common/bson/builder.h"

enum update_missing {
    UPDATE_CREATES, /* a path that is not there is made; one that cannot be is an error */
    UPDATE_EXPECTS, /* it is left alone; one that cannot be is an error all the same */
    UPDATE_SKIPS,   /* it is left alone */
};

/* One operator at one path. */
struct update_action {
    const struct update_op *op;
    struct path path;
    struct element argument; /* its name is the path */
    const void *compiled;    /* the operator's own form of the argument; NULL: the argument says it all */
    size_t elements_depth;   /* so many components reach the last that is "$[]" or "$[name]"; 0: there is none */
};

/* Where a value goes. Names and old values that nobody writes are gone. */
struct update_slot {
    struct builder *out;
    const char *name;
    size_t name_len;
    const struct element *old; /* NULL: a field that is not there */
    bool written;
    uint64_t now_micros;
};

void update_slot_write(struct update_slot *slot, uint8_t type, struct bytes value);
void update_slot_keep(struct update_slot *slot); /* the old value */
/* An array, for builder_index and builder_value; then builder_end. */
void update_slot_begin_array(struct update_slot *slot);

struct update_compiler {
    struct arena *arena;
    struct update_filter *filters; /* newest first */
    bool writes_time;
};

struct update_op {
    const char *name;
    enum update_missing missing;
    bool on_insert_only;
    bool (*compile)(struct update_compiler *compiler, struct update_action *action, struct error *err);
    bool (*apply)(const struct update_action *action, struct update_slot *slot, struct error *err);
};

/* NULL: there is no such operator. */
const struct update_op *update_op_find(const char *name, size_t len);
/* Row by row; NULL behind the last. */
const struct update_op *update_op_at(size_t i);

/* The other half of $rename, whose row takes the source away: sets the target. Its compiled form is the source's
 * path; the argument is the value found there (update_resolve.c). */
extern const struct update_op update_rename_target;

/* A filter that the update owns. */
struct update_filter {
    struct filter *filter;
    struct update_filter *next;
};

/* Compiles a filter that the update owns. $expr, which needs a whole document, is refused. */
CHECKED bool update_compile_filter(struct update_compiler *compiler, struct bytes spec, const struct filter **filter, struct error *err);
/* Does it match {name: value}? The scratch buffer is for many calls. */
CHECKED bool update_matches_value(const struct filter *filter, const char *name, const struct element *value, struct buffer *scratch,
                                  bool *matches, struct error *err);
/* Is there $expr in a filter, where it would be an operator? */
bool update_has_expr(struct bytes filter);

/* Rows' functions that have files of their own. */
bool update_increment_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_increment_apply(const struct update_action *action, struct update_slot *slot, struct error *err);
bool update_multiply_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_multiply_apply(const struct update_action *action, struct update_slot *slot, struct error *err);
bool update_bit_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_bit_apply(const struct update_action *action, struct update_slot *slot, struct error *err);

bool update_push_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_push_apply(const struct update_action *action, struct update_slot *slot, struct error *err);
bool update_add_to_set_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_add_to_set_apply(const struct update_action *action, struct update_slot *slot, struct error *err);
bool update_pop_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_pop_apply(const struct update_action *action, struct update_slot *slot, struct error *err);
bool update_pull_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_pull_apply(const struct update_action *action, struct update_slot *slot, struct error *err);
bool update_pull_all_compile(struct update_compiler *compiler, struct update_action *action, struct error *err);
bool update_pull_all_apply(const struct update_action *action, struct update_slot *slot, struct error *err);

/* The integer that a number of any type is exactly. */
bool update_whole_number(const struct element *e, int64_t *value);

#endif
