#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/query/query_error.h"
#include "branch-service/query/update.h"
#include "branch-service/query/update_tree.h"
#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "tests/support/bson_support.h"

/* What updates do is in tests/corpus/update; here are messages, limits and document_prepare. */

static struct update *compile(struct bytes spec)
{
    struct update *update;
    struct error err;
    uint8_t *copy = malloc(spec.len);
    memcpy(copy, spec.data, spec.len);
    if (!update_compile(bytes_of(copy, spec.len), NULL, &update, &err))
        fail_msg("%s", err.message);
    free(copy); /* the update has a copy of its own */
    return update;
}

static struct update *compile_text(const char *text)
{
    bson_t *spec = bson_of_text(text);
    struct update *update = compile(bytes_of_bson(spec));
    bson_destroy(spec);
    return update;
}

static void refuses_spec(const char *text, const char *message)
{
    struct update *update;
    struct error err;
    bson_t *spec = bson_of_text(text);
    if (update_compile(bytes_of_bson(spec), NULL, &update, &err))
        fail_msg("accepted: %s", text);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
    bson_destroy(spec);
}

static void refuses_document(const char *spec, const char *text, const char *message)
{
    struct error err;
    bson_t out;
    bool changed;
    struct update *update = compile_text(spec);
    bson_t *document = bson_of_text(text);
    if (update_apply(update, bytes_of_bson(document), &out, &changed, &err))
        fail_msg("%s is accepted for %s", spec, text);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
    bson_destroy(document);
    update_free(update);
}

static void becomes(const char *spec, const char *before, const char *after)
{
    struct error err;
    bson_t out;
    bool changed;
    struct update *update = compile_text(spec);
    bson_t *document = bson_of_text(before), *expected = bson_of_text(after);
    if (!update_apply(update, bytes_of_bson(document), &out, &changed, &err))
        fail_msg("%s", err.message);
    assert_true(changed);
    assert_bson_equal(bytes_of_bson(&out), bytes_of_bson(expected), spec);
    bson_destroy(&out);
    bson_destroy(document);
    bson_destroy(expected);
    update_free(update);
}

static void the_first_field_decides_the_kind(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        enum update_kind kind;
    } cases[] = {
        { "{}", UPDATE_REPLACEMENT },
        { "{\"a\":1}", UPDATE_REPLACEMENT },
        { "{\"$set\":{}}", UPDATE_OPERATORS },
        { "{\"$inc\":{\"a\":1}}", UPDATE_OPERATORS },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct update *update = compile_text(cases[i].spec);
        assert_int_equal(update_kind(update), cases[i].kind);
        update_free(update);
    }
    update_free(NULL);
    struct update *update;
    struct error err;
    bson_t *stages = bson_of_text("{\"0\":{\"$set\":{\"a\":1}}}");
    const struct update_options options = { .is_pipeline = true };
    assert_true(update_compile(bytes_of_bson(stages), &options, &update, &err));
    assert_int_equal(update_kind(update), UPDATE_PIPELINE);
    update_free(update);
    bson_destroy(stages);
}

static void specs_are_refused_by_name(void **state)
{
    (void)state;
    refuses_spec("{\"$set\":{\"b\":1},\"$nosuch\":{\"a\":1}}", "the update operator '$nosuch' is not supported");
    refuses_spec("{\"$set\":{\"a\":1},\"b\":1}", "unknown modifier: 'b'");
    refuses_spec("{\"$set\":{\"a\":1},\"b\":1}", "must contain atomic operators only");
    refuses_spec("{\"$set\":\"x\"}", "$set has a value of type string");
    refuses_spec("{\"$set\":{\"$[].a\":1}}", "'$[]' cannot be in the first position in path '$[].a'");
    refuses_spec("{\"$unset\":{\"a.$[e].b\":1}}", "no array filter found for identifier 'e' in path 'a.$[e].b'");
    refuses_spec("{\"$rename\":{\"a\":1}}", "$rename of 'a': the 'to' field must be a string");
    refuses_spec("{\"$pull\":{\"a\":{\"$nosuch\":1}}}", "$pull of 'a': ");
    refuses_spec("{\"$push\":{\"a.b\":{\"$each\":[],\"$slice\":1.5}}}", "$push of 'a.b': the value for $slice must be an integer");
    refuses_spec("{\"$set\":{\"\":1}}", "an empty update path is not valid");
    refuses_spec("{\"$set\":{\"a..b\":1}}", "the update path 'a..b' contains an empty field name");
    refuses_spec("{\"$set\":{\"a.b\":1},\"$inc\":{\"a\":1}}", "updating the path 'a.b' would create a conflict at 'a'");
    refuses_spec("{\"$set\":{\"a\":1},\"$unset\":{\"a\":1}}", "updating the path 'a' would create a conflict at 'a'");
    refuses_spec("{\"$inc\":{\"a\":\"1\"}}", "$inc of 'a': cannot increment with a non-numeric argument of type string");
    refuses_spec("{\"_id\":[1]}", "the '_id' value cannot be of type array");
    refuses_spec("{\"_id\":1,\"_id\":1}", "more than one '_id'");
}

