/* Calculations with dates: $dateAdd, $dateSubtract, $dateDiff, $dateTrunc. Days and what is longer are counted in
 * local time, what is shorter in real time. */
#include "branch-service/query/expression/date.h"

static bool compile_with_zone(struct compiler *c, const struct element *spec, struct expression *node)
{
    return compile_fields(c, spec, node) && compile_zone(c, node, 3);
}

/* Milliseconds; 0 for months and longer. */
static int64_t length_of(enum time_unit unit)
{
    static const int64_t lengths[] = { 1, 1000, 60000, 3600000, MILLIS_PER_DAY, 7 * MILLIS_PER_DAY, 0, 0, 0 };
    return lengths[unit];
}

static int months_of(enum time_unit unit)
{
    return unit == UNIT_MONTH ? 1 : unit == UNIT_QUARTER ? 3 : 12;
}

/* From so many units on an amount is refused whatever the date is: they are all the milliseconds of 64 bits, about. */
static int64_t most_units(enum time_unit unit)
{
    const int64_t days = (int64_t)(UINT64_MAX / MILLIS_PER_DAY) + 1;
    return unit >= UNIT_MONTH  ? (days / 365 + 1) * (12 / months_of(unit))
           : unit == UNIT_WEEK ? days / 7
                               : days * (MILLIS_PER_DAY / length_of(unit));
}

static int64_t add_months(int64_t local, int64_t months)
{
    struct date_parts p;
    date_take_apart(local, &p);
    int64_t month = p.year * 12 + p.month - 1 + months, year = floor_divide(month, 12);
    int month_of_year = (int)(month - year * 12) + 1, last = days_of_month(year, month_of_year);
    return date_put_together(year, month_of_year, p.day < last ? p.day : last, p.hour, p.minute, p.second, p.millisecond);
}

static bool any_nullish(const struct expression *e, const struct element *args)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->args[i] && is_nullish(&args[i]))
            return true;
    }
    return false;
}

enum { START, UNIT, AMOUNT, ZONE };

static bool add_units(struct run *run, const struct expression *e, int64_t start, enum time_unit unit, int64_t amount,
                      const struct time_zone *zone, struct element *out)
{
    int64_t offset = unit >= UNIT_DAY ? 1000 * (int64_t)time_zone_offset(zone, start) : 0, result = 0;
    bool overflow;
    if (unit != UNIT_MILLISECOND && (amount >= most_units(unit) || amount <= -most_units(unit)))
        return fail(run, 5976500, "%s: an invalid amount of units: %lld", e->op->name, (long long)amount);
    if (unit >= UNIT_MONTH) {
        /* more months than that are beyond the milliseconds of 64 bits */
        amount *= months_of(unit);
        overflow = amount > INT64_C(4000000000) || amount < -INT64_C(4000000000);
        if (!overflow)
            result = add_months(start + offset, amount);
    } else {
        overflow = __builtin_mul_overflow(amount, length_of(unit), &amount) || __builtin_add_overflow(start + offset, amount, &result);
    }
    if (overflow || result > MAX_CALENDAR_MILLIS || result < -MAX_CALENDAR_MILLIS)
        return fail(run, 5166406, "%s overflowed", e->op->name);
    return make_date(run, unit >= UNIT_DAY ? time_zone_to_utc(zone, result) : result, out);
}

/* variant: 1 or -1 */
static bool apply_date_add(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    enum time_unit unit;
    int64_t start, amount;
    if (any_nullish(e, args))
        return make_null(out);
    if (e->args[ZONE] && !zone_argument(run, e, &args[ZONE], &zone))
        return false;
    if (!is_date_like(&args[START]))
        return fail(run, 5166403, "%s requires startDate to be convertible to a date, found %s", e->op->name,
                    element_type_name(args[START].type));
    if (!date_argument(run, &args[START], &start) || !unit_argument(run, e, &args[UNIT], &unit))
        return false;
    if (!exact_int64(&args[AMOUNT], &amount))
        return fail(run, 5166405, "%s expects integer amount of time units", e->op->name);
    if (__builtin_mul_overflow(amount, e->op->variant, &amount))
        return fail(run, 6045000, "invalid %s 'amount' parameter value", e->op->name);
    return add_units(run, e, start, unit, amount, zone, out);
}

