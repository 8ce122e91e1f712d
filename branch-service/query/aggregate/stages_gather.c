/* $sort, $sample, $facet: stages that see all documents before they hand on the first. */
#include <stdlib.h>

#include "branch-service/query/aggregate/stage.h"
#include "branch-service/query/sort.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/bson/utf8.h"

/* ---- $sort ---- */

struct sort_spec {
    struct sort *sort;
    size_t limit; /* of what follows; 0: none */
};

static bool compile_sort(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct sort_spec *sort = spec_alloc(pipeline, sizeof *sort, err);
    if (!sort)
        return false;
    stage->spec = sort;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 15973, "the sort key specification must be an object");
    if (count_elements(spec) == 0)
        return query_error(err, 15976, "$sort stage must have at least one sort key");
    return sort_compile(spec->value, &sort->sort, err);
}

static void destroy_sort(struct stage *stage)
{
    sort_free(((struct sort_spec *)stage->spec)->sort);
}

/* Of a stage behind, the whole number that it takes. */
static int64_t number_of_stage(const struct stage *stage, const char *name)
{
    return stage && strcmp(stage->op->name, name) == 0 ? *(const int64_t *)stage->spec : 0;
}

/* The first that does more than leave documents out; NULL: there is none. */
static const struct stage *first_but_match(const struct pipeline *pipeline)
{
    const struct stage *stage = pipeline->first;
    while (stage && strcmp(stage->op->name, "$match") == 0)
        stage = stage->next;
    return stage;
}

/* Without a state: they come in order. */
static bool start_sort(struct stage_run *run, struct error *err)
{
    const struct sort_spec *sort = run->stage->spec;
    const int direction = sort_id_direction(sort->sort);
    if (direction && direction == run->owner->source.id_direction && run->stage == first_but_match(run->owner->pipeline))
        return true;
    const struct stage *next = run->stage->next;
    int64_t skip = number_of_stage(next, "$skip"), limit = number_of_stage(skip ? next->next : next, "$limit"), both;
    (void)err;
    if (limit == 0 || __builtin_add_overflow(skip, limit, &both))
        both = 0;
    run->state = sorter_new(sort->sort, (size_t)both, run->owner->environment->memory_bytes);
    return true;
}

static void stop_sort(struct stage_run *run)
{
    sorter_free(run->state);
}

static bool next_sort(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    if (!run->state)
        return upstream_next(run, document, found, err);
    while (!run->gathered) {
        if (!upstream_next(run, document, found, err))
            return false;
        run->gathered = !*found;
        if (*found && !sorter_add(run->state, *document, err))
            return false;
    }
    *found = sorter_next(run->state, document);
    return true;
}

int pipeline_id_direction(const struct pipeline *pipeline)
{
    const struct stage *stage = first_but_match(pipeline);
    return stage && stage->op->next == next_sort ? sort_id_direction(((const struct sort_spec *)stage->spec)->sort) : 0;
}

/* ---- $sample: a reservoir, in the end in random order ---- */

struct sample {
    struct buffer *documents;
    size_t n, capacity, next;
    struct meter_share share;
};

static bool compile_sample(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct element_reader reader;
    struct element e;
    int64_t *size = spec_alloc(pipeline, sizeof *size, err);
    bool given = false;
    if (!size)
        return false;
    stage->spec = size;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 28745, "the $sample stage specification must be an object");
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (!element_is_named(&e, "size", 4))
            return query_error(err, 28748, "unrecognized option to $sample: %.*s", utf8_fit(e.name, e.name_len, 80), e.name);
        if (!element_is_number(&e))
            return query_error(err, 28746, "size argument to $sample must be a number");
        *size = int64_of(&e);
        if (*size <= 0)
            return query_error(err, 28747, "size argument to $sample must be a positive integer");
        given = true;
    }
    return given || query_error(err, 28749, "$sample stage must specify a size");
}

static bool start_sample(struct stage_run *run, struct error *err)
{
    (void)err;
    struct sample *sample = run->state = mem_zalloc(sizeof *sample);
    sample->share = meter_share_new();
    return true;
}

static void stop_sample(struct stage_run *run)
{
    struct sample *sample = run->state;
    if (!sample)
        return;
    for (size_t i = 0; i < sample->n; i++)
        buffer_destroy(&sample->documents[i]);
    free(sample->documents);
    meter_share_clear(&sample->share);
    free(sample);
}

static bool put_sample(struct stage_run *run, struct sample *sample, size_t at, struct bytes document, struct error *err)
{
    if (at == sample->capacity) {
        size_t capacity = sample->capacity ? 2 * sample->capacity : 16, more = (capacity - sample->capacity) * sizeof *sample->documents;
        struct buffer *documents = meter_hold(&sample->share, more) ? realloc(sample->documents, capacity * sizeof *documents) : NULL;
        if (!documents)
            return error_out_of_memory(err);
        sample->documents = documents;
        sample->capacity = capacity;
    }
    if (at == sample->n)
        sample->documents[sample->n++] = (struct buffer) { 0 };
    struct buffer *buffer = &sample->documents[at];
    size_t before = buffer->capacity;
    buffer_clear(buffer);
    buffer_append(buffer, document.data, document.len);
    if (buffer->failed || !meter_hold(&sample->share, buffer->capacity - before))
        return error_out_of_memory(err);
    return sample->share.held <= run->owner->environment->memory_bytes || fail_gathering("$sample", err);
}