static void documents_are_refused_by_path(void **state)
{
    (void)state;
    refuses_document("{\"$set\":{\"a.b\":1}}", "{\"_id\":1,\"a\":1}", "cannot create field 'b' in element {\"a\":1}");
    refuses_document("{\"$set\":{\"a.b.c\":1}}", "{\"_id\":1,\"a\":{\"b\":\"x\"}}", "cannot create field 'c' in element {\"b\":\"x\"}");
    refuses_document("{\"$set\":{\"a.x\":1}}", "{\"_id\":1,\"a\":[1]}", "cannot create field 'x' in element {\"a\":[1]}");
    refuses_document("{\"$set\":{\"a.01\":1}}", "{\"_id\":1,\"a\":[1]}", "cannot create field '01' in element {\"a\":[1]}");
    refuses_document("{\"$inc\":{\"a\":1}}", "{\"_id\":1,\"a\":null}",
                     "$inc of 'a': cannot apply $inc to a value of non-numeric type null");
    refuses_document("{\"$inc\":{\"a\":1}}", "{\"_id\":1,\"a\":9223372036854775807}", "$inc of 'a': failed to apply $inc");
    refuses_document("{\"$set\":{\"a.2000000\":1}}", "{\"_id\":1,\"a\":[1]}",
                     "$set of 'a.2000000': can't backfill more than 1500000 elements");
    refuses_document("{\"$set\":{\"_id\":2}}", "{\"_id\":1}", "would modify the immutable field '_id'");
    refuses_document("{\"$set\":{\"_id\":1.0}}", "{\"_id\":1}", "would modify the immutable field '_id'");
    refuses_document("{\"_id\":2}", "{\"_id\":1}", "the immutable field '_id' was found to have been altered");
}

static void elements_in_messages_are_cut(void **state)
{
    (void)state;
    struct error err;
    bson_t out, document = BSON_INITIALIZER;
    bool changed;
    char text[3000];
    struct update *update = compile_text("{\"$set\":{\"a.b\":1}}");
    memset(text, 'x', sizeof text);
    bson_append_utf8(&document, "a", 1, text, sizeof text);
    assert_false(update_apply(update, bytes_of_bson(&document), &out, &changed, &err));
    assert_string_equal(err.message, "cannot create field 'b' in an element of type string (code 28, PathNotViable)");
    bson_destroy(&document);
    update_free(update);
}

static void replacements_keep_the_id_first(void **state)
{
    (void)state;
    becomes("{\"a\":1}", "{\"_id\":7,\"b\":1}", "{\"_id\":7,\"a\":1}");
    becomes("{\"a\":1,\"_id\":7,\"b\":2}", "{\"_id\":7}", "{\"_id\":7,\"a\":1,\"b\":2}");
    /* equal is enough, and the replacement's own is stored */
    becomes("{\"_id\":7.0,\"a\":1}", "{\"_id\":7}", "{\"_id\":7.0,\"a\":1}");
}

/* {a: [...]}: libbson warns of an array whose names are no indexes. */
static void append_as_array(bson_t *document, const bson_t *fields)
{
    bson_append_document(document, "a", 1, fields);
    ((uint8_t *)bson_get_data(document))[4] = BSON_TYPE_ARRAY;
}

