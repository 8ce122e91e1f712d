#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "branch-service/query/query_error.h"

static void errors_carry_the_code_by_number_and_name(void **state)
{
    (void)state;
    struct error err;
    assert_false(query_error(&err, MONGO_BAD_VALUE, "%s needs an array", "$in"));
    assert_string_equal(err.message, "$in needs an array (code 2, BadValue)");
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_int_equal(query_error_code(&err), 2);
    assert_false(query_error(&err, 51091, "no"));
    assert_string_equal(err.message, "no (code 51091, Location51091)");
    assert_false(query_error(&err, MONGO_QUERY_EXCEEDED_MEMORY_LIMIT, "sort"));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_false(query_error(NULL, MONGO_BAD_VALUE, "nobody asks"));
}

static void context_is_put_in_front(void **state)
{
    (void)state;
    struct error err;
    (void)query_error(&err, MONGO_TYPE_MISMATCH, "wrong (code 9, quoted)");
    assert_false(query_wrap(&err, "filter on '%s'", "a"));
    assert_string_equal(err.message, "filter on 'a': wrong (code 9, quoted) (code 14, TypeMismatch)");
    assert_int_equal(query_error_code(&err), 14);
}

static void the_code_survives_a_message_that_is_cut(void **state)
{
    (void)state;
    struct error err;
    char text[400];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    (void)query_error(&err, MONGO_FAILED_TO_PARSE, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    (void)query_wrap(&err, "%s", text);
    assert_int_equal(query_error_code(&err), MONGO_FAILED_TO_PARSE);
    assert_non_null(strstr(err.message, "xxx (code 9, FailedToParse)"));
}

static void other_errors_have_none(void **state)
{
    (void)state;
    struct error err;
    (void)error_set(&err, ERROR_INVALID_ARGUMENT, "something else");
    assert_int_equal(query_error_code(&err), 0);
    (void)query_wrap(&err, "where");
    assert_string_equal(err.message, "where: something else");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_the_code_by_number_and_name),
        cmocka_unit_test(context_is_put_in_front),
        cmocka_unit_test(the_code_survives_a_message_that_is_cut),
        cmocka_unit_test(other_errors_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