static bool next_sample(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    struct sample *sample = run->state;
    uint64_t size = (uint64_t) * (const int64_t *)run->stage->spec;
    for (uint64_t seen = 1; !run->gathered; seen++) {
        if (!upstream_next(run, document, found, err))
            return false;
        run->gathered = !*found;
        if (!*found)
            break;
        uint64_t at = seen <= size ? seen - 1 : random_u64() % seen;
        if (at < size && !put_sample(run, sample, (size_t)at, *document, err))
            return false;
    }
    *found = sample->next < sample->n;
    if (!*found)
        return true;
    size_t other = sample->next + (size_t)(random_u64() % (sample->n - sample->next));
    struct buffer chosen = sample->documents[other];
    sample->documents[other] = sample->documents[sample->next];
    sample->documents[sample->next++] = chosen;
    *document = buffer_bytes(&chosen);
    return true;
}

/* ---- $facet ---- */

struct facet {
    const char *name;
    struct pipeline *pipeline;
    struct facet *next;
};

static bool compile_facet(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct element_reader reader;
    struct element e;
    if (spec->type != BSON_TYPE_DOCUMENT || count_elements(spec) == 0)
        return query_error(err, 40169, "the $facet specification must be a non-empty object");
    struct facet **last = (struct facet **)&stage->spec;
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        struct facet *facet = spec_alloc(pipeline, sizeof *facet, err);
        if (!facet)
            return false;
        *last = facet;
        last = &facet->next;
        facet->name = e.name;
        if (!expression_check_field_name(&e, err))
            return false;
        if (e.type != BSON_TYPE_ARRAY)
            return query_error(err, 40170, "arguments to $facet must be arrays, %.*s is type %s", utf8_fit(e.name, e.name_len, 80), e.name,
                               element_type_name(e.type));
        if (!compile_inner(pipeline, e.value, pipeline->scope, &facet->pipeline, err))
            return false;
        for (const struct stage *s = facet->pipeline->first; s; s = s->next) {
            if (strcmp(s->op->name, "$facet") == 0)
                return query_error(err, 40600, "$facet is not allowed to be used within a $facet stage");
        }
    }
    return true;
}

static void destroy_facet(struct stage *stage)
{
    for (struct facet *facet = stage->spec; facet; facet = facet->next)
        pipeline_free(facet->pipeline);
}

static bool next_of_list(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct list *left = ctx;
    (void)err;
    *found = left->n > 0;
    if (*found) {
        *document = left->items->value;
        left->items++;
        left->n--;
    }
    return true;
}

static bool gather_all(struct stage_run *run, struct run *values, struct list *all)
{
    struct bytes document;
    bool found;
    for (;;) {
        if (!upstream_next(run, &document, &found, values->err))
            return false;
        if (!found)
            return true;
        uint8_t *copy = arena_copy(&run->arena, document.data, document.len);
        struct element e = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(copy, document.len) };
        if (!copy || !list_add(values, all, &e))
            return fail_gathering("$facet", values->err);
    }
}

static bool run_facet(struct stage_run *run, struct run *values, const struct facet *facet, struct list input, struct element *out)
{
    struct document_iterator source = { .next = next_of_list, .ctx = &input };
    struct pipeline_run *inner;
    struct list results = { 0 };
    struct bytes document;
    bool found, ok;
    if (!pipeline_start(facet->pipeline, source, run->owner->environment, &inner, values->err))
        return false;
    while ((ok = pipeline_next(inner, &document, &found, values->err)) && found) {
        uint8_t *copy = arena_copy(&run->arena, document.data, document.len);
        struct element e = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(copy, document.len) };
        ok = (copy || fail_gathering("$facet", values->err)) && list_add(values, &results, &e);
        if (!ok)
            break;
    }
    pipeline_stop(inner);
    return ok && make_array(values, &results, out);
}

static bool next_facet(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    struct run values = stage_values(run, err);
    struct list all = { 0 }, fields = { 0 };
    struct element value;
    *found = !run->gathered;
    if (run->gathered)
        return true;
    run->gathered = true;
    if (!gather_all(run, &values, &all))
        return false;
    for (const struct facet *facet = run->stage->spec; facet; facet = facet->next) {
        if (!run_facet(run, &values, facet, all, &value) || !list_add_named(&values, &fields, facet->name, strlen(facet->name), &value))
            return false;
    }
    if (!make_document(&values, &fields, &value))
        return false;
    *document = value.value;
    *found = true;
    return true;
}

static const struct stage_op ops[] = {
    { "$sort", compile_sort, destroy_sort, start_sort, next_sort, stop_sort },
    { "$sample", compile_sample, NULL, start_sample, next_sample, stop_sample },
    { "$facet", compile_facet, destroy_facet, NULL, next_facet, NULL },
};

const struct stage_ops stages_gather = { ops, ARRAY_LEN(ops) };