static void arrays_keep_their_names_and_bytes(void **state)
{
    (void)state;
    /* an array written by somebody who names its elements in another way */
    bson_t array = BSON_INITIALIZER, document = BSON_INITIALIZER, out, wanted_array = BSON_INITIALIZER, wanted = BSON_INITIALIZER;
    struct error err;
    bool changed;
    bson_append_int32(&array, "x", 1, 1);
    bson_append_int32(&array, "y", 1, 2);
    append_as_array(&document, &array);
    bson_append_int32(&wanted_array, "x", 1, 1);
    bson_append_int32(&wanted_array, "y", 1, 5);
    bson_append_int32(&wanted_array, "2", 1, 6);
    append_as_array(&wanted, &wanted_array);
    struct update *update = compile_text("{\"$set\":{\"a.1\":5,\"a.2\":6}}"), *same = compile_text("{\"$set\":{\"a.1\":2}}");
    assert_true(update_apply(update, bytes_of_bson(&document), &out, &changed, &err));
    assert_true(changed);
    assert_bson_equal(bytes_of_bson(&out), bytes_of_bson(&wanted), "array");
    assert_true(update_apply(same, bytes_of_bson(&document), &out, &changed, &err));
    assert_false(changed);
    assert_memory_equal(bson_get_data(&out), bson_get_data(&wanted), wanted.len); /* untouched */
    bson_destroy(&out);
    update_free(update);
    update_free(same);
    bson_destroy(&array);
    bson_destroy(&document);
    bson_destroy(&wanted_array);
    bson_destroy(&wanted);
}

static void of_equal_names_the_first_is_meant(void **state)
{
    (void)state;
    becomes("{\"$set\":{\"a\":9}}", "{\"_id\":1,\"a\":1,\"a\":2}", "{\"_id\":1,\"a\":9,\"a\":2}");
    becomes("{\"$set\":{\"a.x\":9}}", "{\"_id\":1,\"a\":{\"x\":1,\"x\":2},\"a\":{\"x\":3}}",
            "{\"_id\":1,\"a\":{\"x\":9,\"x\":2},\"a\":{\"x\":3}}");
}

static void results_nest_to_the_limit(void **state)
{
    (void)state;
    /* the value's depth and the path's */
    for (int over = 0; over < 2; over++) {
        struct buffer spec = { 0 };
        struct error err;
        bson_t out, *document = bson_of_text("{\"_id\":1}");
        bool changed;
        buffer_append(&spec, "{\"$set\":{\"a.a.a\":", 17);
        for (int i = 0; i < MAX_NESTING - 4 + over; i++)
            buffer_append(&spec, "{\"a\":", 5);
        buffer_append(&spec, "{}", 2);
        for (int i = 0; i < MAX_NESTING - 4 + over; i++)
            buffer_append(&spec, "}", 1);
        buffer_append(&spec, "}}", 3);
        struct update *update = compile_text((char *)spec.data);
        assert_int_equal(update_apply(update, bytes_of_bson(document), &out, &changed, &err), !over);
        if (over) {
            assert_int_equal(query_error_code(&err), MONGO_OVERFLOW);
            assert_non_null(strstr(err.message, "nested deeper than 100 levels"));
        } else {
            assert_true(bson_check(bytes_of_bson(&out), &err));
            bson_destroy(&out);
        }
        update_free(update);
        bson_destroy(document);
        buffer_destroy(&spec);
    }
    /* the path alone */
    for (int n = MAX_NESTING; n <= MAX_NESTING + 1; n++) {
        struct buffer path = { 0 };
        struct error err;
        bson_t fields = BSON_INITIALIZER, spec = BSON_INITIALIZER, out, *document = bson_of_text("{\"_id\":1}");
        bool changed;
        for (int i = 0; i < n; i++)
            buffer_append(&path, i ? ".a" : "a", i ? 2 : 1);
        bson_append_int32(&fields, (char *)path.data, (int)path.len, 1);
        bson_append_document(&spec, "$set", 4, &fields);
        struct update *update = compile(bytes_of_bson(&spec));
        assert_int_equal(update_apply(update, bytes_of_bson(document), &out, &changed, &err), n == MAX_NESTING);
        if (n == MAX_NESTING) {
            assert_true(bson_check(bytes_of_bson(&out), &err));
            bson_destroy(&out);
        }
        update_free(update);
        bson_destroy(document);
        bson_destroy(&spec);
        bson_destroy(&fields);
        buffer_destroy(&path);
    }
}

