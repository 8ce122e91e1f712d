#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/checkout_name.h"

static void short_names_are_told_as_they_are(void **state)
{
    (void)state;
    char name[CHECKOUT_NAME_SIZE];
    checkout_name("shop", "dev", 120, name);
    assert_string_equal(name, "argon_checkout_shop_dev_120");
}

static void others_keep_apart(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "a_b", "c" }, { "a", "b_c" }, { "a", "b/c" }, { "a", "b.c" }, { "a.b", "c" } };
    char names[5][CHECKOUT_NAME_SIZE];
    for (int i = 0; i < 5; i++) {
        checkout_name(pairs[i][0], pairs[i][1], 7, names[i]);
        assert_null(strpbrk(names[i], "/. "));
        assert_memory_equal(names[i], "argon_checkout_a_b_c_", 21);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(names[i], names[k]);
    }
}

static void long_ones_fit(void **state)
{
    (void)state;
    char name[CHECKOUT_NAME_SIZE], other[CHECKOUT_NAME_SIZE], project[129], branch[129];
    memset(project, 'p', 128);
    memset(branch, 'b', 128);
    project[128] = branch[128] = '\0';
    checkout_name(project, branch, UINT64_MAX, name);
    assert_int_equal(strlen(name), 63);
    assert_string_equal(name + 63 - 21, "_18446744073709551615");
    branch[127] = 'c';
    checkout_name(project, branch, UINT64_MAX, other);
    assert_string_not_equal(name, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_names_are_told_as_they_are),
        cmocka_unit_test(others_keep_apart),
        cmocka_unit_test(long_ones_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
