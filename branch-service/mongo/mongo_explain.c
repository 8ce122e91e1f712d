#include "branch-service/mongo/mongo_explain.h"

#include <stdio.h>

#include "branch-service/mongo/mongo_internal.h"
#include "common/bson/element.h"

/* ---- what the server says --------------------------------------------------------------------------- */

/* Servers nest stages as deep as queries do, which they bound themselves. */
enum { MAX_PLAN_DEPTH = 200 };

/* What is met of a plan, which is a tree of stages; one a shard. */
struct reading {
    struct mongo_plan *plan;
    bool stages; /* any at all */
    bool eof, scan, id, id_ranges, all_ids, index;
};

static bool is_text(const struct element *e, const char *text)
{
    return e->type == BSON_TYPE_UTF8 && bytes_equal(element_string(e), bytes_of_string(text));
}

static bool is_tree(const struct element *e)
{
    return e->type == BSON_TYPE_DOCUMENT || e->type == BSON_TYPE_ARRAY;
}

static bool find_tree(struct bytes document, const char *name, struct element *out)
{
    return element_find(document, name, strlen(name), out) && is_tree(out);
}

static void add_index(struct mongo_plan *plan, struct bytes name)
{
    size_t used = strlen(plan->indexes), separator = used ? 2 : 0;
    char *text = plan->indexes + used;
    for (const char *at = plan->indexes; (at = strstr(at, (const char *)name.data)) != NULL; at += name.len) {
        bool begins = at == plan->indexes || at[-1] == ' ', ends = at[name.len] == '\0' || at[name.len] == ',';
        if (begins && ends)
            return; /* it is there */
    }
    if (used + separator + name.len < sizeof plan->indexes)
        snprintf(text, sizeof plan->indexes - used, "%s%s", separator ? ", " : "", (const char *)name.data);
}

/* {_id: ["[1.0, 5.0)", ...]} */
static void note_id_bounds(struct reading *reading, struct bytes stage)
{
    struct element bounds, ids, range;
    struct element_reader reader;
    reading->id_ranges = true;
    if (!find_tree(stage, "indexBounds", &bounds) || !find_tree(bounds.value, "_id", &ids))
        return;
    element_reader_init(&reader, ids.value);
    while (element_next(&reader, &range)) {
        reading->plan->ranges++;
        if (is_text(&range, "[MinKey, MaxKey]") || is_text(&range, "[MaxKey, MinKey]"))
            reading->all_ids = true;
    }
}

static void note_stage(struct reading *reading, struct bytes stage, const struct element *name)
{
    struct element index;
    reading->stages = true;
    bool by_index = element_find(stage, "indexName", 9, &index) && index.type == BSON_TYPE_UTF8;
    if (is_text(name, "COLLSCAN"))
        reading->scan = true;
    else if (is_text(name, "EOF"))
        reading->eof = true;
    else if (is_text(name, "SORT"))
        reading->plan->sorts = true;
    else if (is_text(name, "IDHACK") || is_text(name, "EXPRESS_CLUSTERED_IXSCAN"))
        reading->id = true;
    else if (is_text(name, "CLUSTERED_IXSCAN"))
        reading->id_ranges = true;
    else if (by_index && !is_text(name, "EQ_LOOKUP")) { /* which is about another collection */
        if (!is_text(&index, "_id_"))
            reading->index = true;
        else if (is_text(name, "EXPRESS_IXSCAN"))
            reading->id = true;
        else
            note_id_bounds(reading, stage);
        add_index(reading->plan, element_string(&index));
    }
}

static bool holds_stages(const struct element *e)
{
    static const char *const names[] = { "inputStage", "inputStages", "queryPlan", "winningPlan", "shards",
                                         "outerStage", "innerStage",  "thenStage", "elseStage" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(e->name, names[i]) == 0)
            return is_tree(e);
    }
    return false;
}

static void read_stages(struct reading *reading, struct bytes tree, bool is_array, unsigned depth)
{
    struct element_reader reader;
    struct element e;
    if (depth > MAX_PLAN_DEPTH)
        return;
    if (!is_array && element_find(tree, "stage", 5, &e) && e.type == BSON_TYPE_UTF8)
        note_stage(reading, tree, &e);
    element_reader_init(&reader, tree);
    while (element_next(&reader, &e)) {
        if (is_array ? is_tree(&e) : holds_stages(&e))
            read_stages(reading, e.value, e.type == BSON_TYPE_ARRAY, depth + 1);
    }
}

static uint64_t examined(struct bytes statistics)
{
    struct element e;
    return element_find(statistics, "totalDocsExamined", 17, &e) && element_is_integer(&e) ? (uint64_t)element_integer(&e) : 0;
}