static void results_grow_to_the_limit(void **state)
{
    (void)state;
    /* {_id: int, s: string, t: string}: a quarter and as much as makes the limit */
    for (int over = 0; over < 2; over++) {
        struct error err;
        bool changed;
        size_t quarter = MAX_DOCUMENT_BYTES / 4, rest = MAX_DOCUMENT_BYTES - quarter - 5 - 9 - 2 * 8 + (size_t)over;
        char *text = malloc(rest);
        memset(text, 'x', rest);
        bson_t document = BSON_INITIALIZER, fields = BSON_INITIALIZER, spec = BSON_INITIALIZER, out;
        bson_append_int32(&document, "_id", 3, 1);
        bson_append_utf8(&document, "s", 1, text, (int)quarter);
        bson_append_utf8(&fields, "t", 1, text, (int)rest);
        bson_append_document(&spec, "$set", 4, &fields);
        struct update *update = compile(bytes_of_bson(&spec));
        assert_int_equal(update_apply(update, bytes_of_bson(&document), &out, &changed, &err), !over);
        if (over) {
            assert_int_equal(query_error_code(&err), 17419);
            assert_non_null(strstr(err.message, "larger than 16777216 bytes"));
        } else {
            assert_int_equal(out.len, MAX_DOCUMENT_BYTES);
            bson_destroy(&out);
        }
        update_free(update);
        bson_destroy(&document);
        bson_destroy(&fields);
        bson_destroy(&spec);
        free(text);
    }
}

/* A short spec that asks for very much is stopped by the size, not by memory or time. */
static void many_backfills_end_early(void **state)
{
    (void)state;
    struct error err;
    bool changed;
    bson_t arrays = BSON_INITIALIZER, empty = BSON_INITIALIZER, fields = BSON_INITIALIZER, spec = BSON_INITIALIZER, out;
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "a%d", i);
        bson_append_array(&arrays, name, -1, &empty);
        snprintf(name, sizeof name, "a%d.1500000", i);
        bson_append_int32(&fields, name, -1, 1);
    }
    bson_append_document(&spec, "$set", 4, &fields);
    struct update *update = compile(bytes_of_bson(&spec));
    assert_false(update_apply(update, bytes_of_bson(&arrays), &out, &changed, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "larger than"));
    update_free(update);
    bson_destroy(&arrays);
    bson_destroy(&fields);
    bson_destroy(&spec);
}

static void many_paths_are_no_trouble(void **state)
{
    (void)state;
    enum { N = 50000 };
    struct error err;
    bool changed;
    bson_t document = BSON_INITIALIZER, fields = BSON_INITIALIZER, spec = BSON_INITIALIZER, out;
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        bson_append_int32(&document, name, -1, i);
        snprintf(name, sizeof name, "f%d", N - i);
        bson_append_int32(&fields, name, -1, 1);
    }
    bson_append_document(&spec, "$inc", 4, &fields);
    struct update *update = compile(bytes_of_bson(&spec));
    assert_true(update_apply(update, bytes_of_bson(&document), &out, &changed, &err));
    assert_true(changed);
    bson_iter_t iter;
    assert_true(bson_iter_init_find(&iter, &out, "f49999") && bson_iter_int32(&iter) == 50000);
    assert_true(bson_iter_init_find(&iter, &out, "f50000") && bson_iter_int32(&iter) == 1);
    bson_destroy(&out);
    update_free(update);
    bson_destroy(&document);
    bson_destroy(&fields);
    bson_destroy(&spec);
}

/* A spec of n fields {"a0": value, "a1": value, ...}, or (array) of n values. */
static bson_t *many(int n, const char *value, bool array)
{
    bson_t *made = bson_new(), *inner = bson_of_text(value);
    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, array ? "%d" : "a%d", i);
        bson_append_document(made, name, -1, inner);
    }
    bson_destroy(inner);
    return made;
}

static void numbers_of_parts_are_bounded(void **state)
{
    (void)state;
    struct update *update;
    struct error err;
    /* array filters, of which the 101st is not even looked at */
    bson_t *filters = many(101, "{\"i\":1}", true), *spec = bson_of_text("{\"$set\":{\"a.$[i]\":1}}");
    struct update_options options = { .array_filters = bytes_of_bson(filters) };
    assert_false(update_compile(bytes_of_bson(spec), &options, &update, &err));
    assert_int_equal(query_error_code(&err), MONGO_BAD_VALUE);
    assert_non_null(strstr(err.message, "more than 100 array filters"));
    bson_destroy(filters);
    bson_destroy(spec);
    /* the stages of a pipeline */
    for (int n = 1000; n <= 1001; n++) {
        bson_t *stages = many(n, "{\"$set\":{\"b\":1}}", true);
        options = (struct update_options) { .is_pipeline = true };
        bool accepted = update_compile(bytes_of_bson(stages), &options, &update, &err);
        assert_int_equal(accepted, n == 1000);
        if (accepted)
            update_free(update);
        else
            assert_int_equal(query_error_code(&err), MONGO_FAILED_TO_PARSE);
        bson_destroy(stages);
    }
    /* the keys of a sort */
    for (int n = 32; n <= 33; n++) {
        struct buffer text = { 0 };
        static const char start[] = "{\"$push\":{\"a\":{\"$each\":[],\"$sort\":{";
        buffer_append(&text, start, sizeof start - 1);
        for (int i = 0; i < n; i++) {
            char key[32];
            int len = snprintf(key, sizeof key, "%s\"k%d\":1", i ? "," : "", i);
            buffer_append(&text, key, (size_t)len);
        }
        buffer_append(&text, "}}}}", 5);
        spec = bson_of_text((char *)text.data);
        bool accepted = update_compile(bytes_of_bson(spec), NULL, &update, &err);
        assert_int_equal(accepted, n == 32);
        if (accepted)
            update_free(update);
        bson_destroy(spec);
        buffer_destroy(&text);
    }
}

