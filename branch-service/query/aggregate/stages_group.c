/* $group, and what is made of it: $count, $sortByCount, $bucket. */
#include <stdlib.h>

#include "branch-service/query/aggregate/accumulator.h"
#include "branch-service/query/aggregate/value_hash.h"
#include "branch-service/query/expression/internal.h"
#include "common/bson/builder.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

struct group_spec {
    const struct expression *id;
    struct accumulator *accumulators;
    size_t n_accumulators;
    /* $bucket: the id must be in one of these, whose lower bound takes its place; else it is the default. */
    const struct element *boundaries, *otherwise;
    size_t n_boundaries;
};

/* What its states follow. */
struct group {
    uint64_t hash;
    struct element id;
    struct accumulator_state states[];
};

struct groups {
    struct arena arena;   /* everything that is gathered */
    struct group **slots; /* open addressing; a power of two */
    size_t n_slots;
    struct group **all; /* in the order in which they came */
    size_t n, next;
};

static bool start_group(struct stage_run *run, struct error *err)
{
    struct groups *groups = arena_zalloc(&run->arena, sizeof *groups);
    if (!groups)
        return error_out_of_memory(err);
    arena_init_metered(&groups->arena, run->owner->environment->memory_bytes);
    run->state = groups;
    return true;
}

static void stop_group(struct stage_run *run)
{
    struct groups *groups = run->state;
    if (groups)
        arena_destroy(&groups->arena);
}

static bool grow(struct groups *groups, const char *stage, struct error *err)
{
    size_t n_slots = groups->n_slots ? 2 * groups->n_slots : 256;
    struct group **slots = arena_zalloc(&groups->arena, n_slots * sizeof(struct group *));
    struct group **all = arena_alloc(&groups->arena, n_slots / 2 * sizeof(struct group *));
    if (!slots || !all)
        return fail_gathering(stage, err);
    for (size_t i = 0; i < groups->n; i++) {
        size_t at = groups->all[i]->hash & (n_slots - 1);
        while (slots[at])
            at = (at + 1) & (n_slots - 1);
        slots[at] = groups->all[i];
        all[i] = groups->all[i];
    }
    groups->slots = slots;
    groups->all = all;
    groups->n_slots = n_slots;
    return true;
}

static struct group *add_group(struct groups *groups, const struct group_spec *spec, uint64_t hash, const struct element *id, size_t slot)
{
    struct group *group = arena_alloc(&groups->arena, sizeof *group + spec->n_accumulators * sizeof group->states[0]);
    uint8_t *copy = arena_copy(&groups->arena, id->value.data, id->value.len);
    if (!group || !copy)
        return NULL;
    group->hash = hash;
    group->id = (struct element) { .type = id->type, .name = "", .value = bytes_of(copy, id->value.len) };
    groups->slots[slot] = groups->all[groups->n++] = group;
    return group;
}

static struct group *find_group(struct groups *groups, const struct group_spec *spec, const struct element *id, const char *stage,
                                bool *is_new, struct error *err)
{
    uint64_t hash = value_hash(id);
    if (groups->n >= groups->n_slots / 2 && !grow(groups, stage, err))
        return NULL;
    size_t slot = hash & (groups->n_slots - 1);
    *is_new = false;
    for (; groups->slots[slot]; slot = (slot + 1) & (groups->n_slots - 1)) {
        struct group *group = groups->slots[slot];
        if (group->hash == hash && value_compare_elements(&group->id, id) == 0)
            return group;
    }
    struct group *group = add_group(groups, spec, hash, id, slot);
    *is_new = true;
    if (!group)
        fail_gathering(stage, err);
    return group;
}

/* The lower bound of the bucket that the value is in. */
static bool find_bucket(const struct group_spec *spec, struct element *id, struct error *err)
{
    size_t low = 0, high = spec->n_boundaries; /* boundaries [0, low) are not above the id */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (value_compare_elements(&spec->boundaries[middle], id) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && low < spec->n_boundaries) {
        *id = spec->boundaries[low - 1];
        return true;
    }
    if (!spec->otherwise)
        return query_error(err, 40066, "$bucket could not find a matching bucket for an input, and no default was specified");
    *id = *spec->otherwise;
    return true;
}

