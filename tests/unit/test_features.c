/* Which new branches become WAL branches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "branch-service/catalog/branch_choice.h"
#include "branch-service/catalog/features.h"
#include "branch-service/reasons.h"
#include "common/base/random.h"

#define SECONDS(n) ((uint64_t)(n)*1000000)
#define YEAR_2027  SECONDS(1798761600) /* 2027-01-01T00:00:00Z */

static struct features on(void)
{
    struct features features;
    features_init(&features, false);
    return features;
}

static void set(struct features *features, enum feature feature, const char *text)
{
    struct error err;
    if (!features_set(features, feature, text, FEATURE_FROM_CATALOG, &err))
        fail_msg("%s", err.message);
}

static bool inside(const char *id, uint32_t percent)
{
    struct features features = on();
    features.rollout_percent = percent;
    return should_use_wal(&features, &(struct new_branch) { .id = id, .now = YEAR_2027 }).use_wal;
}

/* ---- the decision ----------------------------------------------------------------------------------- */

static void each_flag_decides(void **state)
{
    (void)state;
    /* falls at 4 of 100 */
    static const char early[] = "ffffffffffffffffffffffff", late[] = "65f1c0ffee65f1c0ffee65f1";
    static const struct {
        const char *enabled, *new_only, *cutoff, *percent, *id;
        bool parent_is_traditional, use_wal;
        const char *reason;
    } rows[] = {
        { "true", "true", "none", "100", late, false, true, "wal.rollout_percent is 100 and the branch falls inside" },
        { "false", "false", "none", "100", early, false, false, "wal.enabled is false" },
        { "true", "true", "2027-01-01", "100", late, false, true, "wal.rollout_percent is 100 and the branch falls inside" },
        { "true", "true", "2027-01-01T00:00:00.001Z", "100", early, false, false,
          "wal.cutoff is 2027-01-01T00:00:00.001Z, which is still to come" },
        { "true", "true", "none", "100", late, true, false, "wal.new_branches_only is true and the parent is a traditional branch" },
        { "true", "false", "none", "100", late, true, true, "wal.rollout_percent is 100 and the branch falls inside" },
        { "true", "true", "none", "25", early, false, true, "wal.rollout_percent is 25 and the branch falls inside" },
        { "true", "true", "none", "25", late, false, false, "wal.rollout_percent is 25 and the branch falls outside" },
        { "true", "false", "none", "0", early, true, false, "wal.rollout_percent is 0 and the branch falls outside" },
        /* the first reason in this order is the one that is told */
        { "false", "true", "2099-01-01", "0", early, true, false, "wal.enabled is false" },
        { "true", "true", "2099-01-01", "0", early, true, false, "wal.cutoff is 2099-01-01T00:00:00Z, which is still to come" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct features features = on();
        set(&features, FEATURE_ENABLED, rows[i].enabled);
        set(&features, FEATURE_NEW_BRANCHES_ONLY, rows[i].new_only);
        set(&features, FEATURE_CUTOFF, rows[i].cutoff);
        set(&features, FEATURE_ROLLOUT_PERCENT, rows[i].percent);
        const struct new_branch branch = { .id = rows[i].id, .parent_is_traditional = rows[i].parent_is_traditional, .now = YEAR_2027 };
        const struct wal_decision decision = should_use_wal(&features, &branch);
        assert_string_equal(decision.reason, rows[i].reason);
        assert_int_equal(decision.use_wal, rows[i].use_wal);
    }
}

static void what_is_demanded_comes_before_the_flags(void **state)
{
    (void)state;
    static const struct {
        enum kind_wish wish;
        bool enabled, far_cutoff, mongodb, use_wal;
        const char *reason; /* NULL: it is chosen */
        const char *message;
    } rows[] = {
        { KIND_BY_FLAGS, true, false, false, true, NULL, NULL },
        { KIND_BY_FLAGS, false, false, true, false, NULL, NULL },
        { KIND_BY_FLAGS, true, true, true, false, NULL, NULL },
        { KIND_BY_FLAGS, false, false, false, false, REASON_NEEDS_MONGODB, "since wal.enabled is false; for those branch-service" },
        { KIND_BY_FLAGS, true, true, false, false, REASON_NEEDS_MONGODB, "since wal.cutoff is 2099-01-01T00:00:00Z" },
        { KIND_WAL, true, true, false, true, NULL, NULL },
        { KIND_WAL, false, false, false, false, REASON_WAL_BRANCHES_OFF, "wal.enabled is false" },
        { KIND_WAL, false, false, true, false, REASON_WAL_BRANCHES_OFF, "wal.enabled is false" },
        { KIND_TRADITIONAL, true, false, true, false, NULL, NULL },
        { KIND_TRADITIONAL, true, false, false, false, REASON_NEEDS_MONGODB, "since one is demanded; for those branch-service" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct features features = on();
        struct error err = { 0 };
        const struct new_branch branch = { .id = "ffffffffffffffffffffffff", .now = YEAR_2027 };
        bool use_wal = !rows[i].use_wal;
        set(&features, FEATURE_ENABLED, rows[i].enabled ? "true" : "false");
        set(&features, FEATURE_CUTOFF, rows[i].far_cutoff ? "2099-01-01" : "none");
        bool ok = branch_choose_kind(&features, rows[i].wish, &branch, rows[i].mongodb, &use_wal, &err);
        assert_int_equal(ok, rows[i].reason == NULL);
        if (ok) {
            assert_int_equal(use_wal, rows[i].use_wal);
            continue;
        }
        assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
        assert_string_equal(err.reason, rows[i].reason);
        assert_non_null(strstr(err.message, rows[i].message));
    }
}

/* Never change these: branches were chosen by them. */
static void the_share_of_an_id_is_the_same_for_ever(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        uint32_t at;
    } vectors[] = {
        { "000000000000000000000000", 94 }, { "0123456789abcdef01234567", 89 }, { "65f1c0ffee65f1c0ffee65f1", 96 },
        { "ffffffffffffffffffffffff", 4 },  { "a1b2c3d4e5f60718293a4b5c", 73 }, { "5e0000000000000000000001", 78 },
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        assert_false(inside(vectors[i].id, vectors[i].at));
        assert_true(inside(vectors[i].id, vectors[i].at + 1));
    }
}

static void raising_the_percentage_never_moves_a_branch_out(void **state)
{
    (void)state;
    unsigned count[101] = { 0 };
    enum { IDS = 20000 };
    for (size_t i = 0; i < IDS; i++) {
        char id[ID_SIZE];
        bool before = false;
        random_id(id);
        for (uint32_t percent = 0; percent <= 100; percent++) {
            bool now = inside(id, percent);
            assert_true(now || !before);
            count[percent] += now;
            before = now;
        }
    }
    assert_int_equal(count[0], 0);
    assert_int_equal(count[100], IDS);
    /* six standard deviations */
    assert_in_range(count[25], IDS / 4 - 370, IDS / 4 + 370);
    assert_in_range(count[50], IDS / 2 - 425, IDS / 2 + 425);
}

/* ---- values ----------------------------------------------------------------------------------------- */

static void values_have_one_form(void **state)
{
    (void)state;
    static const struct {
        enum feature feature;
        const char *text, *form;
    } rows[] = {
        { FEATURE_ENABLED, "true", "true" },
        { FEATURE_NEW_BRANCHES_ONLY, "false", "false" },
        { FEATURE_CUTOFF, "none", "none" },
        { FEATURE_CUTOFF, "2027-01-01", "2027-01-01T00:00:00Z" },
        { FEATURE_CUTOFF, "2027-01-01T01:30:00.250+01:00", "2027-01-01T00:30:00.250Z" },
        { FEATURE_ROLLOUT_PERCENT, "007", "7" },
        { FEATURE_STAGE, "canary-1", "canary-1" },
        { FEATURE_STAGE, "", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct features features = on();
        char text[FEATURE_TEXT_SIZE];
        set(&features, rows[i].feature, rows[i].text);
        features_format(&features, rows[i].feature, text);
        assert_string_equal(text, rows[i].form);
        assert_int_equal(features.sources[rows[i].feature], FEATURE_FROM_CATALOG);
        set(&features, rows[i].feature, text); /* and that form means the same */
    }
}

static void wrong_values_are_named(void **state)
{
    (void)state;
    static const struct {
        enum feature feature;
        const char *text;
    } rows[] = {
        { FEATURE_ENABLED, "" },
        { FEATURE_ENABLED, "TRUE" },
        { FEATURE_ENABLED, "1" },
        { FEATURE_NEW_BRANCHES_ONLY, "no" },
        { FEATURE_CUTOFF, "" },
        { FEATURE_CUTOFF, "tomorrow" },
        { FEATURE_CUTOFF, "2027-13-01" },
        { FEATURE_CUTOFF, "2027-02-29" },
        { FEATURE_CUTOFF, "2027-01-01T00:00:00" },
        { FEATURE_CUTOFF, "1969-12-31" },
        { FEATURE_CUTOFF, "1970-01-01" },
        { FEATURE_ROLLOUT_PERCENT, "" },
        { FEATURE_ROLLOUT_PERCENT, "101" },
        { FEATURE_ROLLOUT_PERCENT, "-1" },
        { FEATURE_ROLLOUT_PERCENT, "2.5" },
        { FEATURE_ROLLOUT_PERCENT, "0x10" },
        { FEATURE_ROLLOUT_PERCENT, "4294967297" },
        { FEATURE_STAGE, "two words" },
        { FEATURE_STAGE, "0123456789012345678901234567890123456789012345678901234567890123x" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct features features = on(), before = features;
        struct error err;
        assert_false(features_set(&features, rows[i].feature, rows[i].text, FEATURE_FROM_CATALOG, &err));
        assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
        assert_memory_equal(err.message, feature_key(rows[i].feature), strlen(feature_key(rows[i].feature)));
        assert_memory_equal(&features, &before, sizeof features);
    }
    enum feature feature;
    struct error err;
    assert_false(feature_find("wal.enable", &feature, &err));
    for (size_t i = 0; i < N_FEATURES; i++)
        assert_non_null(strstr(err.message, feature_key((enum feature)i)));
}

/* ---- sources ---------------------------------------------------------------------------------------- */

static const struct {
    enum feature feature;
    const char *option, *variable;
    const char *fallback;
    const char *values[FEATURE_FROM_CATALOG + 1]; /* by source; no two neighbours are the same */
} flags[] = {
    { FEATURE_ENABLED, "enable-wal-branches", "ENABLE_WAL_BRANCHES", "true", { NULL, "false", "true", "false", "true" } },
    { FEATURE_NEW_BRANCHES_ONLY, "wal-new-branches-only", "WAL_NEW_BRANCHES_ONLY", "true", { NULL, "false", "true", "false", "true" } },
    { FEATURE_CUTOFF,
      "wal-cutoff",
      "WAL_CUTOFF",
      "none",
      { NULL, "2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z", "2003-01-01T00:00:00Z", "2004-01-01T00:00:00Z" } },
    { FEATURE_ROLLOUT_PERCENT, "wal-rollout-percent", "WAL_ROLLOUT_PERCENT", "100", { NULL, "1", "2", "3", "4" } },
};

/* Each flag with each set of sources: the highest wins, and is named. */
static void check_sources(size_t flag, unsigned set_of_sources, bool mongodb)
{
    struct feature_options targets;
    struct config_option options[N_FEATURE_OPTIONS];
    struct config_origin origins[N_FEATURE_OPTIONS];
    struct features features;
    struct error err = { 0 };
    char text[FEATURE_TEXT_SIZE], argument[128];
    char *argv[] = { "p", argument, NULL };
    const struct config_file_entry entry = { flags[flag].option, flags[flag].values[FEATURE_FROM_FILE], 1 };
    const struct config_file file = { "f.yaml", &entry, 1 };
    snprintf(argument, sizeof argument, "--%s=%s", flags[flag].option, flags[flag].values[FEATURE_FROM_FLAG]);
    if (set_of_sources & 1u << FEATURE_FROM_ENVIRONMENT)
        setenv(flags[flag].variable, flags[flag].values[FEATURE_FROM_ENVIRONMENT], 1);
    features_init(&features, mongodb);
    features_describe_options(&targets, options);
    bool ok = config_parse_with_file(&(struct config_table) { options, N_FEATURE_OPTIONS, false }, 1,
                                     set_of_sources & 1u << FEATURE_FROM_FLAG ? 2 : 1, argv,
                                     set_of_sources & 1u << FEATURE_FROM_FILE ? &file : NULL, origins, &err) &&
              features_use_options(&features, &targets, options, origins, &err);
    unsetenv(flags[flag].variable);
    if (ok && set_of_sources & 1u << FEATURE_FROM_CATALOG)
        ok = features_set(&features, flags[flag].feature, flags[flag].values[FEATURE_FROM_CATALOG], FEATURE_FROM_CATALOG, &err);
    if (!ok)
        fail_msg("%s", err.message);

    enum feature_source highest = FEATURE_FROM_DEFAULT;
    for (unsigned source = FEATURE_FROM_FILE; source <= FEATURE_FROM_CATALOG; source++)
        if (set_of_sources & 1u << source)
            highest = (enum feature_source)source;
    const char *expected = flags[flag].values[highest];
    if (highest == FEATURE_FROM_DEFAULT)
        expected = mongodb && flags[flag].feature == FEATURE_ENABLED ? "false" : flags[flag].fallback;
    features_format(&features, flags[flag].feature, text);
    assert_string_equal(text, expected);
    assert_int_equal(features.sources[flags[flag].feature], highest);
    for (size_t other = 0; other < N_FEATURES; other++)
        assert_true(other == flags[flag].feature || features.sources[other] == FEATURE_FROM_DEFAULT);
}

static void the_highest_source_wins_for_each_flag(void **state)
{
    (void)state;
    for (size_t flag = 0; flag < ARRAY_LEN(flags); flag++)
        for (unsigned sources = 0; sources < 1u << (FEATURE_FROM_CATALOG + 1); sources += 1u << FEATURE_FROM_FILE) {
            check_sources(flag, sources, false);
            check_sources(flag, sources, true);
        }
}

static void a_wrong_cutoff_is_named_with_its_source(void **state)
{
    (void)state;
    struct feature_options targets;
    struct config_option options[N_FEATURE_OPTIONS];
    struct config_origin origins[N_FEATURE_OPTIONS];
    struct features features = on();
    struct error err = { 0 };
    char *argv[] = { "p", "--wal-cutoff", "soon", NULL };
    const struct config_file_entry entry = { "wal-cutoff", "soon", 7 };
    const struct config_file file = { "f.yaml", &entry, 1 };
    const struct config_table table = { options, N_FEATURE_OPTIONS, false };
    features_describe_options(&targets, options);
    assert_true(config_parse_with_file(&table, 1, 3, argv, NULL, origins, &err));
    assert_false(features_use_options(&features, &targets, options, origins, &err));
    assert_non_null(strstr(err.message, "option --wal-cutoff: 'soon' is not a time"));
    assert_true(config_parse_with_file(&table, 1, 1, argv, &file, origins, &err));
    assert_false(features_use_options(&features, &targets, options, origins, &err));
    assert_non_null(strstr(err.message, "f.yaml:7: wal-cutoff: 'soon' is not a time"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flag_decides),
        cmocka_unit_test(what_is_demanded_comes_before_the_flags),
        cmocka_unit_test(the_share_of_an_id_is_the_same_for_ever),
        cmocka_unit_test(raising_the_percentage_never_moves_a_branch_out),
        cmocka_unit_test(values_have_one_form),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(the_highest_source_wins_for_each_flag),
        cmocka_unit_test(a_wrong_cutoff_is_named_with_its_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
