#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>

#include "branch-service/query/expression.h"
#include "branch-service/query/filter.h"
#include "branch-service/query/filter_regex.h"
#include "branch-service/query/path.h"
#include "branch-service/query/query_error.h"
#include "common/base/clock.h"
#include "common/bson/builder.h"
#include "common/bson/key_encoding.h"
#include "tests/support/bson_support.h"

/* What filters match is in tests/corpus/filter; here is the rest of the interface. */

static struct filter *compile(const char *spec)
{
    struct filter *filter;
    struct error err;
    bson_t *document = bson_of_text(spec);
    if (!filter_compile(bytes_of_bson(document), &filter, &err))
        fail_msg("%s: %s", spec, err.message);
    bson_destroy(document); /* the filter has a copy of its own */
    return filter;
}

static bool filter_says(const struct filter *filter, struct bytes document)
{
    struct error err;
    bool result;
    if (!filter_matches(filter, document, &result, &err))
        fail_msg("%s", err.message);
    return result;
}

static bool matches(const char *spec, const char *text)
{
    struct filter *filter = compile(spec);
    bson_t *document = bson_of_text(text);
    bool result = filter_says(filter, bytes_of_bson(document));
    bson_destroy(document);
    filter_free(filter);
    return result;
}

static void refuses(const char *spec, const char *message)
{
    struct filter *filter;
    struct error err;
    bson_t *document = bson_of_text(spec);
    if (filter_compile(bytes_of_bson(document), &filter, &err))
        fail_msg("accepted: %s", spec);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
    bson_destroy(document);
}

static void an_empty_spec_matches_everything(void **state)
{
    (void)state;
    struct filter *filter;
    struct error err;
    struct bytes key;
    bson_t *document = bson_of_text("{\"_id\":1}");
    assert_true(filter_compile(bytes_of(NULL, 0), &filter, &err));
    assert_true(filter_says(filter, bytes_of_bson(document)));
    assert_false(filter_single_id(filter, &key));
    bson_destroy(document);
    filter_free(filter);
    filter_free(NULL);
    assert_true(matches("{}", "{\"_id\":1}"));
}

static void operators_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const unsupported[] = { "$geoIntersects", "$near", "$nearSphere", "$within", "$maxDistance" };
    for (size_t i = 0; i < ARRAY_LEN(unsupported); i++) {
        char spec[128], message[128];
        snprintf(spec, sizeof spec, "{\"a\":{\"%s\":1}}", unsupported[i]);
        snprintf(message, sizeof message, "filter on 'a': the filter operator '%s' is not supported", unsupported[i]);
        refuses(spec, message);
        /* also behind one that is */
        snprintf(spec, sizeof spec, "{\"a\":{\"$eq\":1,\"%s\":1}}", unsupported[i]);
        refuses(spec, message);
    }
    refuses("{\"b\":1,\"$where\":\"x\"}", "the filter operator '$where' is not supported (code 115, CommandNotSupported)");
    refuses("{\"$text\":{\"$search\":\"x\"}}", "the filter operator '$text' is not supported");
    refuses("{\"$expr\":{\"$gt\":[1,{\"$let\":{\"vars\":{\"a\":{\"$rand\":{}}},\"in\":\"$$a\"}}]}}",
            "$expr: $rand is not supported in a filter");
    refuses("{\"$sampleRate\":0.5}", "the filter operator '$sampleRate' is not supported");
    refuses("{\"a\":{\"$nosuch\":1}}", "filter on 'a': unknown operator '$nosuch' (code 2, BadValue)");
    refuses("{\"$nosuch\":1}", "unknown top level operator '$nosuch'");
    refuses("{\"a\":{\"$eq\":1,\"b\":2}}", "unknown operator 'b'");
    refuses("{\"a\":{\"$undefined\":true}}", "filter on 'a': cannot compare to undefined");
    refuses("{\"$and\":[{\"a\":{\"$in\":1}}]}", "filter on 'a': $in needs an array");
}