static bool add_document(struct stage_run *run, struct bytes document, struct error *err)
{
    const struct group_spec *spec = run->stage->spec;
    struct groups *groups = run->state;
    struct evaluation evaluation = stage_evaluation(run, document);
    static const uint8_t nothing[] = { 5, 0, 0, 0, 0 };
    struct element id;
    if (!expression_evaluate(spec->id, &evaluation, &id, err))
        return false;
    if (value_is_missing(&id))
        make_null(&id);
    if (spec->boundaries && !find_bucket(spec, &id, err))
        return false;
    bool is_new;
    struct group *group = find_group(groups, spec, &id, run->stage->op->name, &is_new, err);
    struct run values = { .arena = &groups->arena, .bindings = evaluation.bindings, .now = evaluation.now, .err = err };
    if (!group)
        return false;
    if (is_new) { /* how many an accumulator keeps can depend on the id, when that is a document */
        values.document = id.type == BSON_TYPE_DOCUMENT ? group->id.value : bytes_of(nothing, sizeof nothing);
        if (!start_accumulators(&values, spec->accumulators, group->states))
            return false;
    }
    return add_to_accumulators(&values, spec->accumulators, group->states, &evaluation);
}

static int compare_ids(const void *a, const void *b)
{
    return value_compare_elements(&(*(struct group *const *)a)->id, &(*(struct group *const *)b)->id);
}

/* The stage's own arena holds its state; what each document needs is in one that is emptied. */
static bool gather(struct stage_run *run, struct error *err)
{
    struct bytes document;
    struct arena own = run->arena;
    bool ok, found;
    arena_init_metered(&run->arena, run->owner->environment->memory_bytes);
    while ((ok = upstream_next(run, &document, &found, err)) && found) {
        arena_clear(&run->arena);
        if (!(ok = add_document(run, document, err)))
            break;
    }
    arena_destroy(&run->arena);
    run->arena = own;
    struct groups *groups = run->state;
    const struct group_spec *spec = run->stage->spec;
    if (ok && spec->boundaries && groups->n)
        qsort(groups->all, groups->n, sizeof(struct group *), compare_ids);
    run->gathered = true;
    return ok;
}

static bool next_group(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    const struct group_spec *spec = run->stage->spec;
    struct groups *groups = run->state;
    if (!run->gathered && !gather(run, err))
        return false;
    *found = groups->next < groups->n;
    if (!*found)
        return true;
    const struct group *group = groups->all[groups->next++];
    struct run values = { .arena = &groups->arena, .err = err };
    struct list fields = { 0 };
    struct element value;
    if (!list_add_named(&values, &fields, "_id", 3, &group->id))
        return false;
    if (!list_results(&values, spec->accumulators, group->states, &fields) || !make_document(&values, &fields, &value))
        return false;
    *document = value.value;
    return true;
}

/* ---- compiling ---- */

static bool add_accumulators(struct pipeline *pipeline, struct bytes fields, struct group_spec *group, struct error *err)
{
    struct accumulator **last = &group->accumulators;
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, fields);
    while (element_next(&reader, &e)) {
        if (element_is_named(&e, "_id", 3)) {
            if (group->id)
                return query_error(err, 15948, "a group's _id may only be specified once");
            if (!expression_compile(&e, pipeline->scope, &pipeline->arena, &group->id, err))
                return false;
            continue;
        }
        if (!compile_accumulator(pipeline, &e, last, err))
            return false;
        last = &(*last)->next;
        group->n_accumulators++;
    }
    return true;
}

static bool compile_group(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct group_spec *group = spec_alloc(pipeline, sizeof *group, err);
    if (!group)
        return false;
    stage->spec = group;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 15947, "a group's fields must be specified in an object");
    if (!add_accumulators(pipeline, spec->value, group, err))
        return false;
    return group->id || query_error(err, 15955, "a group specification must include an _id");
}

/* A stage written as a document, which lives in the pipeline's arena: {name: what the builder has}. */
static bool add_written(struct pipeline *pipeline, struct builder *builder, struct error *err)
{
    struct bytes document;
    bool ok = builder_finish(builder, &document, err);
    const uint8_t *copy = ok ? arena_copy(&pipeline->arena, document.data, document.len) : NULL;
    builder_destroy(builder);
    struct element stage = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(copy, ok ? document.len : 0) };
    return ok && (copy || error_out_of_memory(err)) && add_stage(pipeline, &stage, err);
}