/* Is it null which day a week begins with? Other units do not ask. */
static bool is_week_without_start(const struct expression *e, const struct element *args, int unit, int weekday)
{
    return e->args[weekday] && is_nullish(&args[weekday]) && is_string(&args[unit]) &&
           bytes_equal(element_string(&args[unit]), bytes_of_string("week"));
}

enum { DIFF_START, DIFF_END, DIFF_UNIT, DIFF_ZONE, DIFF_WEEKDAY };

/* How many units a local time is behind some fixed point; two local times differ by as many boundaries. */
static int64_t count_units(int64_t local, enum time_unit unit, int first_weekday)
{
    struct date_parts p;
    if (unit < UNIT_WEEK)
        return floor_divide(local, length_of(unit));
    if (unit == UNIT_WEEK) /* the epoch was a Thursday */
        return floor_divide(floor_divide(local, MILLIS_PER_DAY) + 4 - first_weekday, 7);
    date_take_apart(local, &p);
    return floor_divide(p.year * 12 + p.month - 1, months_of(unit));
}

static bool apply_date_diff(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    enum time_unit unit;
    int64_t start, end;
    int weekday = 0;
    for (int i = DIFF_START; i <= DIFF_ZONE; i++) {
        if (e->args[i] && is_nullish(&args[i]))
            return make_null(out);
    }
    if (is_week_without_start(e, args, DIFF_UNIT, DIFF_WEEKDAY))
        return make_null(out);
    if (e->args[DIFF_ZONE] && !zone_argument(run, e, &args[DIFF_ZONE], &zone))
        return false;
    for (int i = DIFF_START; i <= DIFF_END; i++) {
        if (!is_date_like(&args[i]))
            return fail(run, 5166307, "$dateDiff requires '%s' to be a date, but got %s", i == DIFF_START ? "startDate" : "endDate",
                        element_type_name(args[i].type));
    }
    if (!date_argument(run, &args[DIFF_START], &start) || !date_argument(run, &args[DIFF_END], &end) ||
        !unit_argument(run, e, &args[DIFF_UNIT], &unit))
        return false;
    if (e->args[DIFF_WEEKDAY] && unit == UNIT_WEEK && !weekday_argument(run, e, &args[DIFF_WEEKDAY], &weekday))
        return false;
    int64_t start_offset = 1000 * (int64_t)time_zone_offset(zone, start), end_offset = 1000 * (int64_t)time_zone_offset(zone, end);
    int64_t difference = count_units(end + end_offset, unit, weekday) - count_units(start + start_offset, unit, weekday);
    if (unit < UNIT_DAY) /* a change in between is no time that went by, if it is one of whole units */
        difference += (start_offset - end_offset) / length_of(unit);
    return make_int64(run, difference, out);
}

enum { TRUNC_DATE, TRUNC_UNIT, TRUNC_BIN, TRUNC_ZONE, TRUNC_WEEKDAY };

/* Bins begin at 2000-01-01 local time; those of weeks at the first such weekday from there on. */
static int64_t bins_begin(const struct time_zone *zone)
{
    return time_zone_to_utc(zone, date_put_together(2000, 1, 1, 0, 0, 0, 0));
}

static bool truncate_time(struct run *run, int64_t date, enum time_unit unit, int64_t bin, const struct time_zone *zone,
                          struct element *out)
{
    int64_t length, distance, result;
    if (__builtin_mul_overflow(bin, length_of(unit), &length))
        return fail(run, 5439002, "$dateTrunc: 'binSize' is too large");
    if (__builtin_sub_overflow(date, bins_begin(zone), &distance))
        return fail(run, 5439000, "$dateTrunc overflowed");
    int64_t rest = distance % length;
    if (__builtin_sub_overflow(date, rest < 0 ? rest + length : rest, &result))
        return fail(run, 5439001, "$dateTrunc overflowed");
    return make_date(run, result, out);
}