/* NULL: the filter has no single _id. */
static void single_id_is(const char *spec, const char *id)
{
    struct filter *filter = compile(spec);
    struct bytes key;
    bool has = filter_single_id(filter, &key);
    assert_int_equal(has, id != NULL);
    if (id) {
        char text[128];
        struct buffer expected = { 0 };
        struct error err;
        snprintf(text, sizeof text, "{\"_id\":%s}", id);
        bson_t *document = bson_of_text(text);
        assert_true(key_encode_document_id(bytes_of_bson(document), &expected, &err));
        assert_true(bytes_equal(key, buffer_bytes(&expected)));
        buffer_destroy(&expected);
        bson_destroy(document);
    }
    filter_free(filter);
}

static void single_ids_are_found(void **state)
{
    (void)state;
    single_id_is("{\"_id\":1}", "1");
    single_id_is("{\"_id\":1.0}", "1");
    single_id_is("{\"_id\":{\"$eq\":\"x\"}}", "\"x\"");
    single_id_is("{\"a\":2,\"_id\":\"x\"}", "\"x\"");
    single_id_is("{\"_id\":{\"x\":1,\"y\":2}}", "{\"x\":1,\"y\":2}");
    single_id_is("{\"_id\":{}}", "{}");
    single_id_is("{\"_id\":null}", "null");
    single_id_is("{\"_id\":{\"$ref\":\"c\",\"$id\":1}}", "{\"$ref\":\"c\",\"$id\":1}");
    single_id_is("{\"_id\":[1]}", NULL);
    single_id_is("{\"_id\":{\"$eq\":{\"$regularExpression\":{\"pattern\":\"x\",\"options\":\"\"}}}}", NULL);
    single_id_is("{\"_id.x\":1}", NULL);
    single_id_is("{\"a\":1}", NULL);
    single_id_is("{}", NULL);
    /* two conditions: one key, and matching settles the other */
    single_id_is("{\"_id\":1,\"_id\":{\"$eq\":2}}", "1");
    assert_false(matches("{\"_id\":1,\"_id\":{\"$eq\":2}}", "{\"_id\":1}"));
}

/* The values of a list that lie within the bounds that a filter gives, by their places; NULL: it gives none. */
static void bounds_hold(const char *spec, const char *expected)
{
    static const char ids[] =
        "[{\"$minKey\":1},null,{\"$numberDouble\":\"NaN\"},{\"$numberDouble\":\"-Infinity\"},1,1.5,2,{\"$numberDecimal\":"
        "\"1E+40\"},\"\",\"a\",\"b\",{},{\"x\":1},{\"$oid\":\"000000000000000000000001\"},false,true,{\"$maxKey\":1}]";
    char text[sizeof ids + 16], held[64] = "";
    struct filter *filter = compile(spec);
    const struct id_range *ranges;
    struct element_reader reader;
    struct element list, id;
    struct error err;
    size_t n;
    bool bounded = filter_id_bounds(filter, &ranges, &n);
    snprintf(text, sizeof text, "{\"ids\":%s}", ids);
    bson_t *document = bson_of_text(text);
    assert_true(element_find(bytes_of_bson(document), "ids", 3, &list));
    element_reader_init(&reader, list.value);
    for (char name = 'a'; bounded && element_next(&reader, &id); name++) {
        struct buffer key = { 0 };
        assert_true(key_encode_element(&id, &key, &err));
        for (size_t i = 0; i < n; i++) {
            if (bytes_compare(ranges[i].from, buffer_bytes(&key)) <= 0 &&
                (ranges[i].to.len == 0 || bytes_compare(buffer_bytes(&key), ranges[i].to) < 0))
                held[strlen(held)] = name;
            if (i > 0)
                assert_true(ranges[i - 1].to.len > 0 && bytes_compare(ranges[i - 1].to, ranges[i].from) < 0);
        }
        buffer_destroy(&key);
    }
    if (bounded != (expected != NULL) || (expected && strcmp(held, expected) != 0))
        fail_msg("%s: %s", spec, bounded ? held : "no bounds");
    bson_destroy(document);
    filter_free(filter);
}

