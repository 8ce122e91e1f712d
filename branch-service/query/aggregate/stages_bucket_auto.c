/* $bucketAuto: documents in the order of a value, cut into so many pieces of about the same size. */
#include <math.h>
#include <stdlib.h>

#include "branch-service/query/aggregate/accumulator.h"
#include "branch-service/query/expression/internal.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

struct bucket_spec {
    const struct expression *by;
    int32_t buckets;
    struct accumulator *accumulators;
    size_t n_accumulators;
};

struct keyed {
    struct element key;
    struct bytes document;
    size_t number; /* it came as */
};

struct buckets {
    struct arena arena;   /* all documents */
    struct arena bucket;  /* the one that was handed out last */
    struct arena scratch; /* what is made of one document */
    struct keyed *documents;
    size_t n, capacity, next;
    int32_t made;
};

static bool start_buckets(struct stage_run *run, struct error *err)
{
    struct buckets *buckets = arena_zalloc(&run->arena, sizeof *buckets);
    if (!buckets)
        return error_out_of_memory(err);
    arena_init_metered(&buckets->arena, run->owner->environment->memory_bytes);
    arena_init_metered(&buckets->bucket, run->owner->environment->memory_bytes);
    arena_init_metered(&buckets->scratch, run->owner->environment->memory_bytes);
    run->state = buckets;
    return true;
}

static void stop_buckets(struct stage_run *run)
{
    struct buckets *buckets = run->state;
    if (!buckets)
        return;
    arena_destroy(&buckets->arena);
    arena_destroy(&buckets->bucket);
    arena_destroy(&buckets->scratch);
}

static bool add_keyed(struct stage_run *run, struct buckets *buckets, const struct element *key, struct bytes document, struct error *err)
{
    if (buckets->n == buckets->capacity) {
        size_t capacity = buckets->capacity ? 2 * buckets->capacity : 64;
        struct keyed *documents = arena_alloc(&buckets->arena, capacity * sizeof *documents);
        if (!documents)
            return fail_gathering(run->stage->op->name, err);
        if (buckets->n)
            memcpy(documents, buckets->documents, buckets->n * sizeof *documents);
        buckets->documents = documents;
        buckets->capacity = capacity;
    }
    const uint8_t *value = arena_copy(&buckets->arena, key->value.data, key->value.len);
    const uint8_t *copy = arena_copy(&buckets->arena, document.data, document.len);
    if (!value || !copy)
        return fail_gathering(run->stage->op->name, err);
    buckets->documents[buckets->n] = (struct keyed) {
        .key = { .type = key->type, .name = "", .value = bytes_of(value, key->value.len) },
        .document = bytes_of(copy, document.len),
        .number = buckets->n,
    };
    buckets->n++;
    return true;
}

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int order = value_compare_elements(&x->key, &y->key);
    return order ? order : x->number < y->number ? -1 : 1;
}

static bool gather(struct stage_run *run, struct buckets *buckets, struct error *err)
{
    const struct bucket_spec *spec = run->stage->spec;
    struct bytes document;
    struct element key;
    bool ok, found;
    while ((ok = upstream_next(run, &document, &found, err)) && found) {
        struct evaluation evaluation = stage_evaluation(run, document);
        arena_clear(&buckets->scratch);
        evaluation.arena = &buckets->scratch;
        ok = expression_evaluate(spec->by, &evaluation, &key, err);
        if (ok && value_is_missing(&key))
            make_null(&key);
        ok = ok && add_keyed(run, buckets, &key, document, err);
        if (!ok)
            break;
    }
    if (ok && buckets->n)
        qsort(buckets->documents, buckets->n, sizeof *buckets->documents, compare_keyed);
    run->gathered = true;
    return ok;
}

/* Behind the last document of the bucket that begins with the next one: equal values are never parted. */
static size_t end_of_bucket(const struct buckets *buckets, int32_t wanted)
{
    double size = round((double)buckets->n / wanted);
    size_t left = buckets->n - buckets->next, take = size < 1 ? 1 : (size_t)size;
    if (take > left || buckets->made + 1 == wanted)
        take = left;
    size_t end = buckets->next + take;
    while (end < buckets->n && value_compare_elements(&buckets->documents[end].key, &buckets->documents[end - 1].key) == 0)
        end++;
    return end;
}

/* {min, max}: max is the next bucket's min, but for the last. */
static bool make_bounds(struct run *values, const struct buckets *buckets, size_t end, struct element *out)
{
    struct list bounds = { 0 };
    return list_add_named(values, &bounds, "min", 3, &buckets->documents[buckets->next].key) &&
           list_add_named(values, &bounds, "max", 3, &buckets->documents[end < buckets->n ? end : end - 1].key) &&
           make_document(values, &bounds, out);
}

