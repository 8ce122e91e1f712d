#include "branch-service/query/document.h"

#include "branch-service/query/query_error.h"
#include "branch-service/query/update.h"
#include "common/bson/utf8.h"

/* A name with a dollar in front is allowed as a part of a DBRef: $ref, $id and perhaps $db, next to each other
 * and in that order. */
static bool is_dbref_part(const struct element *field, const struct element *previous, const struct element *following)
{
    if (element_is_named(field, "$ref", 4))
        return field->type == BSON_TYPE_UTF8 && following && element_is_named(following, "$id", 3);
    if (element_is_named(field, "$id", 3))
        return previous && element_is_named(previous, "$ref", 4);
    return element_is_named(field, "$db", 3) && field->type == BSON_TYPE_UTF8 && previous && element_is_named(previous, "$id", 3);
}

static bool check_names(struct bytes document, struct element *refused)
{
    struct element_reader reader;
    struct element fields[3]; /* previous, this, following */
    element_reader_init(&reader, document);
    bool have = element_next(&reader, &fields[1]);
    for (bool have_previous = false; have; have_previous = true) {
        bool have_following = element_next(&reader, &fields[2]);
        if (element_name_is_operator(&fields[1]) &&
            !is_dbref_part(&fields[1], have_previous ? &fields[0] : NULL, have_following ? &fields[2] : NULL)) {
            *refused = fields[1];
            return false;
        }
        fields[0] = fields[1];
        fields[1] = fields[2];
        have = have_following;
    }
    return true;
}

static bool refuse_name(const struct element *field, const char *where, struct error *err)
{
    return query_error(err, MONGO_DOLLAR_PREFIXED_FIELD_NAME, "the dollar ($) prefixed field '%.*s'%s is not valid for storage",
                       utf8_fit(field->name, field->name_len, 80), field->name, where);
}

/* All documents in a value, however deep: recursion is bounded by MAX_NESTING. */
static bool check_id_names(const struct element *value, struct error *err)
{
    struct element inner, refused;
    if (value->type != BSON_TYPE_DOCUMENT && value->type != BSON_TYPE_ARRAY)
        return true;
    if (value->type == BSON_TYPE_DOCUMENT && !check_names(value->value, &refused))
        return refuse_name(&refused, " in '_id'", err);
    struct element_reader reader;
    element_reader_init(&reader, value->value);
    while (element_next(&reader, &inner)) {
        if (!check_id_names(&inner, err))
            return false;
    }
    return true;
}

bool document_check_storable(struct bytes document, struct element *id, struct error *err)
{
    struct element_reader reader;
    struct element field, found = { .name = NULL };
    element_reader_init(&reader, document);
    while (element_next(&reader, &field)) {
        if (!element_is_named(&field, "_id", 3))
            continue;
        if (found.name)
            return query_error(err, MONGO_BAD_VALUE, "a document can't have more than one '_id'");
        if (field.type == BSON_TYPE_ARRAY || field.type == BSON_TYPE_REGEX || field.type == BSON_TYPE_UNDEFINED)
            return query_error(err, MONGO_INVALID_ID_FIELD, "the '_id' value cannot be of type %s", element_type_name(field.type));
        if (!check_id_names(&field, err))
            return false;
        found = field;
    }
    *id = found;
    return true;
}

bool document_check_in_place(struct bytes document, struct error *err)
{
    struct element refused;
    return check_names(document, &refused) || refuse_name(&refused, "", err);
}

void document_write(struct builder *out, const struct element *id, struct bytes document)
{
    struct element_reader reader;
    struct element field;
    if (id)
        builder_copy(out, id);
    element_reader_init(&reader, document);
    while (element_next(&reader, &field)) {
        if (!element_is_named(&field, "_id", 3))
            builder_copy(out, &field);
    }
}

bool document_prepare(struct bytes document, bson_t *out, struct error *err)
{
    struct element id;
    struct builder builder;
    if (!document_check_storable(document, &id, err))
        return false;
    builder_init(&builder);
    if (!id.name) {
        bson_oid_t oid;
        bson_oid_init(&oid, NULL);
        builder_name(&builder, "_id", 3);
        builder_value(&builder, BSON_TYPE_OID, bytes_of(oid.bytes, sizeof oid.bytes));
    }
    document_write(&builder, id.name ? &id : NULL, document);
    bool ok = builder_finish_bson(&builder, out, err);
    builder_destroy(&builder);
    return ok;
}