static void bounds_of_ids_are_exact(void **state)
{
    (void)state;
    bounds_hold("{}", NULL);
    bounds_hold("{\"a\":1}", NULL);
    bounds_hold("{\"_id.x\":1}", NULL);
    bounds_hold("{\"_id\":1}", "e");
    bounds_hold("{\"_id\":{\"$gt\":1}}", "fgh");
    bounds_hold("{\"_id\":{\"$gte\":1}}", "efgh");
    bounds_hold("{\"_id\":{\"$lt\":2}}", "def");
    bounds_hold("{\"_id\":{\"$lte\":2}}", "defg");
    bounds_hold("{\"_id\":{\"$gt\":1,\"$lt\":2}}", "f");
    bounds_hold("{\"_id\":{\"$gt\":2,\"$lt\":1}}", "");
    bounds_hold("{\"_id\":{\"$lte\":{\"$numberDouble\":\"NaN\"}}}", "c");
    bounds_hold("{\"_id\":{\"$gt\":{\"$numberDouble\":\"NaN\"}}}", "");
    bounds_hold("{\"_id\":{\"$lte\":{\"$numberDouble\":\"-Infinity\"}}}", "d");
    bounds_hold("{\"_id\":{\"$gte\":\"a\"}}", "jk");
    bounds_hold("{\"_id\":{\"$lt\":\"b\"}}", "ij");
    bounds_hold("{\"_id\":{\"$gte\":{}}}", "lm");
    bounds_hold("{\"_id\":{\"$gt\":false}}", "p");
    bounds_hold("{\"_id\":{\"$gt\":null}}", "");
    bounds_hold("{\"_id\":{\"$gte\":null}}", "b");
    bounds_hold("{\"_id\":{\"$gt\":{\"$minKey\":1}}}", "bcdefghijklmnopq");
    bounds_hold("{\"_id\":{\"$lt\":{\"$minKey\":1}}}", "");
    bounds_hold("{\"_id\":{\"$lte\":{\"$maxKey\":1}}}", "abcdefghijklmnopq");
    bounds_hold("{\"_id\":{\"$gt\":{\"$maxKey\":1}}}", "");
    bounds_hold("{\"_id\":{\"$in\":[2,\"a\",1.0,null,[3],true]}}", "begjp");
    bounds_hold("{\"_id\":{\"$in\":[]}}", "");
    bounds_hold("{\"_id\":{\"$in\":[1,{\"$regularExpression\":{\"pattern\":\"x\",\"options\":\"\"}}]}}", NULL);
    bounds_hold("{\"_id\":{\"$in\":[1,2],\"$gt\":1}}", "g");
    bounds_hold("{\"_id\":[1]}", "");
    bounds_hold("{\"_id\":{\"$gt\":[1]}}", "");
    bounds_hold("{\"_id\":{\"$ne\":1}}", NULL);
    bounds_hold("{\"_id\":{\"$not\":{\"$gt\":1}}}", NULL);
    bounds_hold("{\"a\":1,\"$and\":[{\"_id\":{\"$gt\":1}},{\"_id\":{\"$lt\":2}}]}", "f");
    bounds_hold("{\"$or\":[{\"_id\":{\"$gte\":2}},{\"_id\":{\"$in\":[1,2,\"a\"]}}]}", "eghj");
    bounds_hold("{\"$or\":[{\"_id\":1},{\"a\":1}]}", NULL);
    bounds_hold("{\"$nor\":[{\"_id\":1}]}", NULL);
}

