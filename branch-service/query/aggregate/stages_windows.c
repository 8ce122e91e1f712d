/* $setWindowFields: all documents, in partitions and in their order, each with what its neighbours add up to.
 *
 * A window that begins with its partition grows from one document to the next; any other is gone through anew for each. */
#include <stdlib.h>

#include "branch-service/query/aggregate/window.h"
#include "common/bson/value_compare.h"

struct placed {
    struct bytes document;
    struct element partition;
    struct element *keys; /* those of the sort */
    size_t number;        /* it came as */
};

/* Of one output, in the partition that is under way. */
struct progress {
    struct arena arena; /* of the accumulator's state */
    struct accumulator_state state;
    bool started;
    size_t added;        /* documents up to here, of a window that grows */
    size_t lower, upper; /* of a range: where the last one was */
    struct element last; /* locf; in the documents' arena */
    int64_t rank;
};

struct windows {
    struct arena arena;   /* all documents */
    struct arena made;    /* the one that was handed out last */
    struct arena scratch; /* what is made of one document */
    struct placed *documents;
    size_t n, capacity, next;
    size_t begin, end; /* the partition */
    struct progress *progress;
};

static bool start_windows(struct stage_run *run, struct error *err)
{
    const struct windows_spec *spec = run->stage->spec;
    struct windows *windows = arena_zalloc(&run->arena, sizeof *windows);
    struct progress *progress = arena_zalloc(&run->arena, (spec->n_outputs + 1) * sizeof *progress);
    if (!windows || !progress)
        return error_out_of_memory(err);
    size_t limit = run->owner->environment->memory_bytes;
    arena_init_metered(&windows->arena, limit);
    arena_init_metered(&windows->made, limit);
    arena_init_metered(&windows->scratch, limit);
    for (size_t i = 0; i < spec->n_outputs; i++)
        arena_init_metered(&progress[i].arena, limit);
    windows->progress = progress;
    run->state = windows;
    return true;
}

static void stop_windows(struct stage_run *run)
{
    const struct windows_spec *spec = run->stage->spec;
    struct windows *windows = run->state;
    if (!windows)
        return;
    for (size_t i = 0; i < spec->n_outputs; i++)
        arena_destroy(&windows->progress[i].arena);
    arena_destroy(&windows->arena);
    arena_destroy(&windows->made);
    arena_destroy(&windows->scratch);
}

/* ---- gathering ---- */

static bool copy_element(struct arena *arena, const struct element *value, struct element *out)
{
    uint8_t *copy = arena_alloc(arena, value->value.len + 1);
    if (copy && value->value.len)
        memcpy(copy, value->value.data, value->value.len);
    *out = (struct element) { .type = value->type, .name = "", .value = bytes_of(copy, value->value.len) };
    return copy != NULL;
}

static bool place(struct stage_run *run, struct windows *windows, struct bytes document, struct error *err)
{
    const struct windows_spec *spec = run->stage->spec;
    struct evaluation evaluation = stage_evaluation(run, document);
    struct element partition;
    struct sort_key key;
    make_null(&partition);
    arena_clear(&windows->scratch);
    evaluation.arena = &windows->scratch;
    if (spec->partition && !expression_evaluate(spec->partition, &evaluation, &partition, err))
        return false;
    if (partition.type == BSON_TYPE_ARRAY)
        return query_error(err, MONGO_TYPE_MISMATCH, "An expression used to partition cannot evaluate to value of type array");
    if (is_nullish(&partition))
        make_null(&partition);
    if (spec->sort && !sort_key_of(spec->sort, document, &key, err))
        return false;
    if (windows->n == windows->capacity) {
        size_t capacity = windows->capacity ? 2 * windows->capacity : 64;
        struct placed *grown = arena_alloc(&windows->arena, capacity * sizeof *grown);
        if (!grown)
            return fail_gathering(run->stage->op->name, err);
        if (windows->n)
            memcpy(grown, windows->documents, windows->n * sizeof *grown);
        windows->documents = grown;
        windows->capacity = capacity;
    }
    struct placed *placed = &windows->documents[windows->n];
    size_t n_keys = spec->sort ? sort_key_count(spec->sort) : 0;
    const uint8_t *copy = arena_copy(&windows->arena, document.data, document.len);
    placed->keys = arena_alloc(&windows->arena, (n_keys + 1) * sizeof *placed->keys);
    if (!copy || !placed->keys || !copy_element(&windows->arena, &partition, &placed->partition))
        return fail_gathering(run->stage->op->name, err);
    for (size_t i = 0; i < n_keys; i++) {
        if (!copy_element(&windows->arena, &key.values[i], &placed->keys[i]))
            return fail_gathering(run->stage->op->name, err);
    }
    placed->document = bytes_of(copy, document.len);
    placed->number = windows->n++;
    return true;
}

