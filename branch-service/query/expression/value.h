/* Values made while an expression is evaluated, and what the operators ask of them. */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_VALUE_H
#define ARGON_BRANCH_QUERY_EXPRESSION_VALUE_H

#include "branch-service/query/expression.h"
#include "branch-service/query/value_type.h"
#include "common/base/arena.h"
#include "common/base/caller.h"
#include "common/bson/decimal128.h"
#include "common/bson/element.h"

/* One evaluation on its way through an expression. */
struct run {
    struct arena *arena;
    struct bytes document;
    const struct expression_binding *bindings;
    int64_t now;
    struct error *err;
    uint64_t rounds; /* of all loops */
    int64_t began;   /* when there had been some hundreds of them; 0: not yet */
};

/* Sets the run's error, with MongoDB's code. False. */
#define fail(run, code, ...) query_error((run)->err, (code), __VA_ARGS__)
bool fail_memory(struct run *run);
/* Before something that reads so many bytes: does anybody still wait for it? */
static inline bool values_go_on(struct run *run, size_t bytes)
{
    return caller_still_waits(caller_steps_of(bytes), run->err);
}

void *run_alloc(struct run *run, size_t size); /* NULL: the error is set */

/* Once a round in every loop over elements: loops in loops multiply without needing memory. False: they have taken too long. */
bool check_rounds(struct run *run);
static inline bool next_round(struct run *run)
{
    return (++run->rounds & 255) || check_rounds(run);
}

/* Makers: false when there is no memory, the error is set. */
bool make_missing(struct element *out);
bool make_null(struct element *out);
bool make_bool(bool value, struct element *out);
bool make_int32(struct run *run, int32_t value, struct element *out);
bool make_int64(struct run *run, int64_t value, struct element *out);
bool make_int(struct run *run, int64_t value, struct element *out); /* int32 where it fits */
bool make_double(struct run *run, double value, struct element *out);
bool make_decimal(struct run *run, struct decimal128 value, struct element *out);
bool make_date(struct run *run, int64_t millis, struct element *out);
bool make_string(struct run *run, struct bytes text, struct element *out);
bool make_text(struct run *run, const char *text, struct element *out);

/* Elements that become an array or a document at the end. {0} is an empty list. */
struct list {
    struct element *items;
    size_t n, capacity;
};

bool list_add(struct run *run, struct list *list, const struct element *value);
/* With another name, which is borrowed. */
bool list_add_named(struct run *run, struct list *list, const char *name, size_t len, const struct element *value);
bool list_add_all(struct run *run, struct list *list, const struct element *array);
/* The elements of an array, or the fields of a document. */
bool list_of(struct run *run, const struct element *value, struct list *list);
/* A missing value becomes null in an array and is left out of a document. */
bool make_array(struct run *run, const struct list *list, struct element *out);
bool make_document(struct run *run, const struct list *list, struct element *out);
/* Its elements from begin to in front of end, as far as they are there; borrowed. */
struct list list_part(const struct list *list, int64_t begin, int64_t end);
/* Keeps the order of what is equal. */
typedef int compare_fn(const struct element *a, const struct element *b, const void *ctx);
bool list_sort(struct run *run, struct list *list, compare_fn *compare, const void *ctx);
/* In the order of values, equal ones once: the first of them. */
bool list_sort_unique(struct run *run, struct list *list);
size_t count_elements(const struct element *array);

/* null, undefined or missing */
static inline bool is_nullish(const struct element *value)
{
    return value->type == BSON_TYPE_EOD || value->type == BSON_TYPE_NULL || value->type == BSON_TYPE_UNDEFINED;
}

static inline bool is_string(const struct element *value)
{
    return value->type == BSON_TYPE_UTF8;
}

/* Of numbers. */
double double_of(const struct element *number);
double double_of_decimal(struct decimal128 value);
struct decimal128 decimal_of(const struct element *number);
/* Towards zero, and to the nearest that there is; NaN is 0. */
int64_t int64_of(const struct element *number);
/* The same, but a decimal is rounded, half to even, and what does not fit is an error. */
bool long_of(struct run *run, const struct element *number, int64_t *out);
/* Is it whole, and does it fit? Any value can be asked. */
bool exact_int64(const struct element *value, int64_t *out);
bool exact_int32(const struct element *value, int32_t *out);
/* The wider of two types of number: int, long, double, decimal. */
uint8_t wider_type(uint8_t a, uint8_t b);

/* What a value reads as where a string is wanted; error 16007 for types that have none. */
bool text_of_value(struct run *run, const struct element *value, struct bytes *text);
void text_of_double(double value, char text[32]);

#endif