static void write_int(struct builder *builder, const char *name, int32_t value)
{
    uint8_t bytes[4];
    put_u32(bytes, (uint32_t)value);
    builder_name(builder, name, strlen(name));
    builder_value(builder, BSON_TYPE_INT32, bytes_of(bytes, 4));
}

static void write_open(struct builder *builder, const char *name)
{
    builder_name(builder, name, strlen(name));
    builder_begin(builder, BSON_TYPE_DOCUMENT);
}

/* {$count: "n"}: $group by nothing, and then without the _id. */
static bool compile_count(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct builder builder;
    if (spec->type != BSON_TYPE_UTF8)
        return query_error(err, 40156, "the count field must be a non-empty string");
    struct bytes name = element_string(spec);
    if (name.len == 0)
        return query_error(err, 40157, "the count field must be a non-empty string");
    if (name.data[0] == '$')
        return query_error(err, 40158, "the count field cannot be a $-prefixed path");
    if (memchr(name.data, 0, name.len))
        return query_error(err, 40159, "the count field cannot contain a null byte");
    if (memchr(name.data, '.', name.len))
        return query_error(err, 40160, "the count field cannot contain '.'");
    builder_init(&builder);
    builder_name(&builder, "_id", 3);
    builder_value(&builder, BSON_TYPE_NULL, bytes_of(NULL, 0));
    write_open(&builder, (const char *)name.data);
    write_int(&builder, "$sum", 1);
    builder_end(&builder);
    struct bytes document;
    bool ok = builder_finish(&builder, &document, err);
    const uint8_t *copy = ok ? arena_copy(&pipeline->arena, document.data, document.len) : NULL;
    builder_destroy(&builder);
    if (!copy)
        return false;
    struct element group = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(copy, document.len) };
    if (!compile_group(pipeline, &group, stage, err))
        return false;
    builder_init(&builder);
    write_open(&builder, "$project");
    write_int(&builder, "_id", 0);
    builder_end(&builder);
    return add_written(pipeline, &builder, err);
}