/* What is put together from many conditions costs what they are, not the square of it. */
static void many_conditions_on_ids_are_put_together(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct buffer any = { 0 }, all = { 0 };
    const struct id_range *ranges;
    size_t n;
    char text[64];
    for (int i = 0; i < N; i++) {
        buffer_append(&any, text, (size_t)snprintf(text, sizeof text, "%s{\"_id\":%d}", i ? "," : "{\"$or\":[", 2 * (N - i)));
        buffer_append(&all, text,
                      (size_t)snprintf(text, sizeof text, "%s{\"_id\":{\"$gt\":%d,\"$lt\":%d}}", i ? "," : "{\"$and\":[", i, 3 * N - i));
    }
    buffer_append(&any, "]}", 3);
    buffer_append(&all, "]}", 3);
    struct filter *filter = compile((char *)any.data);
    assert_true(filter_id_bounds(filter, &ranges, &n));
    assert_int_equal(n, N);
    filter_free(filter);
    filter = compile((char *)all.data);
    assert_true(filter_id_bounds(filter, &ranges, &n));
    assert_int_equal(n, 1);
    filter_free(filter);
    buffer_destroy(&any);
    buffer_destroy(&all);
}

/* NO_INDEX: none. */
static void position_is(const char *spec, const char *text, int64_t expected)
{
    struct filter *filter = compile(spec);
    bson_t *document = bson_of_text(text);
    int64_t index = NO_INDEX;
    assert_true(filter_says(filter, bytes_of_bson(document)));
    bool found = filter_match_position(filter, bytes_of_bson(document), &index);
    if (found != (expected != NO_INDEX) || index != expected)
        fail_msg("%s: %lld", spec, (long long)index);
    bson_destroy(document);
    filter_free(filter);
}

static void the_element_that_matched_is_known(void **state)
{
    (void)state;
    position_is("{\"a\":2}", "{\"a\":[1,2,2]}", 1);
    position_is("{\"a\":{\"$gt\":1}}", "{\"a\":[0,1,5]}", 2);
    position_is("{\"a\":1}", "{\"a\":1}", NO_INDEX);
    position_is("{}", "{\"a\":[1]}", NO_INDEX);
    position_is("{\"a\":[1,2]}", "{\"a\":[1,2]}", NO_INDEX);
    position_is("{\"a.b\":3}", "{\"a\":[{\"b\":1},{\"b\":[2,3]}]}", 1);
    position_is("{\"a.b\":3}", "{\"a\":{\"b\":[2,3]}}", 1);
    position_is("{\"a.b\":null}", "{\"a\":[{\"b\":1},{}]}", 1);
    position_is("{\"a.1\":3}", "{\"a\":[2,3]}", 1);
    position_is("{\"a\":{\"$elemMatch\":{\"$gt\":1,\"$lt\":3}}}", "{\"a\":[0,5,2]}", 2);
    position_is("{\"a\":{\"$elemMatch\":{\"b\":2}}}", "{\"a\":[{\"b\":1},{\"b\":2}]}", 1);
    position_is("{\"a.b\":{\"$elemMatch\":{\"$eq\":2}}}", "{\"a\":[{\"b\":[1]},{\"b\":[1,9,2]}]}", 1);
    position_is("{\"a\":1,\"b\":2}", "{\"a\":[0,0,1],\"b\":[0,2]}", 1);
    position_is("{\"b\":2,\"a\":1}", "{\"a\":[0,0,1],\"b\":[0,2]}", 1);
    position_is("{\"a\":1,\"b\":2}", "{\"a\":[0,0,1],\"b\":2}", 2);
    position_is("{\"$and\":[{\"a\":1}]}", "{\"a\":[0,1]}", 1);
    position_is("{\"$or\":[{\"a\":1}]}", "{\"a\":[0,1]}", 1);
    position_is("{\"$or\":[{\"$and\":[{\"a\":1},{\"b\":0}]}]}", "{\"a\":[0,1],\"b\":[0]}", 0);
    position_is("{\"$or\":[{\"a\":1},{\"b\":1}]}", "{\"a\":[0,1]}", NO_INDEX);
    position_is("{\"a\":{\"$ne\":5}}", "{\"a\":[0,1]}", NO_INDEX);
    position_is("{\"a\":{\"$not\":{\"$gt\":5}}}", "{\"a\":[0,1]}", NO_INDEX);
    position_is("{\"a\":{\"$in\":[7,1]}}", "{\"a\":[0,1]}", 1);
    position_is("{\"a\":{\"$size\":2}}", "{\"a\":[0,1]}", NO_INDEX);
    position_is("{\"a.b\":{\"$exists\":true}}", "{\"a\":[{},{\"b\":1}]}", 1);
}

