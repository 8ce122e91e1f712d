/* tests/corpus/expression (see tests/support/corpus.h): {"docs", "expression", "let"?, "expect": [value, ...]}, one
 * value a document; {"$$type": "missing"} is none. $$NOW is 2024-05-06T07:08:09.010Z. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/query/expression.h"
#include "common/bson/bson_check.h"
#include "common/bson/builder.h"
#include "tests/support/bson_support.h"
#include "tests/support/corpus.h"

static const int64_t now = INT64_C(1714979289010);

static bool expects_missing(const struct element *expected)
{
    struct element type;
    return expected->type == BSON_TYPE_DOCUMENT && corpus_field(expected->value, "$$type", &type) &&
           bytes_equal(element_string(&type), bytes_of_string("missing"));
}

/* A document of one field. */
static void wrap(const struct element *value, bson_t *out)
{
    struct builder builder;
    struct error err;
    builder_init(&builder);
    builder_name(&builder, "v", 1);
    builder_value(&builder, value->type, value->value);
    assert_true(builder_finish_bson(&builder, out, &err));
    builder_destroy(&builder);
}

static void compare(struct corpus_case *c, const struct element *got, const struct element *expected)
{
    bson_t a, b;
    struct error err;
    if (value_is_missing(got) || expects_missing(expected)) {
        if (!value_is_missing(got) || !expects_missing(expected))
            corpus_fail(c, "is or expects missing", "");
        return;
    }
    wrap(got, &a);
    wrap(expected, &b);
    if (!bson_check(bytes_of_bson(&a), &err))
        corpus_fail(c, "makes broken BSON", err.message);
    else if (!corpus_equal(bytes_of_bson(&a), bytes_of_bson(&b)))
        corpus_fail_document(c, "is another value", bytes_of_bson(&a));
    bson_destroy(&a);
    bson_destroy(&b);
}

static void run_in(struct corpus_case *c, struct arena *arena)
{
    struct element docs, spec, let, expect = { .name = NULL }, expected, value;
    struct bytes documents[CORPUS_MAX_DOCS];
    struct expression_variables variables = { 0 };
    const struct expression *expression;
    struct element_reader reader;
    struct error err;
    if (!corpus_field(c->root, "docs", &docs) || !corpus_field(c->root, "expression", &spec)) {
        corpus_fail(c, "has no docs or no expression", "");
        return;
    }
    if (corpus_field(c->root, "let", &let) && !expression_let(let.value, NULL, now, arena, &variables, &err)) {
        corpus_refuse(c, &err);
        return;
    }
    if (!expression_compile(&spec, variables.scope, arena, &expression, &err)) {
        corpus_refuse(c, &err);
        return;
    }
    if (corpus_field(c->root, "expect", &expect))
        element_reader_init(&reader, expect.value);
    size_t n = corpus_documents(docs.value, documents);
    for (size_t i = 0; i < n; i++) {
        struct evaluation evaluation = { .arena = arena, .document = documents[i], .bindings = variables.bindings, .now = now };
        if (!expression_evaluate(expression, &evaluation, &value, &err)) {
            corpus_refuse(c, &err);
            return;
        }
        if (!expect.name)
            continue;
        if (!element_next(&reader, &expected))
            corpus_fail(c, "expects too few values", "");
        else
            compare(c, &value, &expected);
    }
}

static void run(struct corpus_case *c)
{
    struct arena arena;
    arena_init(&arena, 64 * MIB);
    run_in(c, &arena);
    arena_destroy(&arena);
}

static void expressions_evaluate_as_in_mongodb(void **state)
{
    (void)state;
    corpus_run("expression", run);
}

static void every_operator_has_cases(void **state)
{
    (void)state;
    const char *name;
    for (size_t i = 0; (name = expression_operator_name(i)); i++)
        corpus_has_file("expression", name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_evaluate_as_in_mongodb),
        cmocka_unit_test(every_operator_has_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
