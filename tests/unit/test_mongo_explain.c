/* The plans of MongoDB servers, as 6.0, 7.0 and 8.0 tell them, in our words. */
#include "tests/support/bson_support.h"

#include "branch-service/mongo/mongo_explain.h"

#define FIND(plan, looked)     "{\"queryPlanner\":{\"winningPlan\":" plan "},\"executionStats\":{\"totalDocsExamined\":" looked "}}"
#define SCANNED(index, bounds) "{\"stage\":\"IXSCAN\",\"indexName\":\"" index "\",\"indexBounds\":" bounds "}"
#define ALL_IDS                SCANNED("_id_", "{\"_id\":[\"[MinKey, MaxKey]\"]}")

static const struct {
    const char *reply;
    enum mongo_access access;
    uint64_t ranges;
    bool sorts;
    uint64_t examined;
    const char *indexes;
} cases[] = {
    { FIND("{\"stage\":\"COLLSCAN\"}", "7"), MONGO_ACCESS_SCAN, 0, false, 7, "" },
    { FIND("{\"stage\":\"EOF\"}", "0"), MONGO_ACCESS_NOTHING, 0, false, 0, "" },
    { FIND("{\"stage\":\"IDHACK\"}", "1"), MONGO_ACCESS_ID, 0, false, 1, "" },
    { FIND("{\"isCached\":false,\"stage\":\"EXPRESS_IXSCAN\",\"indexName\":\"_id_\"}", "1"), MONGO_ACCESS_ID, 0, false, 1, "_id_" },
    { FIND("{\"stage\":\"EXPRESS_IXSCAN\",\"indexName\":\"u_1\"}", "1"), MONGO_ACCESS_INDEX, 0, false, 1, "u_1" },
    { FIND("{\"stage\":\"FETCH\",\"inputStage\":" SCANNED("_id_", "{\"_id\":[\"[1, 3)\",\"[7, inf.0]\"]}") "}", "5"),
      MONGO_ACCESS_ID_RANGES, 2, false, 5, "_id_" },
    { FIND("{\"stage\":\"FETCH\",\"filter\":{\"n\":3},\"inputStage\":" ALL_IDS "}", "9"), MONGO_ACCESS_SCAN, 0, false, 9, "_id_" },
    { FIND("{\"stage\":\"SORT\",\"inputStage\":{\"stage\":\"FETCH\",\"inputStage\":" SCANNED("n_1", "{}") "}}", "2"), MONGO_ACCESS_INDEX, 0,
      true, 2, "n_1" },
    { FIND("{\"stage\":\"OR\",\"inputStages\":[" SCANNED("n_1", "{}") "," SCANNED("m_1", "{}") "," SCANNED("n_1", "{}") "]}", "4"),
      MONGO_ACCESS_INDEX, 0, false, 4, "n_1, m_1" },
    { FIND("{\"stage\":\"OR\",\"inputStages\":[" SCANNED("n_1", "{}") ",{\"stage\":\"COLLSCAN\"}]}", "4"), MONGO_ACCESS_SCAN, 0, false, 4,
      "n_1" },
    { FIND("{\"queryPlan\":{\"stage\":\"GROUP\",\"inputStage\":{\"stage\":\"COLLSCAN\"}},\"slotBasedPlan\":{\"stages\":\"scan\"}}", "6"),
      MONGO_ACCESS_SCAN, 0, false, 6, "" },
    { FIND("{\"queryPlan\":{\"stage\":\"EQ_LOOKUP\",\"indexName\":\"sku_1\",\"inputStage\":" SCANNED("n_1", "{}") "}}", "3"),
      MONGO_ACCESS_INDEX, 0, false, 3, "n_1" },
    { FIND("{\"stage\":\"SHARD_MERGE\",\"shards\":[{\"winningPlan\":{\"stage\":\"COLLSCAN\"}},{\"winningPlan\":{\"stage\":\"EOF\"}}]}",
           "8"),
      MONGO_ACCESS_SCAN, 0, false, 8, "" },
    { FIND("{\"stage\":\"COLLSCAN\",\"filter\":{\"stage\":\"SORT\",\"inputStage\":{\"stage\":\"SORT\"}}}", "1"), MONGO_ACCESS_SCAN, 0,
      false, 1, "" },
    { "{\"stages\":[{\"$cursor\":" FIND("{\"stage\":\"COLLSCAN\"}", "5") "},{\"$sort\":{\"sortKey\":{\"n\":1}}}]}", MONGO_ACCESS_SCAN, 0,
      true, 5, "" },
    { "{\"shards\":{\"one\":{\"stages\":[{\"$cursor\":" FIND("{\"stage\":\"IDHACK\"}", "1") "}]},\"two\":" FIND("{\"stage\":\"IDHACK\"}",
                                                                                                                "1") "}}",
      MONGO_ACCESS_ID, 0, false, 2, "" },
};

