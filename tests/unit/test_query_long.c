/* One document and one spec that are large: what many names are looked for in takes about as long as they are many, and what is
 * long all the same ends with whoever waits for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "branch-service/query/filter.h"
#include "branch-service/query/name_index.h"
#include "branch-service/query/projection.h"
#include "branch-service/query/update.h"
#include "common/base/caller.h"
#include "tests/support/bson_support.h"

/* A wide margin over what it takes, far below what going through all names for each name would. */
enum { MAX_SECONDS = 20 };

/* {f0: 0, f1: 1, ...}, or from the last to the first. */
static void append_fields(bson_t *document, int n, bool backwards)
{
    char key[16];
    for (int i = 0; i < n; i++) {
        int at = backwards ? n - 1 - i : i;
        int len = snprintf(key, sizeof key, "f%d", at);
        bson_append_int32(document, key, len, at);
    }
}

static void append_texts(bson_t *document, const char *name, int n, const char *format)
{
    char key[16], text[32];
    bson_t array;
    bson_append_array_begin(document, name, -1, &array);
    for (int i = 0; i < n; i++) {
        int len = snprintf(key, sizeof key, "%d", i);
        snprintf(text, sizeof text, format, i);
        bson_append_utf8(&array, key, len, text, -1);
    }
    bson_append_array_end(document, &array);
}

/* ---- names ---- */

static void a_name_has_its_number_among_few_and_many(void **state)
{
    (void)state;
    static char names[3000][8];
    struct name_index index = { 0 };
    struct arena arena;
    size_t number;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int len = snprintf(names[i], sizeof names[i], "%zu", i);
        assert_false(name_index_find(&index, names[i], (size_t)len, &number));
        assert_true(name_index_add(&index, &arena, names[i], (size_t)len));
        if (i > 2 * FEW_NAMES && i + 1 < ARRAY_LEN(names))
            continue;
        for (size_t j = 0; j <= i; j++) {
            assert_true(name_index_find(&index, names[j], strlen(names[j]), &number));
            assert_int_equal(number, j);
        }
        assert_false(name_index_find(&index, "", 0, &number));
        assert_false(name_index_find(&index, names[i], (size_t)len + 1, &number));
    }
    arena_destroy(&arena);
}

enum { MANY = 100000 };

static void project(const bson_t *spec, enum projection_kind kind, const bson_t *document, bson_t *out)
{
    struct projection *projection;
    struct bytes result;
    struct arena arena;
    struct error err;
    arena_init(&arena, EXPRESSION_MAX_MEMORY);
    const struct evaluation evaluation = { .arena = &arena, .document = bytes_of_bson(document) };
    if (!projection_compile(bytes_of_bson(spec), kind, NULL, &projection, &err) ||
        !projection_apply(projection, &evaluation, NULL, &result, &err))
        fail_msg("%s", err.message);
    bson_t view;
    assert_true(bson_init_static(&view, result.data, result.len));
    bson_copy_to(&view, out);
    projection_free(projection);
    arena_destroy(&arena);
}