static bool make_bucket(struct run *values, const struct stage_run *run, struct buckets *buckets, size_t end, struct bytes *document)
{
    static const uint8_t nothing[] = { 5, 0, 0, 0, 0 };
    const struct bucket_spec *spec = run->stage->spec;
    struct list fields = { 0 };
    struct element value;
    struct accumulator_state *states = run_alloc(values, (spec->n_accumulators + 1) * sizeof *states);
    if (!states || !make_bounds(values, buckets, end, &value) || !list_add_named(values, &fields, "_id", 3, &value))
        return false;
    values->document = bytes_of(nothing, sizeof nothing);
    if (!start_accumulators(values, spec->accumulators, states))
        return false;
    for (size_t i = buckets->next; i < end; i++) {
        struct evaluation evaluation = {
            .arena = &buckets->scratch, .document = buckets->documents[i].document, .bindings = values->bindings, .now = values->now
        };
        arena_clear(&buckets->scratch);
        if (!add_to_accumulators(values, spec->accumulators, states, &evaluation))
            return false;
    }
    if (!list_results(values, spec->accumulators, states, &fields) || !make_document(values, &fields, &value))
        return false;
    *document = value.value;
    return true;
}

static bool next_bucket(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    const struct bucket_spec *spec = run->stage->spec;
    struct buckets *buckets = run->state;
    if (!run->gathered && !gather(run, buckets, err))
        return false;
    *found = buckets->next < buckets->n;
    if (!*found)
        return true;
    size_t end = end_of_bucket(buckets, spec->buckets);
    struct evaluation evaluation = stage_evaluation(run, buckets->documents[buckets->next].document);
    struct run values = { .arena = &buckets->bucket, .bindings = evaluation.bindings, .now = evaluation.now, .err = err };
    arena_clear(&buckets->bucket);
    if (!make_bucket(&values, run, buckets, end, document))
        return false;
    buckets->next = end;
    buckets->made++;
    return true;
}

/* ---- compiling ---- */

static bool read_output(struct pipeline *pipeline, const struct element *spec, struct bucket_spec *bucket, struct error *err)
{
    struct accumulator **last = &bucket->accumulators;
    struct element_reader reader;
    struct element e;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 40244, "The 'output' field must be an object, but found type: %s", element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (!compile_accumulator(pipeline, &e, last, err))
            return false;
        if (expression_reads((*last)->n) & READS_DOCUMENT)
            return query_error(err, 4544714, "Can't refer to the group key in $bucketAuto");
        last = &(*last)->next;
        bucket->n_accumulators++;
    }
    return true;
}

static bool read_option(struct pipeline *pipeline, const struct element *e, struct bucket_spec *bucket, struct error *err)
{
    if (element_is_named(e, "groupBy", 7)) {
        struct element_reader reader;
        struct element first;
        element_reader_init(&reader, e->value);
        bool path = e->type == BSON_TYPE_UTF8 && element_string(e).len > 1 && element_string(e).data[0] == '$';
        bool operator= e->type == BSON_TYPE_DOCUMENT && element_next(&reader, &first) && element_name_is_operator(&first);
        if (!path && !operator)
            return query_error(err, 40239, "The 'groupBy' field must be defined as a $-prefixed path or an expression object");
        return expression_compile(e, pipeline->scope, &pipeline->arena, &bucket->by, err);
    }
    if (element_is_named(e, "buckets", 7)) {
        if (!element_is_number(e))
            return query_error(err, 40241, "The 'buckets' field must be a numeric value, but found type: %s", element_type_name(e->type));
        if (!exact_int32(e, &bucket->buckets))
            return query_error(err, 40242, "The 'buckets' field must be representable as a 32-bit integer");
        return bucket->buckets > 0 || query_error(err, 40243, "The 'buckets' field must be greater than 0, but found: %d", bucket->buckets);
    }
    if (element_is_named(e, "output", 6))
        return read_output(pipeline, e, bucket, err);
    if (element_is_named(e, "granularity", 11))
        return e->type == BSON_TYPE_UTF8
                   ? query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "the option 'granularity' is not supported")
                   : query_error(err, 40261, "The 'granularity' field must be a string, but found type: %s", element_type_name(e->type));
    return query_error(err, 40245, "Unrecognized option: %.*s", utf8_fit(e->name, e->name_len, 80), e->name);
}

static bool compile_bucket_auto(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct bucket_spec *bucket = spec_alloc(pipeline, sizeof *bucket, err);
    struct element_reader reader;
    struct element e;
    if (!bucket)
        return false;
    stage->spec = bucket;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 40240, "the argument must be an object, but found type: %s", element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (!read_option(pipeline, &e, bucket, err))
            return false;
    }
    if (!bucket->by || !bucket->buckets)
        return query_error(err, 40246, "$bucketAuto requires 'groupBy' and 'buckets' to be specified");
    if (bucket->accumulators)
        return true;
    bucket->n_accumulators = 1;
    return compile_counter(pipeline, &bucket->accumulators, err);
}

static void destroy_bucket_auto(struct stage *stage)
{
    destroy_accumulators(((struct bucket_spec *)stage->spec)->accumulators);
}

static const struct stage_op ops[] = {
    { "$bucketAuto", compile_bucket_auto, destroy_bucket_auto, start_buckets, next_bucket, stop_buckets },
};

const struct stage_ops stages_bucket_auto = { ops, ARRAY_LEN(ops) };
