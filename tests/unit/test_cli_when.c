#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/when.h"

static const uint64_t now = UINT64_C(1700000000000000);

static void assert_time(const char *text, uint64_t expected)
{
    struct error err;
    uint64_t micros = 0;
    if (!when_parse(text, now, &micros, &err))
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(micros, expected);
}

static void assert_no_time(const char *text, const char *reason)
{
    struct error err;
    uint64_t micros = 7;
    assert_false(when_parse(text, now, &micros, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    if (!strstr(err.message, reason) || !strstr(err.message, text))
        fail_msg("'%s' and '%s' expected in: %s", text, reason, err.message);
    assert_int_equal(micros, 7);
}

static void times_are_read_as_rfc_3339_has_them(void **state)
{
    (void)state;
    const uint64_t second = UINT64_C(1795509600000000); /* 2026-11-24T08:40:00Z */
    assert_time("2026-11-24T08:40:00Z", second);
    assert_time("2026-11-24T09:40:00+01:00", second);
    assert_time("2026-11-24T03:10:00-05:30", second);
    assert_time("2026-11-24 08:40:00z", second);
    assert_time("2026-11-24t08:40Z", second);
    assert_time("2026-11-24", second - UINT64_C(31200000000));
    assert_time("2026-11-24T08:40:00.25Z", second + 250000);
    assert_time("2026-11-24T08:40:00.123456Z", second + 123456);
    /* at or before: what is finer is cut off */
    assert_time("2026-11-24T08:40:00.123456999+00:00", second + 123456);
}

static void times_are_read_back_from_now(void **state)
{
    (void)state;
    assert_time("10m ago", now - UINT64_C(600000000));
    assert_time("-10m", now - UINT64_C(600000000));
    assert_time("250ms ago", now - 250000);
}

static void what_is_no_time_is_named(void **state)
{
    (void)state;
    assert_no_time("2026-11-24T08:40:00", "an offset is missing");
    assert_no_time("2026-11-24T08:40:00.Z", "expected something like");
    assert_no_time("2026-02-29T08:40:00Z", "no such day");
    assert_no_time("2026-11-24T24:00:00Z", "no such day or time");
    assert_no_time("1969-12-31T23:59:59Z", "before 1970");
    assert_no_time("1970-01-01T00:00:00Z", "before 1970");
    assert_no_time("500000h ago", "before 1970");
    assert_no_time("tomorrow", "expected something like");
    assert_no_time("ten minutes ago", "is not a duration");
    assert_no_time("2026-11-24T08:40:00+01:00x", "expected");
    assert_no_time("2026-11-24T08:40:00Zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "expected");
    assert_no_time("-", "expected");
}

static void an_lsn_and_a_time_exclude_each_other(void **state)
{
    (void)state;
    struct error err;
    uint64_t time = 7;
    assert_true(when_choose(5, "", &time, &err));
    assert_int_equal(time, 0);
    assert_false(when_choose(5, "2026-11-24", &time, &err));
    assert_string_equal(err.message, "--at-lsn and --at-time exclude each other");
    assert_false(when_choose(0, "x", &time, &err));
    assert_non_null(strstr(err.message, "option --at-time: 'x'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_as_rfc_3339_has_them),
        cmocka_unit_test(times_are_read_back_from_now),
        cmocka_unit_test(what_is_no_time_is_named),
        cmocka_unit_test(an_lsn_and_a_time_exclude_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