/* Each way through a projection of many fields, with those that the document has in another order. */
static void many_fields_are_projected_fast(void **state)
{
    (void)state;
    static const struct {
        enum projection_kind kind;
        const char *what; /* of each field, %d its number */
        bool keeps;
    } ways[] = {
        { PROJECTION_FIND, "1", true },
        { PROJECTION_FIND, "0", false },
        { PROJECTION_PROJECT, "'$f%d'", true },
        { PROJECTION_ADD_FIELDS, "'$f%d'", true },
        { PROJECTION_ADD_FIELDS, "'$$REMOVE'", false },
    };
    bson_t document = BSON_INITIALIZER;
    append_fields(&document, MANY, true);
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        /* a path is looked for in the document itself: with its number in the name, few of them are enough */
        int n = strchr(ways[i].what, 'f') ? 300 : MANY;
        bson_t spec = BSON_INITIALIZER, result;
        for (int f = 0; f < n; f++) {
            char key[16], text[32];
            int len = snprintf(key, sizeof key, "f%d", f);
            if (ways[i].what[0] != '\'') {
                bson_append_int32(&spec, key, len, ways[i].what[0] == '1');
                continue;
            }
            snprintf(text, sizeof text, strchr(ways[i].what, 'f') ? "$f%d" : "$$REMOVE", f);
            bson_append_utf8(&spec, key, len, text, -1);
        }
        int64_t began = clock_monotonic_micros();
        project(&spec, ways[i].kind, &document, &result);
        assert_in_range(clock_monotonic_micros() - began, 0, (int64_t)MAX_SECONDS * MICROS_PER_SECOND);
        bool rest_stays = ways[i].kind == PROJECTION_ADD_FIELDS;
        assert_int_equal(bson_count_keys(&result), ways[i].keeps ? (rest_stays ? MANY : n) : MANY - n);
        bson_destroy(&spec);
        bson_destroy(&result);
    }
    bson_destroy(&document);
}

/* Of constants: no path is looked for. */
static void many_new_fields_keep_their_order(void **state)
{
    (void)state;
    bson_t document = BSON_INITIALIZER, spec = BSON_INITIALIZER, literal, result;
    bson_iter_t at;
    append_fields(&document, MANY, true);
    for (int i = 0; i < 2 * MANY; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "f%d", i);
        bson_append_document_begin(&spec, key, len, &literal);
        bson_append_int32(&literal, "$literal", -1, -i);
        bson_append_document_end(&spec, &literal);
    }
    int64_t began = clock_monotonic_micros();
    project(&spec, PROJECTION_ADD_FIELDS, &document, &result);
    assert_in_range(clock_monotonic_micros() - began, 0, (int64_t)MAX_SECONDS * MICROS_PER_SECOND);
    /* those that are there where they are, the others behind them as the spec has them */
    assert_true(bson_iter_init(&at, &result));
    for (int i = 0; i < 2 * MANY; i++) {
        assert_true(bson_iter_next(&at));
        assert_int_equal(bson_iter_int32(&at), i < MANY ? -(MANY - 1 - i) : -i);
    }
    assert_false(bson_iter_next(&at));
    bson_destroy(&document);
    bson_destroy(&spec);
    bson_destroy(&result);
}

static bool matches(const bson_t *spec, const bson_t *document, bool *result, struct error *err)
{
    struct filter *filter;
    if (!filter_compile(bytes_of_bson(spec), &filter, err))
        return false;
    bool ok = filter_matches(filter, bytes_of_bson(document), result, err);
    filter_free(filter);
    return ok;
}

static void many_keys_become_a_document_fast(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "{\"$expr\": {\"$eq\": [\"$o\", {\"$mergeObjects\": [\"$o\", \"$p\"]}]}}",
        "{\"$expr\": {\"$eq\": [\"$o\", {\"$arrayToObject\": {\"$objectToArray\": \"$o\"}}]}}",
        "{\"$expr\": {\"$eq\": [\"$o\", {\"$arrayToObject\": {\"$concatArrays\": [{\"$objectToArray\": \"$o\"},"
        " {\"$objectToArray\": \"$p\"}]}}]}}",
    };
    bson_t document = BSON_INITIALIZER, inner;
    bson_append_document_begin(&document, "o", 1, &inner);
    append_fields(&inner, MANY / 2, false);
    bson_append_document_end(&document, &inner);
    bson_append_document_begin(&document, "p", 1, &inner);
    append_fields(&inner, MANY / 2, true);
    bson_append_document_end(&document, &inner);
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        bson_t *spec = bson_of_text(specs[i]);
        struct error err;
        bool equal;
        int64_t began = clock_monotonic_micros();
        if (!matches(spec, &document, &equal, &err))
            fail_msg("%zu: %s", i, err.message);
        assert_in_range(clock_monotonic_micros() - began, 0, (int64_t)MAX_SECONDS * MICROS_PER_SECOND);
        assert_true(equal);
        bson_destroy(spec);
    }
    bson_destroy(&document);
}