/* Patterns that would run for ages are given up, with the match as an error and not as an answer. */
static void hostile_patterns_are_bounded(void **state)
{
    (void)state;
    static const char *const patterns[] = { "(a+)+$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a*)*b", "(.*)*(.*)*(.*)*x" };
    char text[2048] = "{\"a\":\"", spec[256];
    memset(text + 6, 'a', 1000);
    memcpy(text + 1006, "!\"}", 4);
    bson_t *document = bson_of_text(text);
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        bool matches = true;
        struct error err = { 0 };
        snprintf(spec, sizeof spec, "{\"a\":{\"$regex\":\"%s\"}}", patterns[i]);
        struct filter *filter = compile(spec);
        int64_t began = clock_monotonic_micros();
        bool ok = filter_matches(filter, bytes_of_bson(document), &matches, &err);
        assert_true(clock_monotonic_micros() - began < 20 * MICROS_PER_SECOND);
        if (ok) {
            assert_false(matches);
        } else {
            assert_int_equal(query_error_code(&err), 51156);
            assert_non_null(strstr(err.message, "$regex: matching"));
        }
        filter_free(filter);
    }
    /* one of them at least */
    struct filter *filter = compile("{\"a\":{\"$regex\":\"(a+)+$\"}}");
    struct error err;
    bool matches;
    assert_false(filter_matches(filter, bytes_of_bson(document), &matches, &err));
    filter_free(filter);
    bson_destroy(document);
}

static void large_patterns_are_refused(void **state)
{
    (void)state;
    struct filter *filter;
    struct error err;
    char *pattern = malloc(MAX_REGEX_BYTES + 2);
    memset(pattern, 'x', MAX_REGEX_BYTES + 1);
    pattern[MAX_REGEX_BYTES + 1] = '\0';
    for (int len = MAX_REGEX_BYTES; len <= MAX_REGEX_BYTES + 1; len++) {
        bson_t spec = BSON_INITIALIZER, inner;
        bson_append_document_begin(&spec, "a", 1, &inner);
        bson_append_utf8(&inner, "$regex", 6, pattern, len);
        bson_append_document_end(&spec, &inner);
        bool ok = filter_compile(bytes_of_bson(&spec), &filter, &err);
        assert_int_equal(ok, len == MAX_REGEX_BYTES);
        if (ok)
            filter_free(filter);
        else
            assert_int_equal(query_error_code(&err), 51091);
        bson_destroy(&spec);
    }
    free(pattern);
    refuses("{\"a\":{\"$regex\":\"((((a{1,100}){1,100}){1,100}){1,100}){1,100}\"}}", "$regex: regular expression is invalid");
}

