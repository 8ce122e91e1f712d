#include "common/bson/json_reader.h"

#include "common/bson/utf8.h"

/* What may come next:
 *
 *              value ──► AFTER_VALUE ──► "," ──► NAME (object) or VALUE (array)
 *   {  ──► FIRST_NAME            └─────► "}" "]" ──► AFTER_VALUE
 *   [  ──► FIRST_VALUE           └─────► nothing open: END
 *   name ":" ──► VALUE
 */
enum { VALUE, FIRST_VALUE, FIRST_NAME, AFTER_VALUE };

void json_reader_init(struct json_reader *reader, struct bytes input)
{
    *reader = (struct json_reader) { .input = input, .expect = VALUE };
}

void json_reader_destroy(struct json_reader *reader)
{
    buffer_destroy(&reader->decoded);
}

static bool refuse(const struct json_reader *reader, const char *what, struct error *err)
{
    return error_set(err, ERROR_INVALID_ARGUMENT, "invalid JSON at byte %zu: %s", reader->at, what);
}

/* The next byte that is no white space, -1 at the end. */
static int skip_space(struct json_reader *reader)
{
    for (; reader->at < reader->input.len; reader->at++) {
        uint8_t c = reader->input.data[reader->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c;
    }
    return -1;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX, -1 when they are none; at stands on the first. */
static int32_t read_hex4(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape behind the backslash, to `decoded`; NULL when it is none, else what comes behind it. */
static const uint8_t *read_escape(struct json_reader *reader, const uint8_t *at, const uint8_t *end)
{
    static const char codes[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
    if (at == end)
        return NULL;
    if (*at != 'u') {
        const char *code = memchr(codes, *at, sizeof codes - 1);
        if (!code)
            return NULL;
        buffer_append_u8(&reader->decoded, (uint8_t)characters[code - codes]);
        return at + 1;
    }
    int32_t c = read_hex4(at + 1, end);
    if (c < 0)
        return NULL;
    at += 5;
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
            return NULL;
        int32_t low = read_hex4(at + 2, end);
        if (low < 0xDC00 || low > 0xDFFF)
            return NULL;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        at += 6;
    } else if (c >= 0xDC00 && c <= 0xDFFF) {
        return NULL;
    }
    char encoded[4];
    buffer_append(&reader->decoded, encoded, utf8_encode((uint32_t)c, encoded));
    return at;
}

/* Stands on the opening quote. */
static bool read_string(struct json_reader *reader, struct error *err)
{
    const uint8_t *start = reader->input.data + reader->at + 1;
    const uint8_t *end = reader->input.data + reader->input.len;
    const uint8_t *at = start, *copied = start;
    buffer_clear(&reader->decoded);
    for (;;) {
        while (at < end && *at != '"' && *at != '\\' && *at >= 0x20)
            at++;
        reader->at = (size_t)(at - reader->input.data);
        if (at == end)
            return refuse(reader, "a string without its end", err);
        if (*at == '"')
            break;
        if (*at != '\\')
            return refuse(reader, "a control character in a string", err);
        buffer_append(&reader->decoded, copied, (size_t)(at - copied));
        at = read_escape(reader, at + 1, end);
        if (!at)
            return refuse(reader, "an escape that JSON does not have, or half of a surrogate pair", err);
        copied = at;
    }
    if (!utf8_valid(start, (size_t)(at - start)))
        return refuse(reader, "the string that ends here is not UTF-8", err);
    reader->at++;
    if (copied == start) {
        reader->text = bytes_of(start, (size_t)(at - start));
        return true;
    }
    buffer_append(&reader->decoded, copied, (size_t)(at - copied));
    if (reader->decoded.failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a string");
    reader->text = buffer_bytes(&reader->decoded);
    return true;
}

static size_t count_digits(const struct json_reader *reader, size_t at)
{
    size_t n = 0;
    while (at + n < reader->input.len && reader->input.data[at + n] >= '0' && reader->input.data[at + n] <= '9')
        n++;
    return n;
}

static uint8_t peek(const struct json_reader *reader, size_t at)
{
    return at < reader->input.len ? reader->input.data[at] : 0;
}

static bool read_number(struct json_reader *reader, struct error *err)
{
    size_t at = reader->at;
    if (peek(reader, at) == '-')
        at++;
    size_t n = count_digits(reader, at);
    if (n == 0 || (n > 1 && peek(reader, at) == '0'))
        return refuse(reader, "a number that JSON does not have", err);
    at += n;
    if (peek(reader, at) == '.') {
        n = count_digits(reader, at + 1);
        if (n == 0)
            return refuse(reader, "a number that ends in a point", err);
        at += 1 + n;
    }
    if (peek(reader, at) == 'e' || peek(reader, at) == 'E') {
        at++;
        if (peek(reader, at) == '+' || peek(reader, at) == '-')
            at++;
        n = count_digits(reader, at);
        if (n == 0)
            return refuse(reader, "an exponent without digits", err);
        at += n;
    }
    reader->text = bytes_of(reader->input.data + reader->at, at - reader->at);
    reader->at = at;
    return true;
}

static bool read_word(struct json_reader *reader, const char *word, struct error *err)
{
    size_t len = strlen(word);
    if (reader->input.len - reader->at < len || memcmp(reader->input.data + reader->at, word, len) != 0)
        return refuse(reader, "no JSON value", err);
    reader->at += len;
    return true;
}

static bool open_container(struct json_reader *reader, bool object, struct error *err)
{
    if (reader->depth == JSON_MAX_NESTING)
        return refuse(reader, "nested too deep", err);
    reader->in_object[reader->depth++] = object;
    reader->expect = object ? FIRST_NAME : FIRST_VALUE;
    reader->at++;
    return true;
}

static bool read_value(struct json_reader *reader, int c, enum json_token *token, struct error *err)
{
    reader->expect = AFTER_VALUE;
    switch (c) {
    case '{':
        *token = JSON_OBJECT_BEGIN;
        return open_container(reader, true, err);
    case '[':
        *token = JSON_ARRAY_BEGIN;
        return open_container(reader, false, err);
    case '"':
        *token = JSON_STRING;
        return read_string(reader, err);
    case 't':
        *token = JSON_TRUE;
        return read_word(reader, "true", err);
    case 'f':
        *token = JSON_FALSE;
        return read_word(reader, "false", err);
    case 'n':
        *token = JSON_NULL;
        return read_word(reader, "null", err);
    case -1:
        return refuse(reader, "the text ends where a value is expected", err);
    default:
        *token = JSON_NUMBER;
        return read_number(reader, err);
    }
}

static bool read_name(struct json_reader *reader, int c, enum json_token *token, struct error *err)
{
    if (c != '"')
        return refuse(reader, "expected a field name in quotes", err);
    if (!read_string(reader, err))
        return false;
    if (skip_space(reader) != ':')
        return refuse(reader, "expected ':' behind a field name", err);
    reader->at++;
    reader->expect = VALUE;
    *token = JSON_NAME;
    return true;
}

bool json_next(struct json_reader *reader, enum json_token *token, struct error *err)
{
    int c = skip_space(reader);
    reader->token_at = reader->at;
    if (reader->expect == AFTER_VALUE) {
        if (reader->depth == 0) {
            if (c >= 0)
                return refuse(reader, "something behind the end of the value", err);
            *token = JSON_END;
            return true;
        }
        bool object = reader->in_object[reader->depth - 1];
        if (c == ',') {
            reader->at++;
            c = skip_space(reader);
            reader->token_at = reader->at;
            return object ? read_name(reader, c, token, err) : read_value(reader, c, token, err);
        }
        if (c != (object ? '}' : ']'))
            return refuse(reader, object ? "expected ',' or '}'" : "expected ',' or ']'", err);
    } else if (reader->expect == FIRST_NAME && c != '}') {
        return read_name(reader, c, token, err);
    } else if (reader->expect == VALUE || (reader->expect == FIRST_VALUE && c != ']')) {
        return read_value(reader, c, token, err);
    }
    *token = reader->in_object[--reader->depth] ? JSON_OBJECT_END : JSON_ARRAY_END;
    reader->expect = AFTER_VALUE;
    reader->at++;
    return true;
}