static bool truncate_days(struct run *run, const struct expression *e, int64_t date, enum time_unit unit, int64_t bin,
                          const struct time_zone *zone, int weekday, struct element *out)
{
    int64_t begin = bins_begin(zone) + (unit == UNIT_WEEK ? (weekday - 6 + 7) % 7 * MILLIS_PER_DAY : 0);
    int64_t local = date + 1000 * (int64_t)time_zone_offset(zone, date),
            local_begin = begin + 1000 * (int64_t)time_zone_offset(zone, begin);
    if (bin > INT64_C(100000000000))
        return fail(run, 5439006, "$dateTrunc: 'binSize' is too large");
    int64_t distance = count_units(local, unit, weekday) - count_units(local_begin, unit, weekday);
    return add_units(run, e, begin, unit, floor_divide(distance, bin) * bin, zone, out);
}

static bool apply_date_trunc(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    enum time_unit unit;
    int64_t date, bin = 1;
    int weekday = 0;
    for (int i = TRUNC_DATE; i <= TRUNC_ZONE; i++) {
        if (e->args[i] && is_nullish(&args[i]))
            return make_null(out);
    }
    if (is_week_without_start(e, args, TRUNC_UNIT, TRUNC_WEEKDAY))
        return make_null(out);
    if (e->args[TRUNC_ZONE] && !zone_argument(run, e, &args[TRUNC_ZONE], &zone))
        return false;
    if (!is_date_like(&args[TRUNC_DATE]))
        return fail(run, 5439012, "$dateTrunc requires 'date' to be a date, but got %s", element_type_name(args[TRUNC_DATE].type));
    if (!date_argument(run, &args[TRUNC_DATE], &date) || !unit_argument(run, e, &args[TRUNC_UNIT], &unit))
        return false;
    if (e->args[TRUNC_BIN] && !exact_int64(&args[TRUNC_BIN], &bin))
        return fail(run, 5439017, "$dateTrunc requires 'binSize' to be a 64-bit integer, but got %s",
                    element_type_name(args[TRUNC_BIN].type));
    if (bin <= 0)
        return fail(run, 5439018, "$dateTrunc requires 'binSize' to be greater than 0, but got %lld", (long long)bin);
    if (e->args[TRUNC_WEEKDAY] && unit == UNIT_WEEK && !weekday_argument(run, e, &args[TRUNC_WEEKDAY], &weekday))
        return false;
    return unit < UNIT_DAY ? truncate_time(run, date, unit, bin, zone, out) : truncate_days(run, e, date, unit, bin, zone, weekday, out);
}

static const struct expression_op ops[] = {
    { "$dateAdd", .apply = apply_date_add, .variant = 1, .compile = compile_with_zone,
      .fields = "startDate!5166402 unit!5166402 amount!5166402 timezone", .not_document = 5166400, .unknown_field = 5166401 },
    { "$dateSubtract", .apply = apply_date_add, .variant = -1, .compile = compile_with_zone,
      .fields = "startDate!5166402 unit!5166402 amount!5166402 timezone", .not_document = 5166400, .unknown_field = 5166401 },
    { "$dateDiff", .apply = apply_date_diff, .compile = compile_with_zone,
      .fields = "startDate!5166303 endDate!5166304 unit!5166305 timezone startOfWeek", .not_document = 5166301, .unknown_field = 5166302 },
    { "$dateTrunc", .apply = apply_date_trunc, .compile = compile_with_zone,
      .fields = "date!5439009 unit!5439010 binSize timezone startOfWeek", .not_document = 5439007, .unknown_field = 5439008 },
};

const struct expression_ops ops_date = { ops, ARRAY_LEN(ops) };