static void expressions_know_the_variables_of_a_request(void **state)
{
    (void)state;
    struct arena arena;
    struct expression_variables variables;
    struct filter *filter;
    struct error err;
    bson_t *let = bson_of_text("{\"least\":5,\"twice\":{\"$multiply\":[5,2]}}");
    bson_t *spec =
        bson_of_text("{\"$expr\":{\"$and\":[{\"$gte\":[\"$a\",\"$$least\"]},{\"$lt\":[\"$a\",\"$$twice\"]},{\"$eq\":[\"$$NOW\",{\"$date\":{"
                     "\"$numberLong\":\"77\"}}]}]}}");
    arena_init(&arena, 0);
    assert_true(expression_let(bytes_of_bson(let), NULL, 77, &arena, &variables, &err));
    struct filter_options options = { .let = &variables, .now = 77 };
    assert_true(filter_compile_with(bytes_of_bson(spec), &options, &filter, &err));
    for (int a = 3; a < 13; a++) {
        char text[32];
        snprintf(text, sizeof text, "{\"a\":%d}", a);
        bson_t *document = bson_of_text(text);
        assert_int_equal(filter_says(filter, bytes_of_bson(document)), a >= 5 && a < 10);
        bson_destroy(document);
    }
    filter_free(filter);
    arena_destroy(&arena);
    refuses("{\"$expr\":{\"$gt\":[\"$a\",\"$$least\"]}}", "$expr: ");
    bson_destroy(let);
    bson_destroy(spec);
}

static void an_expression_that_fails_fails_the_match(void **state)
{
    (void)state;
    struct error err;
    bool matches = true;
    struct filter *filter = compile("{\"$or\":[{\"a\":1},{\"$nor\":[{\"$expr\":{\"$divide\":[1,\"$a\"]}}]}]}");
    bson_t *zero = bson_of_text("{\"a\":0}"), *one = bson_of_text("{\"a\":1}");
    assert_false(filter_matches(filter, bytes_of_bson(zero), &matches, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "$expr: can't $divide by zero"));
    assert_true(filter_says(filter, bytes_of_bson(one)));
    bson_destroy(zero);
    bson_destroy(one);
    filter_free(filter);
}

/* As deep as a spec may nest; bson_check refuses more. */
static void deep_specs_are_matched(void **state)
{
    (void)state;
    struct buffer text = { 0 };
    int depth = (MAX_NESTING - 2) / 2;
    for (int i = 0; i < depth; i++)
        buffer_append(&text, i % 2 ? "{\"$nor\":[" : "{\"$and\":[", 9);
    buffer_append(&text, "{\"a\":1}", 7);
    for (int i = 0; i < depth; i++)
        buffer_append(&text, "]}", 2);
    buffer_append_u8(&text, 0);
    assert_int_equal(matches((char *)text.data, "{\"a\":1}"), depth / 2 % 2 == 0);
    buffer_destroy(&text);
}

struct shared {
    const struct filter *filter;
    struct bytes document;
    unsigned matching;
};

static void *match_often(void *ctx)
{
    struct shared *shared = ctx;
    for (int i = 0; i < 20000; i++)
        shared->matching += filter_says(shared->filter, shared->document);
    return NULL;
}

