#include "branch-service/query/expression/value.h"

#include <bson/bson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "branch-service/query/query_error.h"
#include "common/base/clock.h"
#include "common/bson/decimal128_math.h"
#include "common/bson/iso_date.h"
#include "common/bson/number.h"
#include "common/bson/value_compare.h"

bool fail_memory(struct run *run)
{
    if (meter_refused(run->err))
        return false;
    query_error_fill(run->err, 146, "an expression needs more memory than it may use");
    if (run->err)
        run->err->code = ERROR_RESOURCE_EXHAUSTED;
    return false;
}

bool check_rounds(struct run *run)
{
    int64_t now = clock_monotonic_micros();
    if (!run->began)
        run->began = now;
    return now - run->began <= (int64_t)EXPRESSION_MAX_SECONDS * MICROS_PER_SECOND ||
           fail(run, MONGO_MAX_TIME_EXPIRED, "an expression takes longer than %d seconds over one document", EXPRESSION_MAX_SECONDS);
}

void *run_alloc(struct run *run, size_t size)
{
    if (!values_go_on(run, size))
        return NULL;
    void *p = arena_alloc(run->arena, size);
    if (!p)
        fail_memory(run);
    return p;
}

static bool make(struct element *out, uint8_t type, const void *data, size_t len)
{
    *out = (struct element) { .type = type, .name = "", .value = bytes_of(data, len) };
    return true;
}

bool make_missing(struct element *out)
{
    return make(out, BSON_TYPE_EOD, NULL, 0);
}

bool make_null(struct element *out)
{
    return make(out, BSON_TYPE_NULL, "", 0);
}

bool make_bool(bool value, struct element *out)
{
    return make(out, BSON_TYPE_BOOL, value ? "\1" : "\0", 1);
}

bool make_int32(struct run *run, int32_t value, struct element *out)
{
    uint8_t *at = run_alloc(run, 4);
    if (!at)
        return false;
    put_u32(at, (uint32_t)value);
    return make(out, BSON_TYPE_INT32, at, 4);
}

static bool make_u64(struct run *run, uint8_t type, uint64_t value, struct element *out)
{
    uint8_t *at = run_alloc(run, 8);
    if (!at)
        return false;
    put_u64(at, value);
    return make(out, type, at, 8);
}

bool make_int64(struct run *run, int64_t value, struct element *out)
{
    return make_u64(run, BSON_TYPE_INT64, (uint64_t)value, out);
}

bool make_int(struct run *run, int64_t value, struct element *out)
{
    return value >= INT32_MIN && value <= INT32_MAX ? make_int32(run, (int32_t)value, out) : make_int64(run, value, out);
}

bool make_double(struct run *run, double value, struct element *out)
{
    uint64_t bits;
    if (isnan(value))
        value = NAN; /* one NaN, whatever the machine's sign of it */
    memcpy(&bits, &value, sizeof bits);
    return make_u64(run, BSON_TYPE_DOUBLE, bits, out);
}

bool make_decimal(struct run *run, struct decimal128 value, struct element *out)
{
    uint8_t *at = run_alloc(run, DECIMAL128_SIZE);
    if (!at)
        return false;
    decimal128_store(value, at);
    return make(out, BSON_TYPE_DECIMAL128, at, DECIMAL128_SIZE);
}

bool make_date(struct run *run, int64_t millis, struct element *out)
{
    return make_u64(run, BSON_TYPE_DATE_TIME, (uint64_t)millis, out);
}

bool make_string(struct run *run, struct bytes text, struct element *out)
{
    if (text.len > EXPRESSION_MAX_VALUE)
        return fail_memory(run);
    uint8_t *at = run_alloc(run, text.len + 5);
    if (!at)
        return false;
    put_u32(at, (uint32_t)text.len + 1);
    if (text.len)
        memcpy(at + 4, text.data, text.len);
    at[4 + text.len] = 0;
    return make(out, BSON_TYPE_UTF8, at, text.len + 5);
}

bool make_text(struct run *run, const char *text, struct element *out)
{
    return make_string(run, bytes_of_string(text), out);
}

/* ---- arrays and documents ---- */

bool list_add(struct run *run, struct list *list, const struct element *value)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 8;
        struct element *items = run_alloc(run, capacity * sizeof *items);
        if (!items)
            return false;
        if (list->n)
            memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = *value;
    return true;
}

bool list_add_named(struct run *run, struct list *list, const char *name, size_t len, const struct element *value)
{
    struct element named = *value;
    named.name = name;
    named.name_len = (uint32_t)len;
    return list_add(run, list, &named);
}