/* ---- callers ---- */

static void append_all(bson_t *spec, bson_t *document)
{
    bson_t inner;
    bson_append_document_begin(spec, "a", 1, &inner);
    append_numbers(&inner, "$all", 200000);
    bson_append_document_end(spec, &inner);
    append_numbers(document, "a", 200000);
}

static void append_regexes(bson_t *spec, bson_t *document)
{
    bson_t inner, array;
    bson_append_document_begin(spec, "a", 1, &inner);
    bson_append_array_begin(&inner, "$in", 3, &array);
    for (int i = 0; i < 2000; i++) {
        char key[16], pattern[32];
        int len = snprintf(key, sizeof key, "%d", i);
        snprintf(pattern, sizeof pattern, "x*y%d$", i);
        bson_append_regex(&array, key, len, pattern, "");
    }
    bson_append_array_end(&inner, &array);
    bson_append_document_end(spec, &inner);
    append_texts(document, "a", 200000, "xxxxxxxxxxxxxxxx%d");
}

static void append_conditions(bson_t *spec, bson_t *document)
{
    append_fields(spec, 200000, false);
    append_fields(document, 200000, false);
}

static void append_properties(bson_t *spec, bson_t *document)
{
    bson_t schema, properties, empty;
    bson_append_document_begin(spec, "$jsonSchema", -1, &schema);
    bson_append_document_begin(&schema, "properties", -1, &properties);
    for (int i = 0; i < 200000; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "f%d", i);
        bson_append_document_begin(&properties, key, len, &empty);
        bson_append_document_end(&properties, &empty);
    }
    bson_append_document_end(&schema, &properties);
    bson_append_document_end(spec, &schema);
    append_fields(document, 200000, true);
}

static void append_required(bson_t *spec, bson_t *document)
{
    bson_t schema;
    bson_append_document_begin(spec, "$jsonSchema", -1, &schema);
    append_texts(&schema, "required", 200000, "f%d");
    bson_append_document_end(spec, &schema);
    append_fields(document, 200000, true);
}

static void append_enumeration(bson_t *spec, bson_t *document)
{
    bson_t schema, properties, property, values, value;
    bson_append_document_begin(spec, "$jsonSchema", -1, &schema);
    bson_append_document_begin(&schema, "properties", -1, &properties);
    bson_append_document_begin(&properties, "a", 1, &property);
    bson_append_array_begin(&property, "enum", -1, &values);
    bson_append_document_begin(&values, "0", 1, &value);
    append_fields(&value, 200000, false);
    bson_append_document_end(&values, &value);
    bson_append_array_end(&property, &values);
    bson_append_document_end(&properties, &property);
    bson_append_document_end(&schema, &properties);
    bson_append_document_end(spec, &schema);
    bson_append_document_begin(document, "a", 1, &value);
    append_fields(&value, 200000, true);
    bson_append_document_end(document, &value);
}

static void append_expression(bson_t *spec, bson_t *document, const char *text)
{
    bson_t *parsed = bson_of_text(text);
    bson_concat(spec, parsed);
    bson_destroy(parsed);
    append_numbers(document, "a", 200000);
}

/* In constant memory, each round goes through the array. */
static void append_searches(bson_t *spec, bson_t *document)
{
    append_expression(spec, document,
                      "{\"$expr\": {\"$reduce\": {\"input\": \"$a\", \"initialValue\": true, \"in\": {\"$in\": [-1, \"$a\"]}}}}");
}

static void append_trim(bson_t *spec, bson_t *document)
{
    enum { LENGTH = 1000000 };
    bson_t *parsed = bson_of_text("{\"$expr\": {\"$trim\": {\"input\": \"$t\", \"chars\": \"$c\"}}}");
    char *text = malloc(LENGTH);
    bson_concat(spec, parsed);
    bson_destroy(parsed);
    memset(text, 'z', LENGTH);
    bson_append_utf8(document, "t", 1, text, LENGTH);
    memset(text, 'a', LENGTH - 1);
    bson_append_utf8(document, "c", 1, text, LENGTH);
    free(text);
}

