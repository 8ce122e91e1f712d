#include "branch-service/query/update_ops.h"

#include "branch-service/query/query_error.h"
#include "common/base/clock.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

void update_slot_write(struct update_slot *slot, uint8_t type, struct bytes value)
{
    builder_name(slot->out, slot->name, slot->name_len);
    builder_value(slot->out, type, value);
    slot->written = true;
}

void update_slot_keep(struct update_slot *slot)
{
    builder_copy(slot->out, slot->old);
    slot->written = true;
}

void update_slot_begin_array(struct update_slot *slot)
{
    builder_name(slot->out, slot->name, slot->name_len);
    builder_begin(slot->out, BSON_TYPE_ARRAY);
    slot->written = true;
}

static bool any_argument(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    (void)compiler;
    (void)action;
    (void)err;
    return true;
}

static bool apply_set(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    (void)err;
    update_slot_write(slot, action->argument.type, action->argument.value);
    return true;
}

static bool apply_unset(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    (void)action;
    (void)slot;
    (void)err;
    return true;
}

static bool apply_lesser(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    if (!slot->old || value_compare_elements(&action->argument, slot->old) < 0)
        return apply_set(action, slot, err);
    update_slot_keep(slot);
    return true;
}

static bool apply_greater(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    if (!slot->old || value_compare_elements(&action->argument, slot->old) > 0)
        return apply_set(action, slot, err);
    update_slot_keep(slot);
    return true;
}

/* ---- $currentDate ------------------------------------------------------------------------------------ */

static const char as_date[] = "date", as_timestamp[] = "timestamp";

static bool current_date_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    const struct element *argument = &action->argument;
    struct element_reader reader;
    struct element option;
    compiler->writes_time = true;
    if (argument->type == BSON_TYPE_BOOL) {
        action->compiled = as_date;
        return true;
    }
    if (argument->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_BAD_VALUE,
                           "%s is not a valid type for $currentDate: use true or {$type: 'timestamp'} or {$type: 'date'}",
                           element_type_name(argument->type));
    element_reader_init(&reader, argument->value);
    while (element_next(&reader, &option)) {
        if (!element_is_named(&option, "$type", 5))
            return query_error(err, MONGO_BAD_VALUE, "unrecognized $currentDate option: %.*s", utf8_fit(option.name, option.name_len, 80),
                               option.name);
        if (option.type == BSON_TYPE_UTF8 && bytes_equal(element_string(&option), bytes_of_string(as_date)))
            action->compiled = as_date;
        else if (option.type == BSON_TYPE_UTF8 && bytes_equal(element_string(&option), bytes_of_string(as_timestamp)))
            action->compiled = as_timestamp;
    }
    if (!action->compiled)
        return query_error(err, MONGO_BAD_VALUE, "the '$type' field of $currentDate is required to be 'date' or 'timestamp'");
    return true;
}

static bool current_date_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    (void)err;
    uint8_t value[8];
    bool is_date = action->compiled == as_date;
    uint64_t now = slot->now_micros;
    /* a timestamp's lower half counts within its second and begins at 1 */
    put_u64(value, is_date ? now / 1000 : now / MICROS_PER_SECOND << 32 | (now % MICROS_PER_SECOND + 1));
    update_slot_write(slot, is_date ? BSON_TYPE_DATE_TIME : BSON_TYPE_TIMESTAMP, bytes_of(value, sizeof value));
    return true;
}

/* ---- the table --------------------------------------------------------------------------------------- */

const struct update_op update_rename_target = { "$rename", UPDATE_CREATES, false, any_argument, apply_set };

static const struct update_op ops[] = {
    { "$set", UPDATE_CREATES, false, any_argument, apply_set },
    { "$setOnInsert", UPDATE_CREATES, true, any_argument, apply_set },
    { "$unset", UPDATE_SKIPS, false, any_argument, apply_unset },
    { "$inc", UPDATE_CREATES, false, update_increment_compile, update_increment_apply },
    { "$mul", UPDATE_CREATES, false, update_multiply_compile, update_multiply_apply },
    { "$min", UPDATE_CREATES, false, any_argument, apply_lesser },
    { "$max", UPDATE_CREATES, false, any_argument, apply_greater },
    { "$bit", UPDATE_CREATES, false, update_bit_compile, update_bit_apply },
    { "$currentDate", UPDATE_CREATES, false, current_date_compile, current_date_apply },
    { "$rename", UPDATE_SKIPS, false, any_argument, apply_unset }, /* the source; update_spec.c adds the target */
    { "$push", UPDATE_CREATES, false, update_push_compile, update_push_apply },
    { "$addToSet", UPDATE_CREATES, false, update_add_to_set_compile, update_add_to_set_apply },
    { "$pop", UPDATE_EXPECTS, false, update_pop_compile, update_pop_apply },
    { "$pull", UPDATE_EXPECTS, false, update_pull_compile, update_pull_apply },
    { "$pullAll", UPDATE_EXPECTS, false, update_pull_all_compile, update_pull_all_apply },
};

const struct update_op *update_op_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (bytes_equal(bytes_of(name, len), bytes_of_string(ops[i].name)))
            return &ops[i];
    }
    return NULL;
}

const struct update_op *update_op_at(size_t i)
{
    return i < ARRAY_LEN(ops) ? &ops[i] : NULL;
}
