/* Extended JSON v2 to BSON, in one pass and without recursion.
 *
 * Strict: an object that has one of the type wrappers' keys is exactly that wrapper or an error. What v2 does
 * not know as a wrapper stays a document: {"$regex": ...} and {"$type": ...} are query operators here.
 * Repeated field names are kept, as BSON keeps them.
 */
#include "common/bson/ejson.h"

#include <stdlib.h>

#include "common/bson/bson_check.h"
#include "common/bson/ejson_internal.h"

bool ejson_next(struct ejson_parser *parser, struct error *err)
{
    return json_next(&parser->json, &parser->token, err);
}

bool ejson_refuse(const struct ejson_parser *parser, const char *what, struct error *err)
{
    return error_set(err, ERROR_INVALID_ARGUMENT, "invalid Extended JSON at byte %zu: %s", parser->json.token_at, what);
}

bool ejson_expect(struct ejson_parser *parser, enum json_token token, const char *what, struct error *err)
{
    return ejson_next(parser, err) && (parser->token == token || ejson_refuse(parser, what, err));
}

bool ejson_text_is(const struct ejson_parser *parser, const char *text)
{
    return bytes_equal(parser->json.text, bytes_of_string(text));
}

bool ejson_expect_name(struct ejson_parser *parser, const char *name, struct error *err)
{
    if (!ejson_next(parser, err))
        return false;
    if (parser->token == JSON_NAME && ejson_text_is(parser, name))
        return true;
    return error_set(err, ERROR_INVALID_ARGUMENT, "invalid Extended JSON at byte %zu: expected the key \"%s\"", parser->json.token_at,
                     name);
}

/* {"$code": c}, {"$code": c, "$scope": s} or {"$scope": s, "$code": c}. The scope is a document like any
 * other, hence a frame; finish_scope does the rest. */
bool ejson_open_scope(struct ejson_parser *parser, size_t type_at, size_t value_at, bool code_is_read, struct error *err)
{
    if (!ejson_expect(parser, JSON_OBJECT_BEGIN, "expected a document behind \"$scope\"", err))
        return false;
    builder_begin_bare(&parser->builder);
    if (builder_failed(&parser->builder))
        return builder_error(&parser->builder, err);
    parser->frames[parser->depth++] = (struct ejson_frame) {
        .kind = EJSON_FRAME_SCOPE,
        .type_at = type_at,
        .value_at = value_at,
        .code_is_read = code_is_read,
    };
    return true;
}

/* The scope's end has been read. */
static bool finish_scope(struct ejson_parser *parser, const struct ejson_frame *frame, struct error *err)
{
    builder_end(&parser->builder);
    if (!frame->code_is_read) {
        if (!ejson_expect_name(parser, "$code", err) || !ejson_expect(parser, JSON_STRING, "expected a string behind \"$code\"", err))
            return false;
        uint8_t len[4];
        put_u32(len, (uint32_t)(parser->json.text.len + 1));
        size_t at = frame->value_at + 4;
        builder_insert(&parser->builder, at, len, 4);
        builder_insert(&parser->builder, at + 4, parser->json.text.data, parser->json.text.len);
        builder_insert(&parser->builder, at + 4 + parser->json.text.len, "", 1);
    }
    builder_set_type(&parser->builder, frame->type_at, BSON_TYPE_CODEWSCOPE);
    builder_patch_u32(&parser->builder, frame->value_at, (uint32_t)(builder_offset(&parser->builder) - frame->value_at));
    return ejson_expect(parser, JSON_OBJECT_END, "expected '}' behind \"$code\" and \"$scope\"", err);
}