bool list_add_all(struct run *run, struct list *list, const struct element *array)
{
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, array->value);
    while (element_next(&reader, &e)) {
        if (!list_add(run, list, &e))
            return false;
    }
    return true;
}

bool list_of(struct run *run, const struct element *value, struct list *list)
{
    *list = (struct list) { 0 };
    return list_add_all(run, list, value);
}

struct list list_part(const struct list *list, int64_t begin, int64_t end)
{
    int64_t size = (int64_t)list->n;
    begin = begin < 0 ? 0 : begin;
    end = end > size ? size : end;
    return begin < end ? (struct list) { .items = list->items + begin, .n = (size_t)(end - begin) } : (struct list) { 0 };
}

static size_t index_digits(size_t index)
{
    size_t n = 1;
    while (index >= 10) {
        index /= 10;
        n++;
    }
    return n;
}

static uint8_t *put_field(uint8_t *at, uint8_t type, const char *name, size_t len, struct bytes value)
{
    *at++ = type;
    memcpy(at, name, len);
    at += len;
    *at++ = 0;
    if (value.len)
        memcpy(at, value.data, value.len);
    return at + value.len;
}

/* For an array or a document, which begins with its size. */
static uint8_t *alloc_container(struct run *run, size_t size)
{
    if (!values_go_on(run, size))
        return NULL;
    uint8_t *data = size <= EXPRESSION_MAX_VALUE ? arena_alloc(run->arena, size) : NULL;
    if (data)
        put_u32(data, (uint32_t)size);
    else
        fail_memory(run);
    return data;
}

bool make_array(struct run *run, const struct list *list, struct element *out)
{
    size_t size = 5;
    for (size_t i = 0; i < list->n; i++)
        size += 2 + index_digits(i) + list->items[i].value.len;
    uint8_t *data = alloc_container(run, size);
    if (!data)
        return false;
    uint8_t *at = data + 4;
    for (size_t i = 0; i < list->n; i++) {
        const struct element *e = &list->items[i];
        char name[24];
        size_t len = index_digits(i), rest = i;
        for (size_t d = len; d-- > 0; rest /= 10)
            name[d] = (char)('0' + rest % 10);
        at = put_field(at, value_is_missing(e) ? BSON_TYPE_NULL : e->type, name, len, e->value);
    }
    *at = 0;
    return make(out, BSON_TYPE_ARRAY, data, size);
}

bool make_document(struct run *run, const struct list *list, struct element *out)
{
    size_t size = 5;
    for (size_t i = 0; i < list->n; i++) {
        if (!value_is_missing(&list->items[i]))
            size += 2 + list->items[i].name_len + list->items[i].value.len;
    }
    uint8_t *data = alloc_container(run, size);
    if (!data)
        return false;
    uint8_t *at = data + 4;
    for (size_t i = 0; i < list->n; i++) {
        const struct element *e = &list->items[i];
        if (!value_is_missing(e))
            at = put_field(at, e->type, e->name, e->name_len, e->value);
    }
    *at = 0;
    return make(out, BSON_TYPE_DOCUMENT, data, size);
}

bool list_sort(struct run *run, struct list *list, compare_fn *compare, const void *ctx)
{
    struct element *from = list->items, *to = run_alloc(run, list->n * sizeof *to);
    if (!to)
        return false;
    for (size_t width = 1; width < list->n; width *= 2) {
        for (size_t begin = 0; begin < list->n; begin += 2 * width) {
            size_t a = begin, b = begin + width < list->n ? begin + width : list->n;
            size_t a_end = b, b_end = b + width < list->n ? b + width : list->n;
            for (size_t out = begin; out < b_end; out++) {
                bool both = a < a_end && b < b_end;
                if (both && !values_go_on(run, from[a].value.len + from[b].value.len))
                    return false;
                to[out] = (both ? compare(&from[a], &from[b], ctx) <= 0 : a < a_end) ? from[a++] : from[b++];
            }
        }
        struct element *swap = from;
        from = to;
        to = swap;
    }
    list->items = from;
    list->capacity = list->n;
    return true;
}

static int compare_values(const struct element *a, const struct element *b, const void *ctx)
{
    (void)ctx;
    return value_compare_elements(a, b);
}

bool list_sort_unique(struct run *run, struct list *list)
{
    size_t kept = 0;
    if (!list_sort(run, list, compare_values, NULL))
        return false;
    for (size_t i = 0; i < list->n; i++) {
        if (kept == 0 || value_compare_elements(&list->items[kept - 1], &list->items[i]) != 0)
            list->items[kept++] = list->items[i];
    }
    list->n = kept;
    return true;
}