static int compare_keys(const struct windows_spec *spec, const struct placed *a, const struct placed *b)
{
    for (size_t i = 0; spec->sort && i < sort_key_count(spec->sort); i++) {
        int order = value_compare_elements(&a->keys[i], &b->keys[i]);
        if (order)
            return order * sort_key_direction(spec->sort, i);
    }
    return 0;
}

static int compare_placed(const void *x, const void *y, void *spec)
{
    const struct placed *a = x, *b = y;
    int order = value_compare_elements(&a->partition, &b->partition);
    if (!order)
        order = compare_keys(spec, a, b);
    return order ? order : a->number < b->number ? -1 : 1;
}

static bool gather(struct stage_run *run, struct windows *windows, struct error *err)
{
    struct bytes document;
    bool ok, found;
    while ((ok = upstream_next(run, &document, &found, err)) && found) {
        if (!(ok = place(run, windows, document, err)))
            break;
    }
    if (ok && windows->n)
        qsort_r(windows->documents, windows->n, sizeof *windows->documents, compare_placed, run->stage->spec);
    run->gathered = true;
    return ok;
}

static void begin_partition(const struct windows_spec *spec, struct windows *windows)
{
    size_t end = windows->next + 1;
    while (end < windows->n &&
           value_compare_elements(&windows->documents[end].partition, &windows->documents[windows->next].partition) == 0)
        end++;
    windows->begin = windows->next;
    windows->end = end;
    for (size_t i = 0; i < spec->n_outputs; i++) {
        struct progress *p = &windows->progress[i];
        arena_clear(&p->arena);
        p->started = false;
        p->rank = 0;
        p->added = p->lower = p->upper = windows->begin;
        make_null(&p->last);
    }
}

/* ---- windows ---- */

static struct evaluation evaluation_at(struct stage_run *run, size_t at)
{
    struct windows *windows = run->state;
    struct evaluation evaluation = stage_evaluation(run, windows->documents[at].document);
    arena_clear(&windows->scratch);
    evaluation.arena = &windows->scratch;
    return evaluation;
}

static size_t offset_by(size_t at, int64_t offset, size_t begin, size_t end)
{
    int64_t moved = (int64_t)at + offset;
    return moved < (int64_t)begin ? begin : moved > (int64_t)end ? end : (size_t)moved;
}

static bool check_range_key(const struct window *window, const struct element *key, struct error *err)
{
    if (window->has_unit)
        return key->type == BSON_TYPE_DATE_TIME ||
               query_error(err, 5429513, "Invalid range: Expected the sortBy field to be a Date, but it was %s",
                           element_type_name(key->type));
    if (key->type == BSON_TYPE_DATE_TIME)
        return query_error(err, 5429413, "Invalid range: For windows that involve date or time ranges, a unit must be provided.");
    return element_is_number(key) || query_error(err, 5429414, "Invalid range: Expected the sortBy field to be a number, but it was %s",
                                                 element_type_name(key->type));
}

/* The first document of the partition, from `at` on, whose key is not below the bound's; or, past: that is above it. */
static bool find_range_end(struct stage_run *run, const struct window_bound *bound, bool past, size_t *at, struct error *err)
{
    struct windows *windows = run->state;
    struct evaluation evaluation = evaluation_at(run, windows->next);
    struct element value;
    if (!expression_evaluate(bound->value, &evaluation, &value, err))
        return false;
    while (*at < windows->end && value_compare_elements(&windows->documents[*at].keys[0], &value) < past)
        ++*at;
    return true;
}

/* Documents from *lower to in front of *upper. */
static bool find_window(struct stage_run *run, const struct window *window, struct progress *p, size_t *lower, size_t *upper,
                        struct error *err)
{
    const struct windows *windows = run->state;
    size_t at = windows->next;
    *lower = window->lower.kind == BOUND_CURRENT ? at : windows->begin;
    *upper = window->upper.kind == BOUND_CURRENT ? at + 1 : windows->end;
    if (window->by_range) {
        if (!check_range_key(window, &windows->documents[at].keys[0], err) ||
            (window->lower.kind == BOUND_OFFSET && !find_range_end(run, &window->lower, false, &p->lower, err)) ||
            (window->upper.kind == BOUND_OFFSET && !find_range_end(run, &window->upper, true, &p->upper, err)))
            return false;
    } else {
        p->lower = offset_by(at, window->lower.documents, windows->begin, windows->end);
        p->upper = offset_by(at + 1, window->upper.documents, windows->begin, windows->end);
    }
    if (window->lower.kind == BOUND_OFFSET)
        *lower = p->lower;
    if (window->upper.kind == BOUND_OFFSET)
        *upper = p->upper;
    return true;
}

