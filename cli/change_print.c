#include "cli/change_print.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *kind_name(Argon__Branch__V1__ChangeKind kind)
{
    switch (kind) {
    case ARGON__BRANCH__V1__CHANGE_KIND__CHANGE_INSERT:
        return "insert";
    case ARGON__BRANCH__V1__CHANGE_KIND__CHANGE_UPDATE:
        return "update";
    case ARGON__BRANCH__V1__CHANGE_KIND__CHANGE_DELETE:
        return "delete";
    case ARGON__BRANCH__V1__CHANGE_KIND__CHANGE_CREATE_COLLECTION:
        return "create-collection";
    case ARGON__BRANCH__V1__CHANGE_KIND__CHANGE_RENAME_COLLECTION:
        return "rename-collection";
    case ARGON__BRANCH__V1__CHANGE_KIND__CHANGE_DROP_COLLECTION:
        return "drop-collection";
    default:
        return "unknown";
    }
}

/* Appends the JSON and its NUL; *begin is where it stands. "null" for none. */
static bool append_json(struct buffer *buffer, enum ejson_style style, const Argon__Branch__V1__Document *document, size_t *begin,
                        struct error *err)
{
    *begin = buffer->len;
    if (!document)
        buffer_append(buffer, "null", 4);
    else if (!ejson_format(bytes_of(document->bson.data, document->bson.len), style, buffer, err))
        return false;
    buffer_append_u8(buffer, '\0');
    return buffer->failed ? error_out_of_memory(err) : true;
}

/* {"_id":VALUE} -> VALUE, in place. */
static const char *value_alone(char *json)
{
    char *value = strchr(json, ':'), *end = strrchr(json, '}');
    if (!value || !end)
        return json;
    value += 1 + strspn(value + 1, " ");
    while (end > value && end[-1] == ' ')
        end--;
    *end = '\0';
    return value;
}

static void print_line(struct output *out, const Argon__Branch__V1__Change *change, const char *id, const char *document)
{
    const struct field time = FIELD_TIME("time", change->timestamp), collection = FIELD_STRING("collection", change->collection),
                       renamed = FIELD_STRING("new_collection", change->new_collection), actor = FIELD_STRING("actor", change->actor);
    struct buffer *line = &out->text;
    char lsn[32];
    buffer_clear(line);
    snprintf(lsn, sizeof lsn, "%8" PRIu64 "  ", change->lsn);
    buffer_append(line, lsn, strlen(lsn));
    output_append_plain(line, &time);
    buffer_append(line, "  ", 2);
    buffer_append(line, kind_name(change->kind), strlen(kind_name(change->kind)));
    buffer_append(line, "  ", 2);
    output_append_plain(line, &collection);
    if (change->new_collection[0]) {
        buffer_append(line, " -> ", 4);
        output_append_plain(line, &renamed);
    }
    if (change->document_id) {
        buffer_append(line, "  ", 2);
        buffer_append(line, id, strlen(id));
    }
    if (change->actor[0]) {
        buffer_append(line, "  by ", 5);
        output_append_plain(line, &actor);
    }
    if (change->document) {
        buffer_append(line, "  ", 2);
        buffer_append(line, document, strlen(document));
    }
    buffer_append_u8(line, '\0');
    if (line->failed)
        out->errnum = out->errnum ? out->errnum : ENOMEM;
    else
        output_list_line(out, (const char *)line->data);
}

bool change_print(struct output *out, const Argon__Branch__V1__Change *change, struct error *err)
{
    struct buffer json = { 0 };
    size_t id_at, document_at;
    bool ok = append_json(&json, out->style, change->document_id, &id_at, err) &&
              append_json(&json, out->style, change->document, &document_at, err);
    if (ok) {
        const char *id = value_alone((char *)json.data + id_at), *document = (char *)json.data + document_at;
        const struct field fields[] = {
            FIELD_U64("lsn", change->lsn),
            FIELD_TIME("time", change->timestamp),
            FIELD_STRING("kind", kind_name(change->kind)),
            FIELD_STRING("collection", change->collection),
            FIELD_OPTIONAL("new_collection", change->new_collection),
            FIELD_JSON("id", id),
            FIELD_OPTIONAL("actor", change->actor),
            FIELD_STRING("branch_id", change->branch_id),
            FIELD_JSON("document", document),
        };
        if (out->format == OUTPUT_TABLE)
            print_line(out, change, id, document);
        else /* the document stands last: absent when it was not asked for, or there is none */
            output_list_row(out, fields, ARRAY_LEN(fields) - !change->document);
    }
    buffer_destroy(&json);
    return ok;
}