size_t count_elements(const struct element *array)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    element_reader_init(&reader, array->value);
    while (element_next(&reader, &e))
        n++;
    return n;
}

/* ---- numbers ---- */

double double_of_decimal(struct decimal128 value)
{
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_t raw;
    uint8_t bytes[DECIMAL128_SIZE];
    decimal128_store(value, bytes);
    raw.low = get_u64(bytes);
    raw.high = get_u64(bytes + 8);
    bson_decimal128_to_string(&raw, text);
    return strtod(text, NULL);
}

double double_of(const struct element *e)
{
    if (element_is_integer(e))
        return (double)element_integer(e);
    return e->type == BSON_TYPE_DOUBLE ? element_double(e) : double_of_decimal(decimal128_load(e->value.data));
}

struct decimal128 decimal_of(const struct element *e)
{
    if (e->type == BSON_TYPE_DECIMAL128)
        return decimal128_load(e->value.data);
    return element_is_integer(e) ? decimal128_of_int64(element_integer(e)) : decimal128_of_double(element_double(e));
}

int64_t int64_of(const struct element *e)
{
    int64_t whole;
    bool exact;
    if (number_truncate(e, &whole, &exact))
        return whole;
    double value = double_of(e);
    return isnan(value) ? 0 : value > 0 ? INT64_MAX : INT64_MIN;
}

bool long_of(struct run *run, const struct element *number, int64_t *out)
{
    struct element rounded = *number;
    bool exact;
    if (number->type == BSON_TYPE_DECIMAL128 && !make_decimal(run, decimal128_round(decimal_of(number), 0, DECIMAL128_HALF_EVEN), &rounded))
        return false;
    return number_truncate(&rounded, out, &exact) || fail(run, 31109, "Can't coerce out of range value to long");
}

bool exact_int64(const struct element *e, int64_t *out)
{
    bool exact;
    return element_is_number(e) && number_truncate(e, out, &exact) && exact;
}

bool exact_int32(const struct element *e, int32_t *out)
{
    int64_t wide;
    if (!exact_int64(e, &wide) || wide < INT32_MIN || wide > INT32_MAX)
        return false;
    *out = (int32_t)wide;
    return true;
}

static int width(uint8_t type)
{
    return type == BSON_TYPE_INT32 ? 0 : type == BSON_TYPE_INT64 ? 1 : type == BSON_TYPE_DOUBLE ? 2 : 3;
}

uint8_t wider_type(uint8_t a, uint8_t b)
{
    return width(a) >= width(b) ? a : b;
}

/* ---- text ---- */

void text_of_double(double value, char text[32])
{
    if (isnan(value))
        strcpy(text, "NaN");
    else if (isinf(value))
        strcpy(text, value < 0 ? "-Infinity" : "Infinity");
    else
        snprintf(text, 32, "%.16g", value);
}

bool text_of_value(struct run *run, const struct element *e, struct bytes *text)
{
    char number[BSON_DECIMAL128_STRING + 32];
    bson_decimal128_t raw;
    switch (e->type) {
    case BSON_TYPE_EOD:
    case BSON_TYPE_NULL:
    case BSON_TYPE_UNDEFINED:
        *text = bytes_of("", 0);
        return true;
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
    case BSON_TYPE_CODE:
        *text = element_string(e);
        return true;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        snprintf(number, sizeof number, "%lld", (long long)element_integer(e));
        break;
    case BSON_TYPE_DOUBLE:
        if (isfinite(element_double(e)))
            text_of_double(element_double(e), number);
        else /* shorter than what $toString gives */
            strcpy(number, isnan(element_double(e)) ? "nan" : element_double(e) < 0 ? "-inf" : "inf");
        break;
    case BSON_TYPE_DECIMAL128:
        raw.low = get_u64(e->value.data);
        raw.high = get_u64(e->value.data + 8);
        bson_decimal128_to_string(&raw, number);
        break;
    case BSON_TYPE_DATE_TIME: {
        int64_t millis = element_int64(e);
        iso_date_format(millis, number);
        if (millis % 1000 == 0) /* MongoDB always writes the fraction */
            memcpy(strchr(number, 'Z'), ".000Z", 6);
        break;
    }
    default:
        return fail(run, 16007, "can't convert from BSON type %s to String", element_type_name(e->type));
    }
    const char *copy = arena_strdup(run->arena, number);
    if (!copy)
        return fail_memory(run);
    *text = bytes_of_string(copy);
    return true;
}