static void a_long_set_is_refused_where_no_array_is(void **state)
{
    (void)state;
    bson_t array = BSON_INITIALIZER, each = BSON_INITIALIZER, fields = BSON_INITIALIZER, spec = BSON_INITIALIZER, out;
    bson_t *document = bson_of_text("{\"a\":\"text\"}");
    struct error err = { 0 };
    bool changed;
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        bson_append_int32(&array, name, -1, i);
    }
    bson_append_array(&each, "$each", 5, &array);
    bson_append_document(&fields, "a", 1, &each);
    bson_append_document(&spec, "$addToSet", -1, &fields);
    struct update *update = compile(bytes_of_bson(&spec));
    assert_false(update_apply(update, bytes_of_bson(document), &out, &changed, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    update_free(update);
    bson_destroy(document);
    bson_destroy(&array);
    bson_destroy(&each);
    bson_destroy(&fields);
    bson_destroy(&spec);
}

/* Long arrays and long sets: no more than a sort's time. */
static void long_sets_are_no_trouble(void **state)
{
    (void)state;
    enum { N = 200000 };
    static const char *const operators[] = { "$addToSet", "$pullAll" };
    bson_t array = BSON_INITIALIZER, document = BSON_INITIALIZER;
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        bson_append_int32(&array, name, -1, (i * 7919) % N);
    }
    bson_append_array(&document, "a", 1, &array);
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        struct error err;
        bson_t each = BSON_INITIALIZER, fields = BSON_INITIALIZER, spec = BSON_INITIALIZER, out;
        bool changed, adds = i == 0;
        bson_append_array(&each, "$each", 5, &array);
        if (adds)
            bson_append_document(&fields, "a", 1, &each);
        else
            bson_append_array(&fields, "a", 1, &array);
        bson_append_document(&spec, operators[i], -1, &fields);
        struct update *update = compile(bytes_of_bson(&spec));
        assert_true(update_apply(update, bytes_of_bson(&document), &out, &changed, &err));
        assert_int_equal(changed, !adds);
        if (changed) {
            bson_t *empty = bson_of_text("{\"a\":[]}");
            assert_bson_equal(bytes_of_bson(&out), bytes_of_bson(empty), operators[i]);
            bson_destroy(empty);
            bson_destroy(&out);
        }
        update_free(update);
        bson_destroy(&each);
        bson_destroy(&fields);
        bson_destroy(&spec);
    }
    bson_destroy(&array);
    bson_destroy(&document);
}

static void prepared_is(const char *before, const char *after)
{
    struct error err;
    bson_t out, *document = bson_of_text(before), *expected = bson_of_text(after);
    if (!document_prepare(bytes_of_bson(document), &out, &err))
        fail_msg("%s: %s", before, err.message);
    assert_bson_equal(bytes_of_bson(&out), bytes_of_bson(expected), before);
    bson_destroy(&out);
    bson_destroy(document);
    bson_destroy(expected);
}

static void refuses_to_prepare(const char *text, const char *message)
{
    struct error err;
    bson_t out, *document = bson_of_text(text);
    if (document_prepare(bytes_of_bson(document), &out, &err))
        fail_msg("accepted: %s", text);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
    bson_destroy(document);
}