/* The name that was just read begins a field of the innermost document. */
static bool begin_field(struct ejson_parser *parser, struct error *err)
{
    struct bytes name = parser->json.text;
    if (ejson_find_wrapper(name))
        return error_set(err, ERROR_INVALID_ARGUMENT, "invalid Extended JSON at byte %zu: \"%.*s\" has no place here",
                         parser->json.token_at, (int)name.len, (const char *)name.data);
    if (name.len && memchr(name.data, 0, name.len))
        return ejson_refuse(parser, "a field name with a NUL", err);
    builder_name(&parser->builder, (const char *)name.data, name.len);
    return ejson_next(parser, err);
}

static bool open_frame(struct ejson_parser *parser, enum ejson_frame_kind kind, struct error *err)
{
    builder_begin(&parser->builder, kind == EJSON_FRAME_ARRAY ? BSON_TYPE_ARRAY : BSON_TYPE_DOCUMENT);
    if (builder_failed(&parser->builder))
        return builder_error(&parser->builder, err);
    parser->frames[parser->depth++] = (struct ejson_frame) { .kind = kind };
    return true;
}

/* The token, and what belongs to it, becomes the value whose name has been written. On the way out the token
 * that follows is not read, except for the first name of a document: *pending. */
static bool parse_value(struct ejson_parser *parser, bool *pending, struct error *err)
{
    switch (parser->token) {
    case JSON_OBJECT_BEGIN: {
        if (!ejson_next(parser, err))
            return false;
        const struct ejson_wrapper *wrapper = parser->token == JSON_NAME ? ejson_find_wrapper(parser->json.text) : NULL;
        if (!wrapper) {
            *pending = true;
            return open_frame(parser, EJSON_FRAME_DOCUMENT, err);
        }
        if (!wrapper->parse(parser, err))
            return false;
        return wrapper->reads_end || ejson_expect(parser, JSON_OBJECT_END, "expected '}': a value has no other fields", err);
    }
    case JSON_ARRAY_BEGIN:
        return open_frame(parser, EJSON_FRAME_ARRAY, err);
    default:
        return ejson_parse_scalar(parser, err);
    }
}

static bool parse_document(struct ejson_parser *parser, struct error *err)
{
    bool pending = false; /* the token is read, but not looked at */
    if (!ejson_expect(parser, JSON_OBJECT_BEGIN, "expected a JSON object", err))
        return false;
    parser->frames[parser->depth++] = (struct ejson_frame) { .kind = EJSON_FRAME_DOCUMENT };
    while (parser->depth > 0) {
        if (!pending && !ejson_next(parser, err))
            return false;
        pending = false;
        struct ejson_frame *frame = &parser->frames[parser->depth - 1];
        if (parser->token == JSON_OBJECT_END || parser->token == JSON_ARRAY_END) {
            struct ejson_frame closed = *frame;
            parser->depth--;
            if (closed.kind == EJSON_FRAME_SCOPE) {
                if (!finish_scope(parser, &closed, err))
                    return false;
            } else if (parser->depth > 0) {
                builder_end(&parser->builder);
            }
        } else {
            if (frame->kind == EJSON_FRAME_ARRAY)
                builder_index(&parser->builder, frame->index++);
            else if (!begin_field(parser, err))
                return false;
            if (!parse_value(parser, &pending, err))
                return false;
        }
        if (builder_failed(&parser->builder))
            return builder_error(&parser->builder, err);
    }
    return ejson_expect(parser, JSON_END, "something behind the end of the object", err);
}

bool ejson_parse(struct bytes text, bson_t *out, struct error *err)
{
    struct ejson_parser *parser = calloc(1, sizeof *parser);
    struct bytes document;
    bool ok = false;
    if (!parser)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory to read Extended JSON");
    json_reader_init(&parser->json, text);
    builder_init(&parser->builder);
    if (!parse_document(parser, err) || !builder_finish(&parser->builder, &document, err) || !bson_check(document, err))
        goto out;
    ok = bson_copy_bytes(document, out, err);
out:
    json_reader_destroy(&parser->json);
    builder_destroy(&parser->builder);
    buffer_destroy(&parser->scratch);
    free(parser);
    return ok;
}