static bool accumulate(struct stage_run *run, const struct window_output *output, struct progress *p, struct run *values,
                       struct element *out)
{
    static const uint8_t nothing[] = { 5, 0, 0, 0, 0 };
    const struct pipeline_environment *environment = run->owner->environment;
    struct run kept = { .arena = &p->arena, .bindings = environment->variables.bindings, .now = environment->now, .err = values->err };
    size_t lower, upper;
    if (!find_window(run, &output->window, p, &lower, &upper, values->err))
        return false;
    bool grows = output->window.lower.kind == BOUND_NONE;
    if (!grows || !p->started) {
        arena_clear(&p->arena);
        p->added = lower;
        p->started = true;
        kept.document = bytes_of(nothing, sizeof nothing);
        if (!start_accumulators(&kept, output->accumulator, &p->state))
            return false;
    }
    for (; p->added < upper; p->added++) {
        struct evaluation evaluation = evaluation_at(run, p->added);
        if (!run_goes_on(run, values->err) || !add_to_accumulators(&kept, output->accumulator, &p->state, &evaluation))
            return false;
    }
    return output->accumulator->op->result(values, output->accumulator, &p->state, out);
}

static bool shift(struct stage_run *run, const struct window_output *output, struct run *values, struct element *out)
{
    const struct windows *windows = run->state;
    int64_t at = (int64_t)windows->next + output->by;
    struct evaluation evaluation = stage_evaluation(run, windows->documents[windows->next].document);
    evaluation.arena = values->arena;
    make_missing(out);
    if (at >= (int64_t)windows->begin && at < (int64_t)windows->end) {
        evaluation.document = windows->documents[at].document;
        if (!expression_evaluate(output->input, &evaluation, out, values->err))
            return false;
    }
    if (value_is_missing(out) && output->otherwise && !expression_evaluate(output->otherwise, &evaluation, out, values->err))
        return false;
    return !value_is_missing(out) || make_null(out);
}

/* The last value that was not null. */
static bool carry_forward(struct stage_run *run, const struct window_output *output, struct progress *p, struct run *values,
                          struct element *out)
{
    struct windows *windows = run->state;
    struct evaluation evaluation = evaluation_at(run, windows->next);
    struct element value;
    if (!expression_evaluate(output->input, &evaluation, &value, values->err))
        return false;
    if (!is_nullish(&value) && !copy_element(&windows->arena, &value, &p->last))
        return fail_gathering(run->stage->op->name, values->err);
    *out = p->last;
    return true;
}

static bool compute(struct stage_run *run, const struct window_output *output, struct progress *p, struct run *values, struct element *out)
{
    const struct windows *windows = run->state;
    int64_t number = (int64_t)(windows->next - windows->begin) + 1;
    bool tie =
        number > 1 && compare_keys(run->stage->spec, &windows->documents[windows->next - 1], &windows->documents[windows->next]) == 0;
    switch (output->function) {
    case WINDOW_ACCUMULATE:
        return accumulate(run, output, p, values, out);
    case WINDOW_SHIFT:
        return shift(run, output, values, out);
    case WINDOW_LOCF:
        return carry_forward(run, output, p, values, out);
    case WINDOW_RANK:
        p->rank = tie ? p->rank : number;
        return make_int(values, p->rank, out);
    case WINDOW_DENSE_RANK:
        p->rank += !tie;
        return make_int(values, p->rank, out);
    default:
        return make_int(values, number, out);
    }
}

/* The stage's own arena holds its state; what is handed out is in one that is emptied. */
static bool next_windowed(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    const struct windows_spec *spec = run->stage->spec;
    struct windows *windows = run->state;
    if (!run->gathered && !gather(run, windows, err))
        return false;
    *found = windows->next < windows->n;
    if (!*found)
        return true;
    if (windows->next == windows->end)
        begin_partition(spec, windows);
    arena_clear(&windows->made);
    struct run values = { .arena = &windows->made, .err = err };
    struct bytes made = windows->documents[windows->next].document;
    for (size_t i = 0; i < spec->n_outputs; i++) {
        struct element value;
        if (!compute(run, &spec->outputs[i], &windows->progress[i], &values, &value) ||
            !with_nested(&values, made, &spec->outputs[i].path, &value, &made))
            return false;
    }
    windows->next++;
    *document = made;
    return true;
}

static const struct stage_op ops[] = {
    { "$setWindowFields", compile_windows, destroy_windows, start_windows, next_windowed, stop_windows },
};

const struct stage_ops stages_windows = { ops, ARRAY_LEN(ops) };