/* The conditions are put together one after the other. */
static void append_id_ranges(bson_t *spec, bson_t *document)
{
    bson_t parts, part, condition;
    bson_append_array_begin(spec, "$and", -1, &parts);
    for (int i = 0; i < 50000; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "%d", i);
        bson_append_document_begin(&parts, key, len, &part);
        bson_append_document_begin(&part, "_id", 3, &condition);
        if (i == 0)
            append_numbers(&condition, "$in", 200000);
        else
            bson_append_int32(&condition, "$gte", 4, -i);
        bson_append_document_end(&part, &condition);
        bson_append_document_end(&parts, &part);
    }
    /* else they are one range */
    bson_append_array_end(spec, &parts);
    bson_append_int32(document, "_id", 3, 1);
}

typedef void append_fn(bson_t *spec, bson_t *document);

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void is_left(bool ok, const struct error *err, int64_t began, enum error_code expected, size_t attempt)
{
    int64_t micros = clock_monotonic_micros() - began;
    if (ok)
        fail_msg("attempt %zu went through in %lld us", attempt, (long long)micros);
    if (err->code != expected)
        fail_msg("attempt %zu: %d %s", attempt, (int)err->code, err->message);
    if (micros > 3 * MICROS_PER_SECOND)
        fail_msg("attempt %zu ended after %lld us", attempt, (long long)micros);
}

static void a_match_ends_with_its_caller(void **state)
{
    (void)state;
    append_fn *const attempts[] = {
        append_all,         append_regexes,  append_conditions, append_properties, append_required,
        append_enumeration, append_searches, append_trim,       append_id_ranges,
    };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        bson_t spec = BSON_INITIALIZER, document = BSON_INITIALIZER;
        struct error err = { 0 };
        bool result;
        attempts[i](&spec, &document);
        int64_t began = clock_monotonic_micros();
        const struct caller until = { .deadline = began + MICROS_PER_SECOND / 10 };
        caller_set(&until);
        is_left(matches(&spec, &document, &result, &err), &err, began, ERROR_DEADLINE_EXCEEDED, i);
        const struct caller gone = { .is_gone = always };
        caller_set(&gone);
        began = clock_monotonic_micros();
        is_left(matches(&spec, &document, &result, &err), &err, began, ERROR_CANCELLED, i);
        caller_set(NULL);
        bson_destroy(&spec);
        bson_destroy(&document);
    }
}

/* {op: {prefix0: ..., prefix1: ..., ...}} */
static void append_update(bson_t *spec, const char *op, const char *prefix, int n)
{
    bson_t paths;
    bson_append_document_begin(spec, op, -1, &paths);
    for (int i = 0; i < n; i++) {
        char key[32], to[32];
        int len = snprintf(key, sizeof key, "%s%d", prefix, i);
        snprintf(to, sizeof to, "to%d", i);
        bson_append_utf8(&paths, key, len, to, -1);
    }
    bson_append_document_end(spec, &paths);
}