static void threads_share_a_filter(void **state)
{
    (void)state;
    struct filter *filter =
        compile("{\"a\":{\"$regex\":\"^(x|y)+z\",\"$in\":[\"xyz\",{\"$regularExpression\":{\"pattern\":\"q\",\"options\":\"\"}}]}}");
    bson_t *document = bson_of_text("{\"a\":\"xyz\"}");
    struct shared shared[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        shared[i] = (struct shared) { filter, bytes_of_bson(document), 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, match_often, &shared[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(shared[i].matching, 20000);
    }
    bson_destroy(document);
    filter_free(filter);
}

static void an_id_that_no_document_can_have_matches_none(void **state)
{
    (void)state;
    struct error err;
    struct filter *filter;
    struct bytes key;
    char *long_text = malloc(5001);
    memset(long_text, 'x', 5000);
    bson_t spec = BSON_INITIALIZER, document = BSON_INITIALIZER;
    bson_append_utf8(&spec, "_id", 3, long_text, 5000);
    bson_append_int32(&document, "_id", 3, 1);
    assert_true(filter_compile(bytes_of_bson(&spec), &filter, &err));
    assert_false(filter_single_id(filter, &key));
    assert_false(filter_says(filter, bytes_of_bson(&document)));
    filter_free(filter);
    bson_destroy(&spec);
    bson_destroy(&document);
    free(long_text);
}

static char *dotted(const char *component, int n)
{
    struct buffer text = { 0 };
    for (int i = 0; i < n; i++) {
        buffer_append(&text, i ? "." : "", i ? 1 : 0);
        buffer_append(&text, component, strlen(component));
    }
    buffer_append_u8(&text, 0);
    return (char *)text.data;
}

static void long_paths_are_refused(void **state)
{
    (void)state;
    for (int n = MAX_PATH_COMPONENTS; n <= MAX_PATH_COMPONENTS + 1; n++) {
        struct arena arena;
        struct path path;
        struct error err;
        char *text = dotted("a", n);
        arena_init(&arena, 0);
        assert_int_equal(path_parse(text, strlen(text), &arena, &path, &err), n == MAX_PATH_COMPONENTS);
        if (n > MAX_PATH_COMPONENTS)
            assert_non_null(strstr(err.message, "more than 128 components"));
        arena_destroy(&arena);
        free(text);
    }
}

/* Every array of documents can be entered in two ways: 2^49 walks, if each went its own way. */
static void indexes_do_not_multiply(void **state)
{
    (void)state;
    struct buffer text = { 0 };
    for (int i = 0; i < 49; i++)
        buffer_append(&text, i ? "[{\"0\":" : "{\"0\":", i ? 6 : 5);
    buffer_append(&text, "7", 1);
    for (int i = 0; i < 49; i++)
        buffer_append(&text, i < 48 ? "}]" : "}", i < 48 ? 2 : 1);
    buffer_append_u8(&text, 0);
    for (int n = 40; n <= MAX_PATH_COMPONENTS; n++) {
        char *path = dotted("0", n), spec[600];
        snprintf(spec, sizeof spec, "{\"%s\":7}", path);
        /* 49 fields must be named, 48 indexes may be */
        assert_int_equal(matches(spec, (char *)text.data), n >= 49 && n <= 97);
        snprintf(spec, sizeof spec, "{\"%s\":8}", path);
        assert_false(matches(spec, (char *)text.data));
        free(path);
    }
    buffer_destroy(&text);
}

struct visited {
    struct buffer text;
    int left; /* stop after so many */
};

static bool visit(const struct element *value, void *ctx)
{
    struct visited *visited = ctx;
    struct error err;
    if (!value) {
        buffer_append(&visited->text, "missing ", 8);
    } else {
        struct builder single;
        struct bytes document;
        struct buffer text = { 0 };
        builder_init(&single);
        builder_name(&single, "", 0);
        builder_value(&single, value->type, value->value);
        assert_true(builder_finish(&single, &document, &err));
        assert_true(ejson_format(document, EJSON_RELAXED, &text, &err));
        buffer_append(&visited->text, text.data + 4, text.len - 5); /* {"":...} */
        buffer_append(&visited->text, " ", 1);
        buffer_destroy(&text);
        builder_destroy(&single);
    }
    return --visited->left == 0;
}

static void reaches(const char *document_text, const char *path_text, const char *expected)
{
    struct arena arena;
    struct path path;
    struct error err;
    struct visited visited = { .left = -1 };
    bson_t *document = bson_of_text(document_text);
    arena_init(&arena, 0);
    assert_true(path_parse(path_text, strlen(path_text), &arena, &path, &err));
    assert_false(path_visit(&path, bytes_of_bson(document), visit, &visited));
    buffer_append_u8(&visited.text, 0);
    assert_string_equal((char *)visited.text.data, expected);
    buffer_destroy(&visited.text);
    arena_destroy(&arena);
    bson_destroy(document);
}

static void paths_reach_what_mongodb_reaches(void **state)
{
    (void)state;
    reaches("{\"a\":1}", "a", "1 ");
    reaches("{\"a\":1}", "b", "missing ");
    reaches("{\"a\":1}", "a.b", "missing ");
    reaches("{\"a\":{\"b\":{\"c\":1}}}", "a.b.c", "1 ");
    reaches("{\"a\":[1,[2]]}", "a", "1 [2] [1,[2]] ");
    reaches("{\"a\":[]}", "a", "[] ");
    reaches("{\"a\":[]}", "a.b", "");
    reaches("{\"a\":[5,{\"b\":[6,7]},{},[{\"b\":8}]]}", "a.b", "6 7 [6,7] missing ");
    reaches("{\"a\":[5,{\"1\":4},3]}", "a.1", "4 {\"1\":4} ");
    reaches("{\"a\":[5,{\"b\":4},3]}", "a.1.b", "missing 4 ");
    reaches("{\"a\":[5,[{\"b\":4},7]]}", "a.1.b", "4 ");
    reaches("{\"a\":[5,[{\"b\":4},7]]}", "a.1.1", "missing 7 ");
    reaches("{\"a\":[5,[6]]}", "a.1", "[6] ");
    reaches("{\"a\":{\"0\":[1]}}", "a.0", "1 [1] ");
    reaches("{\"a\":[{\"0\":[1]}]}", "a.0", "1 [1] {\"0\":[1]} ");
}

static void a_walk_ends_when_the_visitor_says_so(void **state)
{
    (void)state;
    struct arena arena;
    struct path path;
    struct error err;
    bson_t *document = bson_of_text("{\"a\":[{\"b\":[1,2]},{\"b\":3}]}");
    arena_init(&arena, 0);
    assert_true(path_parse("a.b", 3, &arena, &path, &err));
    for (int stop = 1; stop <= 4; stop++) {
        struct visited visited = { .left = stop };
        assert_true(path_visit(&path, bytes_of_bson(document), visit, &visited));
        assert_int_equal(visited.left, 0);
        buffer_destroy(&visited.text);
    }
    arena_destroy(&arena);
    bson_destroy(document);
}

static void components_have_one_order(void **state)
{
    (void)state;
    static const char *const rising[] = {
        "", "-1", "0", "01", "2", "9", "10", "1a", "9z", "123456789012345678", "1234567890123456789", "A", "a", "a\x7f", "b",
    };
    for (size_t i = 0; i < ARRAY_LEN(rising); i++) {
        for (size_t j = 0; j < ARRAY_LEN(rising); j++) {
            struct path_component a, b;
            path_component_init(&a, rising[i], strlen(rising[i]));
            path_component_init(&b, rising[j], strlen(rising[j]));
            int order = path_component_compare(&a, &b);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_spec_matches_everything),
        cmocka_unit_test(operators_are_refused_by_name),
        cmocka_unit_test(single_ids_are_found),
        cmocka_unit_test(bounds_of_ids_are_exact),
        cmocka_unit_test(many_conditions_on_ids_are_put_together),
        cmocka_unit_test(the_element_that_matched_is_known),
        cmocka_unit_test(hostile_patterns_are_bounded),
        cmocka_unit_test(large_patterns_are_refused),
        cmocka_unit_test(expressions_know_the_variables_of_a_request),
        cmocka_unit_test(an_expression_that_fails_fails_the_match),
        cmocka_unit_test(deep_specs_are_matched),
        cmocka_unit_test(threads_share_a_filter),
        cmocka_unit_test(an_id_that_no_document_can_have_matches_none),
        cmocka_unit_test(long_paths_are_refused),
        cmocka_unit_test(indexes_do_not_multiply),
        cmocka_unit_test(paths_reach_what_mongodb_reaches),
        cmocka_unit_test(a_walk_ends_when_the_visitor_says_so),
        cmocka_unit_test(components_have_one_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