static void read_reply(struct reading *reading, struct bytes reply, unsigned depth);

/* Of an aggregation that is no mere find: [{$cursor: {the find in front}}, {$group: ...}, ...] */
static void read_pipeline(struct reading *reading, struct bytes stages, bool read, unsigned depth)
{
    struct element_reader reader, fields;
    struct element stage, field;
    element_reader_init(&reader, stages);
    while (element_next(&reader, &stage)) {
        if (!is_tree(&stage))
            continue;
        element_reader_init(&fields, stage.value);
        while (element_next(&fields, &field)) {
            if (element_is_named(&field, "$sort", 5))
                reading->plan->sorts = true;
            else if (element_is_named(&field, "$cursor", 7) && is_tree(&field) && !read)
                read_reply(reading, field.value, depth + 1);
        }
    }
}

static void read_reply(struct reading *reading, struct bytes reply, unsigned depth)
{
    struct element_reader reader;
    struct element e, shard;
    if (depth > 2)
        return;
    bool planned = find_tree(reply, "queryPlanner", &e);
    if (planned)
        read_stages(reading, e.value, false, 0);
    if (find_tree(reply, "executionStats", &e))
        reading->plan->examined += examined(e.value);
    if (find_tree(reply, "stages", &e))
        read_pipeline(reading, e.value, planned, depth);
    if (planned || !find_tree(reply, "shards", &e))
        return;
    element_reader_init(&reader, e.value);
    while (element_next(&reader, &shard)) {
        if (is_tree(&shard))
            read_reply(reading, shard.value, depth + 1);
    }
}

bool mongo_plan_read(struct bytes reply, struct mongo_plan *plan, struct error *err)
{
    struct reading reading = { .plan = plan };
    *plan = (struct mongo_plan) { 0 };
    read_reply(&reading, reply, 0);
    if (!reading.stages)
        return error_set(err, ERROR_UNIMPLEMENTED, "the server's explain holds no plan that is understood here: ask the server itself");
    plan->access = reading.scan        ? MONGO_ACCESS_SCAN
                   : reading.index     ? MONGO_ACCESS_INDEX
                   : reading.all_ids   ? MONGO_ACCESS_SCAN
                   : reading.id_ranges ? MONGO_ACCESS_ID_RANGES
                   : reading.id        ? MONGO_ACCESS_ID
                   : reading.eof       ? MONGO_ACCESS_NOTHING
                                       : MONGO_ACCESS_SCAN;
    if (plan->access != MONGO_ACCESS_ID_RANGES)
        plan->ranges = 0;
    return true;
}

/* ---- asking ----------------------------------------------------------------------------------------- */

static bool explain(struct mongo *mongo, const char *database, const bson_t *query, int64_t deadline, struct mongo_plan *plan,
                    struct error *err)
{
    bson_t command = BSON_INITIALIZER, reply;
    BSON_APPEND_DOCUMENT(&command, "explain", query);
    BSON_APPEND_UTF8(&command, "verbosity", "executionStats");
    bool ok = mongo_run(mongo, database, MONGO_COMMAND_PLAIN, &command, deadline, &reply, err);
    if (ok)
        ok = mongo_plan_read(bytes_of(bson_get_data(&reply), reply.len), plan, err);
    else if (err->code == ERROR_UNIMPLEMENTED)
        error_prefix(err, "this server has no explain: run the query, or explain it on a WAL branch");
    bson_destroy(&reply);
    bson_destroy(&command);
    return ok;
}

bool mongo_explain_find(struct mongo *mongo, const char *database, const char *collection, const struct mongo_find *find, int64_t deadline,
                        struct mongo_plan *plan, struct error *err)
{
    bson_t filter, query = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&query, "find", collection);
    bool ok = mongo_view(find->filter, "filter", &filter, err) && mongo_append_find(&query, find, err);
    if (ok) {
        BSON_APPEND_DOCUMENT(&query, "filter", &filter);
        ok = explain(mongo, database, &query, deadline, plan, err);
    }
    bson_destroy(&query);
    return ok;
}

bool mongo_explain_aggregate(struct mongo *mongo, const char *database, const char *collection, struct bytes pipeline, struct bytes options,
                             int64_t deadline, struct mongo_plan *plan, struct error *err)
{
    bson_t stages, cursor, query = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&query, "aggregate", collection);
    BSON_APPEND_DOCUMENT_BEGIN(&query, "cursor", &cursor);
    bson_append_document_end(&query, &cursor);
    bool ok = mongo_view(pipeline, "pipeline", &stages, err) && bson_concat(&query, &stages) &&
              mongo_append_options(&query, options, err) && explain(mongo, database, &query, deadline, plan, err);
    bson_destroy(&query);
    return ok;
}