static void a_plan_is_told_in_our_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct mongo_plan plan;
        struct error err;
        bson_t *reply = bson_of_text(cases[i].reply);
        if (!mongo_plan_read(bytes_of_bson(reply), &plan, &err))
            fail_msg("%s: %s", cases[i].reply, err.message);
        if (plan.access != cases[i].access || plan.ranges != cases[i].ranges || plan.sorts != cases[i].sorts ||
            plan.examined != cases[i].examined || strcmp(plan.indexes, cases[i].indexes) != 0)
            fail_msg("%s: access %d, %d ranges, sorts %d, %d examined, '%s'", cases[i].reply, (int)plan.access, (int)plan.ranges,
                     plan.sorts, (int)plan.examined, plan.indexes);
        bson_destroy(reply);
    }
}

static void what_is_no_plan_is_refused(void **state)
{
    (void)state;
    static const char *const replies[] = { "{}", "{\"ok\":1}", "{\"queryPlanner\":{\"winningPlan\":{\"stage\":7}}}",
                                           "{\"stages\":[1,{}]}" };
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        struct mongo_plan plan;
        struct error err;
        bson_t *reply = bson_of_text(replies[i]);
        assert_false(mongo_plan_read(bytes_of_bson(reply), &plan, &err));
        assert_int_equal(err.code, ERROR_UNIMPLEMENTED);
        bson_destroy(reply);
    }
}

static void names_that_do_not_fit_are_left_out(void **state)
{
    (void)state;
    struct mongo_plan plan;
    struct error err;
    bson_t stages[2], reply = BSON_INITIALIZER, planner, winning, inputs;
    char name[200];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    BSON_APPEND_DOCUMENT_BEGIN(&reply, "queryPlanner", &planner);
    BSON_APPEND_DOCUMENT_BEGIN(&planner, "winningPlan", &winning);
    BSON_APPEND_UTF8(&winning, "stage", "OR");
    BSON_APPEND_ARRAY_BEGIN(&winning, "inputStages", &inputs);
    for (int i = 0; i < 2; i++) {
        name[0] = (char)('a' + i);
        BSON_APPEND_DOCUMENT_BEGIN(&inputs, i ? "1" : "0", &stages[i]);
        BSON_APPEND_UTF8(&stages[i], "stage", "IXSCAN");
        BSON_APPEND_UTF8(&stages[i], "indexName", name);
        bson_append_document_end(&inputs, &stages[i]);
    }
    bson_append_array_end(&winning, &inputs);
    bson_append_document_end(&planner, &winning);
    bson_append_document_end(&reply, &planner);
    assert_true(mongo_plan_read(bytes_of_bson(&reply), &plan, &err));
    assert_int_equal(strlen(plan.indexes), sizeof name - 1);
    assert_int_equal(plan.indexes[0], 'a');
    bson_destroy(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_told_in_our_words),
        cmocka_unit_test(what_is_no_plan_is_refused),
        cmocka_unit_test(names_that_do_not_fit_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