/* {$sortByCount: e}: $group by e with count, and then the greatest first. */
static bool compile_sort_by_count(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct group_spec *group = spec_alloc(pipeline, sizeof *group, err);
    struct element_reader reader;
    struct element first;
    struct builder builder;
    if (!group)
        return false;
    stage->spec = group;
    if (spec->type == BSON_TYPE_UTF8) {
        if (element_string(spec).data[0] != '$')
            return query_error(err, 40148, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object");
    } else if (spec->type == BSON_TYPE_DOCUMENT) {
        element_reader_init(&reader, spec->value);
        if (!element_next(&reader, &first) || !element_name_is_operator(&first))
            return query_error(err, 40147, "the sortByCount field must be defined as a $-prefixed path or an expression inside an object");
    } else {
        return query_error(err, 40149, "the sortByCount field must be specified as a string or as an object");
    }
    if (!expression_compile(spec, pipeline->scope, &pipeline->arena, &group->id, err) ||
        !compile_counter(pipeline, &group->accumulators, err))
        return false;
    group->n_accumulators = 1;
    builder_init(&builder);
    write_open(&builder, "$sort");
    write_int(&builder, "count", -1);
    builder_end(&builder);
    return add_written(pipeline, &builder, err);
}

/* ---- $bucket ---- */

static bool read_constant(struct pipeline *pipeline, const struct element *spec, int code, const char *what, struct element *out,
                          struct error *err)
{
    const struct expression *expression;
    if (!expression_compile(spec, pipeline->scope, &pipeline->arena, &expression, err))
        return false;
    if (expression_reads(expression) != 0)
        return query_error(err, code, "the %s of $bucket must be constant", what);
    const struct evaluation nothing = { .arena = &pipeline->arena, .document = bytes_of((const uint8_t[]) { 5, 0, 0, 0, 0 }, 5) };
    return expression_evaluate(expression, &nothing, out, err);
}

static int rank_of(const struct element *e)
{
    return value_type_rank(e->type == (uint8_t)BSON_TYPE_MINKEY ? BSON_TYPE_MINKEY : (bson_type_t)e->type);
}

static bool read_boundaries(struct pipeline *pipeline, const struct element *spec, struct group_spec *bucket, struct error *err)
{
    struct element_reader reader;
    struct element e;
    if (spec->type != BSON_TYPE_ARRAY)
        return query_error(err, 40200, "the $bucket 'boundaries' field must be an array, but found type: %s",
                           element_type_name(spec->type));
    size_t n = count_elements(spec);
    struct element *boundaries = spec_alloc(pipeline, (n + 1) * sizeof *boundaries, err);
    if (!boundaries)
        return false;
    element_reader_init(&reader, spec->value);
    for (size_t i = 0; element_next(&reader, &e); i++) {
        if (!read_constant(pipeline, &e, 40191, "boundaries", &boundaries[i], err))
            return false;
    }
    if (n < 2)
        return query_error(err, 40192, "the $bucket 'boundaries' field must have at least 2 values, but found %zu value(s)", n);
    for (size_t i = 1; i < n; i++) {
        if (rank_of(&boundaries[i]) != rank_of(&boundaries[i - 1]))
            return query_error(err, 40193, "all values in the 'boundaries' option to $bucket must have the same type");
        if (value_compare_elements(&boundaries[i - 1], &boundaries[i]) >= 0)
            return query_error(err, 40194, "the 'boundaries' option to $bucket must be sorted in ascending order");
    }
    bucket->boundaries = boundaries;
    bucket->n_boundaries = n;
    return true;
}

static bool compile_bucket(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct group_spec *bucket = spec_alloc(pipeline, sizeof *bucket, err);
    struct element_reader reader;
    struct element e, output = { 0 }, otherwise;
    if (!bucket)
        return false;
    stage->spec = bucket;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 40201, "Argument to $bucket stage must be an object, but found type: %s", element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (element_is_named(&e, "groupBy", 7)) {
            bool path = e.type == BSON_TYPE_UTF8 && element_string(&e).data[0] == '$';
            struct element first;
            if (e.type == BSON_TYPE_DOCUMENT) {
                struct element_reader names;
                element_reader_init(&names, e.value);
                path = element_next(&names, &first) && element_name_is_operator(&first);
            }
            if (!path)
                return query_error(err, 40202, "The $bucket 'groupBy' field must be defined as a $-prefixed path or an expression object");
            if (!expression_compile(&e, pipeline->scope, &pipeline->arena, &bucket->id, err))
                return false;
        } else if (element_is_named(&e, "boundaries", 10)) {
            if (!read_boundaries(pipeline, &e, bucket, err))
                return false;
        } else if (element_is_named(&e, "default", 7)) {
            struct element *kept = spec_alloc(pipeline, sizeof *kept, err);
            if (!kept || !read_constant(pipeline, &e, 40195, "default", &otherwise, err))
                return false;
            *kept = otherwise;
            bucket->otherwise = kept;
        } else if (element_is_named(&e, "output", 6)) {
            if (e.type != BSON_TYPE_DOCUMENT)
                return query_error(err, 40196, "The $bucket 'output' field must be an object, but found type: %s",
                                   element_type_name(e.type));
            output = e;
        } else {
            return query_error(err, 40197, "Unrecognized option to $bucket: %.*s", utf8_fit(e.name, e.name_len, 80), e.name);
        }
    }
    if (!bucket->id || !bucket->boundaries)
        return query_error(err, 40198, "$bucket requires 'groupBy' and 'boundaries' to be specified");
    const struct element *lowest = &bucket->boundaries[0], *highest = &bucket->boundaries[bucket->n_boundaries - 1];
    if (bucket->otherwise && value_compare_elements(bucket->otherwise, lowest) >= 0 &&
        value_compare_elements(bucket->otherwise, highest) < 0)
        return query_error(err, 40199, "The $bucket 'default' field must be less than the lowest boundary or not less than the highest");
    if (output.type)
        return add_accumulators(pipeline, output.value, bucket, err);
    bucket->n_accumulators = 1;
    return compile_counter(pipeline, &bucket->accumulators, err);
}

static void destroy_group(struct stage *stage)
{
    destroy_accumulators(((struct group_spec *)stage->spec)->accumulators);
}

static const struct stage_op ops[] = {
    { "$group", compile_group, destroy_group, start_group, next_group, stop_group },
    { "$count", compile_count, destroy_group, start_group, next_group, stop_group },
    { "$sortByCount", compile_sort_by_count, destroy_group, start_group, next_group, stop_group },
    { "$bucket", compile_bucket, destroy_group, start_group, next_group, stop_group },
};

const struct stage_ops stages_group = { ops, ARRAY_LEN(ops) };