static void an_update_ends_with_its_caller(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bson_t spec = BSON_INITIALIZER, document = BSON_INITIALIZER, array, empty, out;
        struct update *update;
        struct error err = { 0 };
        bool changed;
        if (i == 0) { /* of each element, none of these fields */
            append_update(&spec, "$unset", "a.$[].f", 100000);
            bson_append_array_begin(&document, "a", 1, &array);
            for (int e = 0; e < 100000; e++) {
                char key[16];
                int len = snprintf(key, sizeof key, "%d", e);
                bson_append_document_begin(&array, key, len, &empty);
                bson_append_document_end(&array, &empty);
            }
            bson_append_array_end(&document, &array);
        } else if (i == 1) {
            append_update(&spec, "$rename", "f", 200000);
            append_fields(&document, 200000, true);
        } else { /* by many keys, that each element has last */
            bson_t *parsed = bson_of_text("{\"$push\": {\"a\": {\"$each\": [], \"$sort\": {\"f999.a\": 1, \"f999.b\": 1, \"f999.c\": 1,"
                                          " \"f999.d\": 1, \"f999.e\": 1, \"f999.f\": 1, \"f999.g\": 1, \"f999.h\": 1}}}}");
            bson_concat(&spec, parsed);
            bson_destroy(parsed);
            bson_append_array_begin(&document, "a", 1, &array);
            for (int e = 0; e < 1000; e++) {
                char key[16];
                int len = snprintf(key, sizeof key, "%d", e);
                bson_append_document_begin(&array, key, len, &empty);
                append_fields(&empty, 1000, false);
                bson_append_document_end(&array, &empty);
            }
            bson_append_array_end(&document, &array);
        }
        if (!update_compile(bytes_of_bson(&spec), NULL, &update, &err))
            fail_msg("%zu: %s", i, err.message);
        int64_t began = clock_monotonic_micros();
        const struct caller until = { .deadline = began + (i == 2 ? 10000 : MICROS_PER_SECOND / 10) };
        caller_set(&until);
        is_left(update_apply(update, bytes_of_bson(&document), &out, &changed, &err), &err, began, ERROR_DEADLINE_EXCEEDED, i);
        caller_set(NULL);
        update_free(update);
        bson_destroy(&spec);
        bson_destroy(&document);
    }
}

/* A caller who stays is looked for and found, again and again. */
static void who_stays_is_answered(void **state)
{
    (void)state;
    bson_t spec = BSON_INITIALIZER, document = BSON_INITIALIZER, inner;
    struct error err;
    bool result;
    const struct caller stays = { .deadline = clock_monotonic_micros() + 3600 * (int64_t)MICROS_PER_SECOND };
    bson_append_document_begin(&spec, "a", 1, &inner);
    append_numbers(&inner, "$all", 2000);
    bson_append_document_end(&spec, &inner);
    append_numbers(&document, "a", 2000);
    caller_set(&stays);
    assert_true(matches(&spec, &document, &result, &err));
    caller_set(NULL);
    assert_true(result);
    bson_destroy(&spec);
    bson_destroy(&document);
}

/* Each condition is a filter of its own, far larger than its text; all count against what a spec may take. */
static void many_conditions_are_too_many(void **state)
{
    (void)state;
    static const struct {
        const char *condition;
        bool update;
    } cases[] = { { "$elemMatch", false }, { "$gt", true } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bson_t spec = BSON_INITIALIZER, fields, condition;
        struct projection *projection;
        struct update *update;
        struct error err;
        if (cases[i].update)
            bson_append_document_begin(&spec, "$pull", -1, &fields);
        for (int f = 0; f < 150000; f++) {
            char name[16];
            snprintf(name, sizeof name, "f%d", f);
            bson_append_document_begin(cases[i].update ? &fields : &spec, name, -1, &condition);
            bson_append_document(&condition, cases[i].condition, -1, &(bson_t)BSON_INITIALIZER);
            bson_append_document_end(cases[i].update ? &fields : &spec, &condition);
        }
        if (cases[i].update)
            bson_append_document_end(&spec, &fields);
        assert_false(cases[i].update ? update_compile(bytes_of_bson(&spec), NULL, &update, &err)
                                     : projection_compile(bytes_of_bson(&spec), PROJECTION_FIND, NULL, &projection, &err));
        assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
        bson_destroy(&spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_its_number_among_few_and_many),
        cmocka_unit_test(many_fields_are_projected_fast),
        cmocka_unit_test(many_new_fields_keep_their_order),
        cmocka_unit_test(many_keys_become_a_document_fast),
        cmocka_unit_test(a_match_ends_with_its_caller),
        cmocka_unit_test(an_update_ends_with_its_caller),
        cmocka_unit_test(who_stays_is_answered),
        cmocka_unit_test(many_conditions_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
