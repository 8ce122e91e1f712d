/* Expressions beyond single facts: limits, and what lives how long. */
#include "branch-service/query/expression.h"

#include "branch-service/query/query_error.h"
#include "common/base/limits.h"
#include "tests/support/bson_support.h"

static struct element field_of(const bson_t *document)
{
    struct element e;
    assert_true(element_find(bytes_of_bson(document), "e", 1, &e));
    return e;
}

static bool evaluate_text(const char *text, size_t limit, struct error *err)
{
    struct arena arena;
    const struct expression *expression;
    struct element value;
    bson_t *spec = bson_of_text(text), *document = bson_of_text("{}");
    struct element e = field_of(spec);
    arena_init(&arena, limit);
    assert_true(expression_compile(&e, NULL, &arena, &expression, err));
    struct evaluation evaluation = { .arena = &arena, .document = bytes_of_bson(document) };
    bool ok = expression_evaluate(expression, &evaluation, &value, err);
    arena_destroy(&arena);
    bson_destroy(spec);
    bson_destroy(document);
    return ok;
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct error err;
    const char *doubling = "{\"e\": {\"$reduce\": {\"input\": {\"$range\": [0, 40]}, \"initialValue\": \"x\","
                           " \"in\": {\"$concat\": [\"$$value\", \"$$value\"]}}}}";
    assert_false(evaluate_text(doubling, 8 * MIB, &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(query_error_code(&err), MONGO_EXCEEDED_MEMORY_LIMIT);
    assert_true(evaluate_text("{\"e\": {\"$range\": [0, 1000]}}", 8 * MIB, &err));
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    struct arena arena;
    struct error err;
    const struct expression *expression;
    bson_t *inner = bson_of_text("{\"e\": 1}");
    for (int i = 0; i <= EXPRESSION_MAX_NESTING; i++) {
        bson_t *outer = bson_new(), *operator= bson_new();
        bson_iter_t iter;
        assert_true(bson_iter_init_find(&iter, inner, "e"));
        assert_true(bson_append_iter(operator, "$abs", -1, &iter));
        assert_true(bson_append_document(outer, "e", -1, operator));
        bson_destroy(inner);
        bson_destroy(operator);
        inner = outer;
    }
    struct element e = field_of(inner);
    arena_init(&arena, 0);
    assert_false(expression_compile(&e, NULL, &arena, &expression, &err));
    assert_int_equal(query_error_code(&err), MONGO_OVERFLOW);
    arena_destroy(&arena);
    bson_destroy(inner);
}

static void constants_are_folded(void **state)
{
    (void)state;
    struct arena arena;
    struct error err;
    const struct expression *expression;
    bson_t *spec = bson_of_text("{\"e\": {\"a\": [1, {\"$literal\": \"$x\"}]}}"), *expected = bson_of_text("{\"a\": [1, \"$x\"]}");
    struct element e = field_of(spec);
    arena_init(&arena, 0);
    assert_true(expression_compile(&e, NULL, &arena, &expression, &err));
    assert_non_null(expression_constant(expression));
    assert_bson_equal(expression_constant(expression)->value, bytes_of_bson(expected), "the constant");
    arena_destroy(&arena);
    bson_destroy(spec);
    bson_destroy(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(constants_are_folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