static void documents_are_prepared(void **state)
{
    (void)state;
    prepared_is("{\"_id\":1,\"a\":1}", "{\"_id\":1,\"a\":1}");
    prepared_is("{\"a\":1,\"_id\":{\"x\":1},\"b\":2}", "{\"_id\":{\"x\":1},\"a\":1,\"b\":2}");
    prepared_is("{\"a\":1,\"_id\":null}", "{\"_id\":null,\"a\":1}");
    prepared_is("{\"_id\":1,\"a\":{\"$x\":1},\"a.b\":1,\"\":1}", "{\"_id\":1,\"a\":{\"$x\":1},\"a.b\":1,\"\":1}");
    prepared_is("{\"_id\":{\"$ref\":\"c\",\"$id\":1,\"$db\":\"d\"}}", "{\"_id\":{\"$ref\":\"c\",\"$id\":1,\"$db\":\"d\"}}");
    prepared_is("{\"_id\":1,\"$ref\":\"c\",\"$id\":1}", "{\"_id\":1,\"$ref\":\"c\",\"$id\":1}");
    prepared_is("{\"_id\":1,\"$x\":1,\"$id\":1,\"$ref\":1,\"$inc\":{\"a\":1}}",
                "{\"_id\":1,\"$x\":1,\"$id\":1,\"$ref\":1,\"$inc\":{\"a\":1}}");
    refuses_to_prepare("{\"_id\":{\"$id\":1}}", "'$id' in '_id' is not valid");
    refuses_to_prepare("{\"_id\":{\"$ref\":1,\"$id\":1}}", "'$ref' in '_id' is not valid");
    refuses_to_prepare("{\"_id\":{\"$ref\":\"c\",\"$id\":1,\"x\":1,\"$db\":\"d\"}}", "'$db' in '_id' is not valid");
    refuses_to_prepare("{\"_id\":{\"a\":[{\"$x\":1}]}}", "the dollar ($) prefixed field '$x' in '_id' is not valid for storage");
    refuses_to_prepare("{\"_id\":[1]}", "the '_id' value cannot be of type array");
    refuses_to_prepare("{\"_id\":{\"$undefined\":true}}", "cannot be of type undefined");
    refuses_to_prepare("{\"_id\":{\"$regularExpression\":{\"pattern\":\"a\",\"options\":\"\"}}}", "cannot be of type regex");
    refuses_to_prepare("{\"_id\":1,\"a\":1,\"_id\":1}", "more than one '_id'");
}

static void missing_ids_are_generated(void **state)
{
    (void)state;
    struct error err;
    bson_t first, second, *document = bson_of_text("{\"a\":1}");
    bson_iter_t iter;
    assert_true(document_prepare(bytes_of_bson(document), &first, &err));
    assert_true(document_prepare(bytes_of_bson(document), &second, &err));
    assert_true(bson_iter_init(&iter, &first) && bson_iter_next(&iter));
    assert_string_equal(bson_iter_key(&iter), "_id");
    assert_int_equal(bson_iter_type(&iter), BSON_TYPE_OID);
    assert_true(bson_iter_next(&iter));
    assert_string_equal(bson_iter_key(&iter), "a");
    assert_false(bson_equal(&first, &second));
    bson_destroy(&first);
    bson_destroy(&second);
    bson_destroy(document);
    /* no room for one */
    uint8_t *full = calloc(1, MAX_DOCUMENT_BYTES);
    put_u32(full, MAX_DOCUMENT_BYTES);
    full[4] = BSON_TYPE_BINARY;
    full[5] = 'b';
    put_u32(full + 7, MAX_DOCUMENT_BYTES - 13);
    assert_false(document_prepare(bytes_of(full, MAX_DOCUMENT_BYTES), &first, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    free(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_field_decides_the_kind),
        cmocka_unit_test(specs_are_refused_by_name),
        cmocka_unit_test(documents_are_refused_by_path),
        cmocka_unit_test(elements_in_messages_are_cut),
        cmocka_unit_test(replacements_keep_the_id_first),
        cmocka_unit_test(arrays_keep_their_names_and_bytes),
        cmocka_unit_test(of_equal_names_the_first_is_meant),
        cmocka_unit_test(results_nest_to_the_limit),
        cmocka_unit_test(results_grow_to_the_limit),
        cmocka_unit_test(many_backfills_end_early),
        cmocka_unit_test(many_paths_are_no_trouble),
        cmocka_unit_test(numbers_of_parts_are_bounded),
        cmocka_unit_test(a_long_set_is_refused_where_no_array_is),
        cmocka_unit_test(long_sets_are_no_trouble),
        cmocka_unit_test(documents_are_prepared),
        cmocka_unit_test(missing_ids_are_generated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
