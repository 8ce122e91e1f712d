/* $jsonSchema: draft 4 with MongoDB's changes (bsonType; no $ref, default, definitions, format, id, $schema).
 *
 * A keyword says something of values of its own type and nothing of others: {minimum: 5} holds for a string.
 *
 * Ownership  a schema lives in its arena and borrows the spec; its regexes are chained.
 * Threads    immutable.
 * Errors     INVALID_ARGUMENT naming the keyword.
 */
#ifndef ARGON_BRANCH_QUERY_JSON_SCHEMA_H
#define ARGON_BRANCH_QUERY_JSON_SCHEMA_H

#include "branch-service/query/filter_node.h"
#include "branch-service/query/filter_regex.h"
#include "branch-service/query/value_type.h"
#include "common/bson/decimal128.h"

struct schema;

/* The operand of $jsonSchema. */
CHECKED bool schema_compile(struct arena *arena, const struct element *operand, struct regex **regexes, const struct schema **schema,
                            struct error *err);
/* A failure goes through match_fail. */
bool schema_matches(struct match *match, const struct schema *schema, struct bytes document);

/* --- What json_schema.c hands to json_schema_match.c --- */

enum { NO_LIMIT = -1 };

struct schema_list {
    size_t n;
    const struct schema **schemas;
};

struct schema_name_list {
    size_t n;
    struct bytes *names;
};

/* A property, by name or by pattern; or what one demands of the others: names, or of the whole object: a schema. */
struct schema_property {
    struct bytes name;
    struct regex *pattern;
    const struct schema *schema;
    struct schema_name_list names;
    struct schema_property *next;
};

/* What is in no list. */
struct schema_rest {
    bool forbidden;
    const struct schema *schema; /* NULL: anything, unless forbidden */
};

struct schema {
    type_set types;             /* 0: all */
    struct element enumeration; /* an array; name NULL: none */

    struct element minimum, maximum; /* name NULL: none */
    bool exclusive_minimum, exclusive_maximum;
    bool has_exclusive_minimum, has_exclusive_maximum; /* was said */
    bool has_multiple_of;
    struct decimal128 multiple_of;

    int64_t min_length, max_length; /* in characters */
    struct regex *pattern;

    int64_t min_items, max_items;
    bool unique_items;
    bool has_items_list;
    const struct schema *items;    /* each */
    struct schema_list items_list; /* or one by one, */
    struct schema_rest more_items; /* and what follows */

    int64_t min_properties, max_properties;
    struct schema_name_list required;
    struct schema_property *properties, *pattern_properties, *dependencies;
    struct schema_rest more_properties;

    struct schema_list all_of, any_of, one_of;
    const struct schema *not_this;
};

/* For multipleOf; a double is what its 15 digits say. */
struct decimal128 decimal_of_number(const struct element *number);

#endif
